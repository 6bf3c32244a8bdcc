package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/haptrail/haptrail/analyze/burst/seal"
)

const name = "a test's\n"

// write seals records, each in a frame of its own.
func write(t testing.TB, records ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := seal.NewWriter(&b, name, 3)
	for _, r := range records {
		w.Append(func(to []byte) []byte { return append(to, r...) })
		w.Flush()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(from io.Reader) (frames [][]byte, err error) {
	r, version, err := seal.NewReader(from, name, 3)
	if err != nil {
		return nil, err
	}
	for {
		frame, err := r.Frame()
		if err == io.EOF && version != 3 {
			return nil, errors.New("another version")
		}
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, bytes.Clone(frame))
	}
}

// TestFrames: records come back whole and in their order, however large they are and
// however the bytes arrive.
func TestFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		var want []byte
		var b bytes.Buffer
		w := seal.NewWriter(&b, name, 3)
		for range random.IntN(50) {
			record := make([]byte, random.IntN(1<<random.IntN(18)))
			for i := range record {
				record[i] = byte(random.Uint32())
			}
			want = append(want, record...)
			w.Append(func(to []byte) []byte { return append(to, record...) })
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, from := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.HalfReader(bytes.NewReader(b.Bytes())), iotest.DataErrReader(bytes.NewReader(b.Bytes()))} {
			frames, err := read(from)
			if have := bytes.Join(frames, nil); err != nil || !bytes.Equal(have, want) {
				t.Fatalf("%d bytes of %d, %v", len(have), len(want), err)
			}
		}
	}
}

// TestDamage: a stream with a bit that is wrong, cut off, or with frames doubled,
// missing or in another order is damaged.
func TestDamage(t *testing.T) {
	one, two := []byte("one"), []byte("two!")
	whole := write(t, one, two)
	damaged := func(what string, stream []byte) {
		t.Helper()
		if _, err := read(bytes.NewReader(stream)); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: have %v", what, err)
		}
	}
	for n := range whole {
		damaged("cut off", whole[:n])
		for bit := range 8 {
			wrong := bytes.Clone(whole)
			wrong[n] ^= 1 << bit
			damaged("a bit", wrong)
		}
	}
	head := len(name) + 2
	first, second, end := whole[head:head+8+3], whole[head+11:head+11+8+4], whole[len(whole)-8:]
	for what, frames := range map[string][][]byte{
		"doubled":       {first, first, second, end},
		"missing":       {second, end},
		"the last":      {first, end},
		"another order": {second, first, end},
		"ends early":    {end},
		"goes on":       {first, second, end, end},
	} {
		damaged(what, append(bytes.Clone(whole[:head]), bytes.Join(frames, nil)...))
	}
	huge := binary.BigEndian.AppendUint32(bytes.Clone(whole[:head]), math.MaxUint32)
	damaged("a frame of 4 GB that is not there", append(huge, 0, 0, 0, 0, 1))
}

// TestErrors: what the disk says is no damage.
func TestErrors(t *testing.T) {
	broken := errors.New("the disk")
	whole := write(t, []byte("one"))
	for n := range whole {
		if _, err := read(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, seal.ErrDamaged) {
			t.Errorf("after %d bytes: have %v", n, err)
		}
	}
	w := seal.NewWriter(fails{broken}, name, 3)
	w.Append(func(to []byte) []byte { return append(to, 1) })
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("writing: have %v", err)
	}
}

type fails struct{ err error }

func (f fails) Write([]byte) (int, error) { return 0, f.err }

// TestFields: what was appended comes back; a record that is cut off is bad.
func TestFields(t *testing.T) {
	record := seal.Text(nil, "a key")
	record = binary.AppendUvarint(record, math.MaxUint64)
	record = binary.AppendVarint(record, math.MinInt64)
	record = seal.Float(record, math.Inf(-1))
	record = seal.Text(record, "")
	take := func(f *seal.Fields) (string, uint64, int64, float64, string) {
		return f.Text(), f.Uint(math.MaxUint64), f.Int(math.MinInt64, 0), f.Float(math.Inf(-1), 0), f.Text()
	}
	f := seal.Of(record)
	if a, b, c, d, e := take(f); a != "a key" || b != math.MaxUint64 || c != math.MinInt64 || d != math.Inf(-1) || e != "" || f.Bad() || f.More() {
		t.Errorf("have %q %d %d %v %q, bad %v", a, b, c, d, e, f.Bad())
	}
	for n := range record {
		f := seal.Of(record[:n])
		if take(f); !f.Bad() || f.More() {
			t.Errorf("the first %d of %d bytes are not bad", n, len(record))
		}
	}
	for what, f := range map[string]func(*seal.Fields){
		"a large count":   func(f *seal.Fields) { f.Uint(6) },
		"a count below":   func(f *seal.Fields) { f.Int(0, 9) },
		"a number beyond": func(f *seal.Fields) { f.Float(1, 2) },
		"no number":       func(f *seal.Fields) { f.Float(math.Inf(-1), math.Inf(1)) },
	} {
		record := map[string][]byte{
			"a large count":   {7},
			"a count below":   binary.AppendVarint(nil, -1),
			"a number beyond": seal.Float(nil, 2.5),
			"no number":       seal.Float(nil, math.NaN()),
		}[what]
		fields := seal.Of(record)
		if f(fields); !fields.Bad() {
			t.Errorf("%s is not bad", what)
		}
	}
}

// FuzzReader: whatever comes, frames are those of a stream that a writer wrote, or it
// is damaged.
func FuzzReader(f *testing.F) {
	f.Add(write(f, []byte("one"), []byte("two")))
	f.Add(write(f))
	f.Add([]byte(name))
	f.Fuzz(func(t *testing.T, stream []byte) {
		frames, err := read(bytes.NewReader(stream))
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) && err.Error() != "another version" {
				t.Errorf("have %v", err)
			}
			return
		}
		if !bytes.Equal(write(t, frames...), stream) {
			t.Error("a stream that nobody wrote is read")
		}
	})
}
