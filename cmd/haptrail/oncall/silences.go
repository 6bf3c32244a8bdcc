package oncall

import (
	"context"
	"errors"
	"time"

	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/schema"
)

// quiet is what makes a silence of the table and one of the manager the same: the
// manager gives silences names of its own.
type quiet struct {
	kind, identity, owner, reason string
	from, until                   int64 // milliseconds, as the table has them
}

func quietOf(s *alert.Silence) quiet {
	return quiet{s.Kind, s.Identity, s.Owner, s.Reason, s.From.UnixMilli(), s.Until.UnixMilli()}
}

func silenceOf(row *schema.SilenceRow) alert.Silence {
	return alert.Silence{
		Kind: row.Kind, Identity: row.Identity, From: row.Starts, Until: row.Ends, Owner: row.Owner, Reason: row.Reason,
	}
}

// silence brings the manager what the table says: silences that it does not know, and
// the end of those that were withdrawn.
func (d *Desk) silence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := d.Store.Silences(ctx, time.Now())
	if err != nil {
		return err
	}
	known := map[quiet]string{}
	for _, s := range d.Manager.Silences() {
		known[quietOf(&s)] = s.ID
	}
	for i := range rows {
		s := silenceOf(&rows[i])
		id, there := known[quietOf(&s)]
		switch {
		case rows[i].Withdrawn && there:
			d.Log.Info("alerts are told again: a silence was withdrawn", "id", rows[i].ID, "owner", s.Owner)
			err = errors.Join(err, d.Manager.Unsilence(id))
		case !rows[i].Withdrawn && !there && !d.refused[rows[i].ID]:
			err = errors.Join(err, d.begin(s, rows[i].ID))
		}
	}
	return err
}

// begin hands the manager a silence. One that it refuses is said once.
func (d *Desk) begin(s alert.Silence, id string) error {
	if _, err := d.Manager.Silence(s); err != nil {
		d.refused[id] = true
		return err
	}
	d.Log.Info("alerts are kept quiet", "id", id, "kind", s.Kind, "identity", s.Identity, "until", s.Until, "owner", s.Owner, "reason", s.Reason)
	return nil
}
