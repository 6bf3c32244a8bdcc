package burst

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst/seal"
)

// TestTotal: sums made anew from the cells are the running ones.
func TestTotal(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 1))
	for range 200 {
		s := state{last: random.Int64N(2e9)}
		if random.IntN(9) == 0 {
			s.last = random.Int64N(20)
		}
		for range 300 {
			for range random.IntN(30) {
				s.tick()
			}
			s.add(max(0, s.last-random.Int64N(lateness)), random.Uint32())
			want := s.sum
			if s.total(); s.sum != want {
				t.Fatalf("at %d: want %v, have %v", s.last, want, s.sum)
			}
		}
	}
}

// FuzzRestore: whatever is in a file whose checksums are right, Restore refuses it or
// makes a detector that can be used and saved, in no more memory than the file has
// bytes, times a small number.
func FuzzRestore(f *testing.F) {
	d, err := New(Options{Role: func(key string) string { return key[:1] }})
	if err != nil {
		f.Fatal(err)
	}
	random := rand.New(rand.NewPCG(24, 1))
	for at := int64(1_767_571_200); at < 1_767_571_200+5*day; at += random.Int64N(3_600) {
		d.Step(string('a'+rune(random.IntN(5)))+"x", at, 1<<random.IntN(20))
	}
	var b bytes.Buffer
	if err := d.Save(&b); err != nil {
		f.Fatal(err)
	}
	r, _, err := seal.NewReader(&b, stateName, stateVersion)
	if err != nil {
		f.Fatal(err)
	}
	head, err := r.Frame()
	if err != nil {
		f.Fatal(err)
	}
	head = bytes.Clone(head)
	keys, err := r.Frame()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head, keys)
	f.Add(head, []byte{})
	f.Fuzz(func(t *testing.T, head, keys []byte) {
		var file bytes.Buffer
		w := seal.NewWriter(&file, stateName, stateVersion)
		for _, of := range [][]byte{head, keys} {
			w.Append(func(to []byte) []byte { return append(to, of...) })
			w.Flush()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, _, err := Restore(&file, Options{MaxKeys: 1_000})
		runtime.ReadMemStats(&after)
		if most := uint64(1<<20 + 100*file.Cap()); after.TotalAlloc-before.TotalAlloc > most {
			t.Errorf("%d bytes for a file of %d", after.TotalAlloc-before.TotalAlloc, len(head)+len(keys))
		}
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Errorf("have %v", err)
			}
			return
		}
		use(t, d)
	})
}

// use does to a detector what a daemon does.
func use(t *testing.T, d *Detector) {
	last := int64(0)
	for i := range d.keys.used {
		e := d.keys.at(i)
		last = max(last, e.last)
	}
	d.Open()
	for at := last; at < last+400; at += 7 {
		d.Step("ax", at, 50)
		for _, v := range d.Advance(at) {
			_ = v.Why()
		}
	}
	if s := d.Score("ax"); !(s >= 0 && s <= 1) {
		t.Errorf("a score of %v", s)
	}
	var again bytes.Buffer
	if err := d.Save(&again); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Restore(&again, Options{}); err != nil {
		t.Errorf("what it saves is refused: %v", err)
	}
}
