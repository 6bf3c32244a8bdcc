package watch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// begin has the detectors know what is usual: from the states that were saved, or, of
// those that have none, from what the tables have of the past.
func (w *Watch) begin(ctx context.Context) error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return fmt.Errorf("bursts: %w", err)
	}
	for _, left := range []string{"bursts-*.state.*", "history-*"} { // by a daemon that was killed
		files, _ := filepath.Glob(filepath.Join(w.Dir, left)) // the pattern is a good one
		for _, file := range files {
			_ = os.Remove(file) // or it stays
		}
	}
	w.learnRoles(ctx)
	w.recallCallers(ctx)
	for _, s := range w.all {
		if err := w.beginSeries(ctx, s); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	if err := w.hear(ctx); err != nil {
		w.Log.Error("announced load is not known yet", "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.book.resume(ctx, w.all, now); err != nil {
		w.Log.Error("bursts that went on before may stay open in their table", "error", err)
	}
	w.judging = true
	return nil
}

func (w *Watch) beginSeries(ctx context.Context, s *series) error {
	if err := w.recallLimits(ctx, s); err != nil {
		w.Log.Error("thresholds that were calibrated cannot be read; the built-in ones count", "measure", s.kind.name(), "error", err)
	}
	saved, err := w.restore(s)
	switch {
	case err == nil:
		w.gap(s, saved, time.Now())
		return nil
	case errors.Is(err, burst.ErrState):
		w.Log.Warn("what was learned is lost, and is learned again from the tables", "measure", s.kind.name(), "error", err)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("bursts: %s: %w", s.kind.name(), err)
	}
	if s.detector, err = burst.New(s.options()); err != nil {
		return fmt.Errorf("bursts: %s: %w", s.kind.name(), err)
	}
	if err := w.learn(ctx, s); err != nil && ctx.Err() == nil {
		w.Log.Error("what is usual is not known from the tables, and is learned from now on", "measure", s.kind.name(), "error", err)
	}
	return ctx.Err()
}

func (w *Watch) stateFile(s *series) string {
	return filepath.Join(w.Dir, "bursts-"+s.kind.name()+".state")
}

// restore reads a state, and returns when it was saved.
func (w *Watch) restore(s *series) (saved time.Time, err error) {
	f, err := os.Open(w.stateFile(s))
	if err != nil {
		return saved, err
	}
	defer f.Close()
	from := bufio.NewReader(f)
	head, err := from.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(head), &saved)
	}
	if err != nil {
		return saved, fmt.Errorf("%s: %w (%w)", f.Name(), burst.ErrState, err)
	}
	detector, left, err := burst.Restore(from, s.options())
	if err != nil {
		return saved, fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.detector = detector
	w.book.tell(s.kind, heard{}, left)
	return saved, nil
}

// keepState saves what was learned, each minute, and soon after a burst began or ended:
// a daemon that is killed is to know of it when it runs again.
func (w *Watch) keepState(ctx context.Context) {
	saved := time.Now()
	w.every(ctx, lookEvery, "saving what burst detectors have learned", func(context.Context) error {
		if !w.book.stir() && time.Since(saved) < saveEvery {
			return nil
		}
		saved = time.Now()
		return w.save()
	})
}

// save writes the states. A crash leaves the former one.
func (w *Watch) save() error {
	for _, s := range w.all {
		var state bytes.Buffer
		w.mu.Lock()
		head, err := json.Marshal(time.Now().UTC())
		if err == nil {
			state.Write(append(head, '\n'))
			err = s.detector.Save(&state)
		}
		w.mu.Unlock()
		if err == nil {
			err = replaceFile(w.stateFile(s), state.Bytes())
		}
		if err != nil {
			return fmt.Errorf("bursts: %w", err)
		}
	}
	return nil
}

// replaceFile writes a file so that there is the old one or the new one at any time.
func replaceFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
