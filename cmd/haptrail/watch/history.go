package watch

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/schema"
)

// history is what a kind's keys did in the past, in a file that has no name: read once
// from the tables, and then as often as a calibration wants. Each key's rows are in
// order; the file has some 5 bytes a row.
type history struct {
	file  *os.File
	keys  []string
	ids   map[string]int
	to    *bufio.Writer
	last  int64 // second of the row before
	rows  int
	first time.Time // of all rows
	until time.Time
	logs  bool // it is what the logs tell, in which silence is silence
}

// gather reads a kind's past, a day at a time: what stick tables counted, and where
// they have counted nothing yet, what the logs tell.
func (w *Watch) gather(ctx context.Context, s *series, since, until time.Time) (h *history, err error) {
	f, err := os.CreateTemp(w.Dir, "history-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // it lives as long as it is open
		return nil, errors.Join(err, f.Close())
	}
	h = &history{file: f, ids: map[string]int{}, to: bufio.NewWriterSize(f, 1<<16)}
	days := func(gather func(from, until time.Time) error) {
		for from := since; err == nil && from.Before(until); from = from.Add(24 * time.Hour) {
			err = gather(from, earlier(until, from.Add(24*time.Hour)))
		}
	}
	days(func(from, until time.Time) error { return w.gatherSticks(ctx, s.kind, h, from, until) })
	if h.rows == 0 && (!s.kind.stick || s.kind.of == ofIdentity) {
		h.logs = true
		days(func(from, until time.Time) error {
			return w.Store.RequestHistory(ctx, s.kind.history(from, until), func(c *schema.RequestCount) error {
				return h.add(w.keyOf(s.kind, c), c.Time.Unix(), c.Count)
			})
		})
	}
	if err = errors.Join(err, h.to.Flush()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func (w *Watch) gatherSticks(ctx context.Context, k *kind, h *history, from, until time.Time) error {
	for name, table := range w.Tables {
		if kinds[table.kind()] != k {
			continue
		}
		err := w.Store.StickHistory(ctx, name, from, until, func(c *schema.Counted) error {
			return h.spread(table.Keys.detectors(name, c.Key), c)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keyOf is whom the logs count for.
func (w *Watch) keyOf(k *kind, c *schema.RequestCount) string {
	switch k.of {
	case ofAddress:
		return c.Client.Unmap().String()
	case ofFrontend:
		return c.Frontend
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	identity := w.identity(c.Issuer, c.Subject)
	if k.of == ofEndpoint {
		return at(identity, c.Method, c.Endpoint)
	}
	return identity
}

// add writes a row.
func (h *history) add(key string, second int64, count uint64) error {
	id, known := h.ids[key]
	var b []byte
	if !known {
		id = len(h.keys)
		h.ids[key] = id
		h.keys = append(h.keys, key)
	}
	b = binary.AppendUvarint(b, uint64(id))
	b = binary.AppendVarint(b, second-h.last)
	b = binary.AppendUvarint(b, count)
	h.last = second
	h.rows++
	at := time.Unix(second, 0)
	if h.first.IsZero() || at.Before(h.first) {
		h.first = at
	}
	if at.After(h.until) {
		h.until = at
	}
	_, err := h.to.Write(b)
	return err
}

// spread writes what was counted in some seconds as a detector would take it.
func (h *history) spread(key string, c *schema.Counted) error {
	seconds := int64(max(1, min((c.Elapsed+999)/1000, 300)))
	rest := c.Count
	for left := seconds; left > 0; left-- {
		share := rest / uint64(left)
		rest -= share
		if share == 0 {
			continue
		}
		if err := h.add(key, c.Time.Unix()-left+1, share); err != nil {
			return err
		}
	}
	return nil
}

// all are the rows. fault is why they end too soon, if they do.
func (h *history) all(fault *error) iter.Seq[burst.Row] {
	return func(yield func(burst.Row) bool) {
		if _, err := h.file.Seek(0, io.SeekStart); err != nil {
			*fault = err
			return
		}
		from := bufio.NewReaderSize(h.file, 1<<16)
		second := int64(0)
		for range h.rows {
			id, err := binary.ReadUvarint(from)
			step, err2 := binary.ReadVarint(from)
			count, err3 := binary.ReadUvarint(from)
			if err := errors.Join(err, err2, err3); err != nil || id >= uint64(len(h.keys)) {
				*fault = fmt.Errorf("history: %w", errors.Join(err, io.ErrUnexpectedEOF))
				return
			}
			second += step
			if !yield(burst.Row{Time: time.Unix(second, 0).UTC(), Key: h.keys[id], Count: fit(count)}) {
				return
			}
		}
	}
}

func (h *history) close() { _ = h.file.Close() }
