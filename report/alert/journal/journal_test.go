package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// open opens a journal and returns the records in it.
func open(t testing.TB, name string) (*Journal, Recovered, []string) {
	t.Helper()
	var records []string
	j, found, err := Open(name, func(record []byte) error {
		records = append(records, string(record))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	if found.Records != len(records) {
		t.Errorf("%d records were given, and %d counted", len(records), found.Records)
	}
	return j, found, records
}

// write makes a journal of these records and returns its file's bytes.
func write(t testing.TB, name string, records ...string) []byte {
	t.Helper()
	j, _, _ := open(t, name)
	for _, record := range records {
		if err := j.Append([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(text)) != j.Size() {
		t.Errorf("Size is %d, and the file has %d", j.Size(), len(text))
	}
	return text
}

var sample = []string{`{"a":1}`, "", "x y z", strings.Repeat("long ", 30), "\x00\xff\r\t", "last"}

func TestRoundTrip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	write(t, name, sample...)
	_, found, records := open(t, name)
	if !slices.Equal(records, sample) || found.Torn != 0 || found.Damaged != 0 {
		t.Errorf("have %q, %+v", records, found)
	}
}

// A crash may leave any beginning of the file: then the records are the whole ones
// in it, and the journal works on.
func TestTruncatedAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "whole"), sample...)
	for length := range len(text) + 1 {
		name := filepath.Join(dir, fmt.Sprint(length))
		if err := os.WriteFile(name, text[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		want := max(bytes.Count(text[:length], []byte("\n"))-1, 0)
		j, found, records := open(t, name)
		if !slices.Equal(records, sample[:want]) || found.Damaged != 0 {
			t.Fatalf("%d bytes: have %q, %+v", length, records, found)
		}
		if err := errors.Join(j.Append([]byte("after")), j.Close()); err != nil {
			t.Fatal(err)
		}
		_, found, records = open(t, name)
		if !slices.Equal(records, append(slices.Clone(sample[:want]), "after")) || found.Torn != 0 {
			t.Fatalf("%d bytes, then one record: have %q, %+v", length, records, found)
		}
	}
}

// After a power failure blocks of a file may hold zeros.
func TestZerosAtTheEnd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	text := write(t, name, sample...)
	if err := os.WriteFile(name, append(text, make([]byte, 5000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, found, records := open(t, name)
	if !slices.Equal(records, sample) || found.Torn != 5000 {
		t.Errorf("have %q, %+v", records, found)
	}
}

// Every flipped bit is found: no record comes out changed, and no other is lost but
// the one behind a line feed that is gone.
func TestEveryFlippedBit(t *testing.T) {
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "whole"), sample...)
	for at := len(magic); at < len(text); at++ {
		damaged := slices.Clone(text)
		damaged[at] ^= 1 << (at % 8)
		name := filepath.Join(dir, fmt.Sprint(at))
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j, found, records := open(t, name)
		if len(records) < len(sample)-2 || len(records) >= len(sample) {
			t.Fatalf("byte %d: have %q", at, records)
		}
		for _, record := range records {
			if !slices.Contains(sample, record) {
				t.Fatalf("byte %d: have %q", at, record)
			}
		}
		if (found.Damaged > 0) == (found.Torn > 0) {
			t.Fatalf("byte %d: %+v", at, found)
		}
		if found.Damaged > 0 {
			if kept, err := os.ReadFile(name + ".damaged"); err != nil || !bytes.Equal(kept, damaged) {
				t.Fatalf("byte %d: the damaged file is not kept: %v", at, err)
			}
		}
		_ = j.Close()
	}
}

func TestRewrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, _, _ := open(t, name)
	for range 100 {
		_ = j.Append([]byte("old"))
	}
	if err := j.Rewrite(records("a", "b")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Append([]byte("c")), j.Close()); err != nil {
		t.Fatal(err)
	}
	j, _, have := open(t, name)
	if !slices.Equal(have, []string{"a", "b", "c"}) {
		t.Errorf("have %q", have)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != j.Size() || info.Mode().Perm() != 0o600 {
		t.Errorf("size %d, %v, %v", j.Size(), info, err)
	}
}

// Each step may fail. What was synced before is there afterwards in any case, and a
// Rewrite that succeeds mends the journal.
func TestFaults(t *testing.T) {
	fault := errors.New("no space left on device")
	for _, step := range []string{"write", "sync", "create", "fill", "rename"} {
		t.Run(step, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "j")
			j, _, _ := open(t, name)
			if err := errors.Join(j.Append([]byte("kept")), j.Sync()); err != nil {
				t.Fatal(err)
			}
			j.fault = func(s string) error {
				if s == step {
					return fault
				}
				return nil
			}
			err := errors.Join(j.Append([]byte("second")), j.Sync(), j.Rewrite(records("kept", "second")))
			if !errors.Is(err, fault) {
				t.Fatalf("have %v", err)
			}
			if step == "write" || step == "sync" {
				if !errors.Is(err, ErrBroken) {
					t.Errorf("have %v", err)
				}
			}
			j.fault = nil
			if err := errors.Join(j.Rewrite(records("kept", "second")), j.Append([]byte("third")), j.Close()); err != nil {
				t.Fatal(err)
			}
			if _, _, have := open(t, name); !slices.Equal(have, []string{"kept", "second", "third"}) {
				t.Errorf("have %q", have)
			}
		})
	}
}

// A broken journal takes nothing until it is rewritten: a record behind half a one
// would be lost.
func TestBrokenStaysBroken(t *testing.T) {
	j, _, _ := open(t, filepath.Join(t.TempDir(), "j"))
	j.fault = func(string) error { return errors.New("once") }
	first := j.Append([]byte("a"))
	j.fault = nil
	if err := j.Append([]byte("b")); !errors.Is(first, ErrBroken) || !errors.Is(err, ErrBroken) || !errors.Is(j.Sync(), ErrBroken) {
		t.Errorf("have %v, %v", first, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, filepath.Join(dir, "j"))
	if err := j.Append([]byte("a\nb")); err == nil || errors.Is(err, ErrBroken) {
		t.Errorf("a line feed: %v", err)
	}
	if err := j.Append(make([]byte, MaxRecord+1)); err == nil {
		t.Error("a record too long was taken")
	}
	if _, _, err := Open(filepath.Join(dir, "j"), nil); err == nil || !strings.Contains(err.Error(), "another haptrail") {
		t.Errorf("opened twice: %v", err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("haptrail-journal 2\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(other, nil); err == nil || !strings.Contains(err.Error(), "not a journal") {
		t.Errorf("another format: %v", err)
	}
	write(t, filepath.Join(dir, "k"), "a")
	if _, _, err := Open(filepath.Join(dir, "k"), func([]byte) error { return errors.New("unreadable") }); err == nil || !strings.Contains(err.Error(), "record at byte 19: unreadable") {
		t.Errorf("a reader's error: %v", err)
	}
	if _, _, err := Open(filepath.Join(dir, "missing", "j"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// Those who write at the same time share fsyncs, and each finds its record again.
func TestConcurrent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, _, _ := open(t, name)
	var syncs int // under j.syncing
	j.fault = func(step string) error {
		if step == "sync" {
			syncs++
		}
		return nil
	}
	var all sync.WaitGroup
	for writer := range 8 {
		all.Go(func() {
			for i := range 50 {
				if err := errors.Join(j.Append(fmt.Appendf(nil, "%d-%d", writer, i)), j.Sync()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	_ = j.Close()
	_, _, have := open(t, name)
	slices.Sort(have)
	if len(slices.Compact(have)) != 400 || syncs > 400 {
		t.Errorf("%d records, %d fsyncs", len(have), syncs)
	}
}

// Longer lines than a read brings, and ones longer than any record.
func TestLongLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	random := rand.New(rand.NewPCG(1, 2))
	want := make([]string, 60)
	for i := range want {
		want[i] = strings.Repeat(string(rune('a'+i%26)), random.IntN(100<<10))
	}
	text := write(t, name, want...)
	junk := append(bytes.Repeat([]byte("junk"), MaxRecord/2), '\n')
	if err := os.WriteFile(name, slices.Concat(text, junk, format(nil, []byte("end"))), 0o600); err != nil {
		t.Fatal(err)
	}
	_, found, have := open(t, name)
	if !slices.Equal(have, append(want, "end")) || found.Damaged == 0 {
		t.Errorf("%d records, %+v", len(have), found)
	}
}

func records(all ...string) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, one := range all {
			if !yield([]byte(one)) {
				return
			}
		}
	}
}

// Whatever is in the file: no panic, and what is read once is read again.
func FuzzScan(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte(magic))
	f.Add([]byte(magic + "00000000 \n"))
	f.Add(append([]byte(magic), format(format(nil, []byte("a")), []byte("b"))...))
	f.Add([]byte(magic + "zzzzzzzz bad\n" + string(format(nil, []byte("good"))) + "torn"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first [][]byte
		found, good, err := scan(bytes.NewReader(text), func(record []byte) error {
			first = append(first, bytes.Clone(record))
			return nil
		})
		if err != nil {
			return
		}
		if good+found.Torn != int64(len(text)) || found.Records != len(first) {
			t.Fatalf("%d good and %+v of %d bytes", good, found, len(text))
		}
		again, _, err := scan(bytes.NewReader(text[:good]), func(record []byte) error {
			if !bytes.Equal(record, first[0]) {
				t.Fatalf("have %q, want %q", record, first[0])
			}
			first = first[1:]
			return nil
		})
		if err != nil || again.Torn != 0 || again.Damaged != found.Damaged || len(first) != 0 {
			t.Fatalf("what was good is read as %+v, %v", again, err)
		}
	})
}
