package alert

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Dead letters are bounded: the file and the one before it.
func TestDeadLettersRotate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "dead.journal")
	dead, err := openDeadLetters(name)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.journal.Close()
	dead.most = 5000
	for i := range 100 {
		if err := dead.add(deadLetter{Channel: "r", Reason: "refused", Cause: "400", Alert: simple(fmt.Sprint("k", i))}); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(name)
	before, err2 := os.ReadFile(name + ".1")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if len(now) > 6000 || len(before) > 6000 || !bytes.Contains(now, []byte(`"key":"k99"`)) || bytes.Contains(before, []byte(`"key":"k99"`)) {
		t.Errorf("%d and %d bytes", len(now), len(before))
	}
	dead.journal.Break(errors.New("no space left on device"))
	if err := dead.add(deadLetter{Channel: "r", Reason: "expired"}); err != nil {
		t.Errorf("there is space again: %v", err)
	}
	if n := bytes.Count(now, []byte("\n")) + bytes.Count(before, []byte("\n")); n < 15 {
		t.Errorf("only %d lines are left", n)
	}
}
