package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// States of a burst.
const (
	BurstOpen = "open" // it goes on
	BurstOver = "over"
	BurstLost = "lost" // nobody saw its end: the daemon was away, or had to make room
)

// BurstRow is a row of the view bursts: one burst as it was last told.
type BurstRow struct {
	ID       string    `ch:"id" json:"id"`
	Key      string    `ch:"key" json:"key"`         // as the feed names it: issuer|subject of a stick table
	Measure  string    `ch:"measure" json:"measure"` // requests, denials, errors, kilobytes or callers
	Of       string    `ch:"of" json:"of"`           // identity, endpoint, address or other
	Identity string    `ch:"identity" json:"identity"`
	Issuer   string    `ch:"issuer" json:"issuer"` // the policy's name of it; "" where the key has none
	Endpoint string    `ch:"endpoint" json:"endpoint"`
	Role     string    `ch:"role" json:"role"`
	Feed     string    `ch:"feed" json:"feed"` // a stick table's name, or logs
	Proxy    string    `ch:"proxy" json:"proxy"`
	State    string    `ch:"state" json:"state"`       // open, over or lost
	Severity string    `ch:"severity" json:"severity"` // low, medium or high: the highest so far
	Start    time.Time `ch:"start" json:"start"`       // when it was found, by the events' time
	End      time.Time `ch:"end" json:"end"`           // 1970 while it goes on
	Found    time.Time `ch:"found" json:"found"`       // likewise, by our clock
	Updated  time.Time `ch:"updated" json:"updated"`
	Window   uint32    `ch:"window_s" json:"window_s"` // in which peak was counted
	Peak     uint64    `ch:"peak" json:"peak"`         // where it was farthest above its limit
	Total    uint64    `ch:"total" json:"total"`       // in all of the burst
	Expected uint64    `ch:"expected" json:"expected"`
	Limit    uint64    `ch:"limit" json:"limit"`
	High     float64   `ch:"high_water" json:"high_water"`
	Own      uint64    `ch:"own" json:"own"`   // the highest that the key itself had before
	Cold     bool      `ch:"cold" json:"cold"` // the key was too new for a history of its own
	Reason   string    `ch:"reason" json:"reason"`
	Project  string    `ch:"project" json:"project"`
	Run      string    `ch:"run" json:"run"` // that most of the requests came from
	Commit   string    `ch:"commit" json:"commit"`
	Author   string    `ch:"author" json:"author"`
	Grade    string    `ch:"grade" json:"grade"`
	Evidence JSONText  `ch:"evidence" json:"evidence"` // BurstEvidence rows
}

// InsertBursts tells of bursts; of rows of one ID that updated last counts. Start
// must be the same in all of them.
func (s *Store) InsertBursts(ctx context.Context, rows []BurstRow) error {
	for i, r := range rows {
		if r.ID == "" || r.Start.IsZero() {
			return fmt.Errorf("bursts: row %d: %w", i+1, errors.New("no id or no start: set both"))
		}
	}
	return insertRows(ctx, s, "burst_states", storable(rows))
}

// storable are the rows with times that the table can hold.
func storable(rows []BurstRow) []BurstRow {
	fit := make([]BurstRow, len(rows))
	for i, r := range rows {
		for _, t := range []*time.Time{&r.End, &r.Found, &r.Updated} {
			if t.IsZero() {
				*t = time.Unix(0, 0)
			}
		}
		r.Evidence = cmp.Or(r.Evidence, "[]")
		fit[i] = r
	}
	return fit
}

// BurstsQuery picks bursts; an empty field picks all.
type BurstsQuery struct {
	Since, Until time.Time // some of the burst is in Since <= time < Until; one that goes on, if it began before Until
	ID           string    // the id or its beginning
	Identity     string    // the subject or the key; * stands for anything
	Measure      string
	Severity     string // this one and those above it
	Open         bool   // only those that go on
	Updated      time.Time
	Limit        uint64 // the newest so many; 0 = all
}

// Bursts calls each with the bursts that q picks, newest first. It stops at each's
// first error and returns it.
func (s *Store) Bursts(ctx context.Context, q BurstsQuery, each func(*BurstRow) error) error {
	sql, err := queryText("bursts", Columns[BurstRow](), q)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "bursts", sql, each,
		clickhouse.Named("since", strconv.FormatInt(q.Since.UnixMicro(), 10)),
		clickhouse.Named("until", strconv.FormatInt(q.Until.UnixMicro(), 10)),
		clickhouse.Named("id", q.ID),
		clickhouse.Named("identity", likePattern(q.Identity)),
		clickhouse.Named("measure", q.Measure),
		clickhouse.Named("severity", q.Severity),
		clickhouse.Named("updated", strconv.FormatInt(q.Updated.UnixMicro(), 10)),
		clickhouse.Named("limit", strconv.FormatUint(cmp.Or(q.Limit, 1<<63-1), 10)),
	)
}

// BurstEvidence is what some of a burst's requests have in common.
type BurstEvidence struct {
	Method   string     `ch:"method" json:"method"`
	Endpoint string     `ch:"endpoint" json:"endpoint"`
	Decision string     `ch:"decision" json:"decision"`
	Provider string     `ch:"provider" json:"provider"`
	Project  string     `ch:"project" json:"project"`
	Run      string     `ch:"run" json:"run"`
	Commit   string     `ch:"commit" json:"commit"`
	Author   string     `ch:"author" json:"author"`
	Grade    string     `ch:"grade" json:"grade"`
	Role     string     `ch:"role" json:"role"`
	Network  netip.Addr `ch:"network" json:"network"` // the first address of a /24, or of an IPv6 /56
	Requests uint64     `ch:"requests" json:"requests"`
	First    time.Time  `ch:"first" json:"first"`
	Last     time.Time  `ch:"last" json:"last"`
}

// EvidenceQuery picks the requests of an identity, or of a client's address, in
// Since <= time < Until. One of the two is needed.
type EvidenceQuery struct {
	Since, Until time.Time
	Identity     string // the subject
	Client       netip.Addr
	Limit        uint64 // the busiest so many
}

// BurstEvidence tells what those requests asked for, from which runs and commits.
func (s *Store) BurstEvidence(ctx context.Context, q EvidenceQuery) (rows []BurstEvidence, err error) {
	n := narrowed{TrailQuery: TrailQuery{Since: q.Since, Until: q.Until, Identity: q.Identity, Limit: q.Limit}}
	if q.Client.IsValid() {
		n.Client = q.Client.String()
	}
	if n.Identity == "" && n.Client == "" {
		return nil, errors.New("burst evidence: neither an identity nor a client is asked for")
	}
	err = queryTrail(ctx, s, "burst_evidence", n, func(row *BurstEvidence) error {
		row.Network = row.Network.Unmap()
		rows = append(rows, *row)
		return nil
	})
	return rows, err
}
