package traffic

import (
	"bytes"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func TestSameSeedSameLines(t *testing.T) {
	a, b, other := New(7, 1000, start), New(7, 1000, start), New(8, 1000, start)
	same := 0
	for i := range 1000 {
		line := a.Line(nil)
		if have := b.Line(nil); !bytes.Equal(have, line) {
			t.Fatalf("line %d differs:\n%s\n%s", i, line, have)
		}
		if bytes.Equal(other.Line(nil), line) {
			same++
		}
	}
	if same > 0 {
		t.Errorf("another seed made %d equal lines", same)
	}
}

func TestLinesAreOfTheSizeThatFiguresAreQuotedFor(t *testing.T) {
	g := New(1, 10_000, start)
	bytes := 0
	for range 10_000 {
		bytes += len(g.Line(nil))
	}
	if mean := bytes / 10_000; mean < 480 || mean > 570 {
		t.Errorf("lines have %d bytes on average, want about 525", mean)
	}
}
