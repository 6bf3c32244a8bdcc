package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/haptrail/haptrail/schema"
)

// TestChartCounts: what is counted within the chart is in it, whatever the samples'
// lengths and the chart's step; what is outside is not.
func TestChartCounts(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	from := time.Unix(1_700_000_000, 0).UTC()
	for range 500 {
		span := time.Duration(1+random.IntN(20_000)) * time.Second
		whole := span.Truncate(time.Second)
		var counts []schema.Counted
		var inside float64
		for range random.IntN(50) {
			elapsed := uint64(random.IntN(5000))
			seconds := max(1, float64(elapsed)/1000)
			last := from.Add(time.Duration(random.IntN(int(whole/time.Second))) * time.Second)
			counts = append(counts, schema.Counted{Time: last, Elapsed: elapsed, Count: 1000})
			if first := last.Sub(from).Seconds() - seconds; first >= 0 {
				inside += 1000
			} else {
				inside += 1000 * max(0, seconds+first) / seconds
			}
		}
		counts = append(counts, schema.Counted{Time: from.Add(-time.Second), Elapsed: 1000, Count: 1e9}, schema.Counted{Time: from.Add(2*span + 2*chartColumns*time.Hour), Elapsed: 1000, Count: 1e9})
		c := newChart(counts, from, from.Add(span))
		var sum float64
		for _, rate := range c.Rates {
			sum += rate * float64(c.Step)
		}
		if math.Abs(sum-inside) > 1e-6*(1+inside) {
			t.Fatalf("span %s, step %d: %v counted, want %v", span, c.Step, sum, inside)
		}
		if n := len(c.Rates); n > chartColumns || int64(n)*c.Step < int64(span/time.Second) || int64(n-1)*c.Step >= int64(math.Ceil(span.Seconds())) {
			t.Fatalf("span %s: %d columns of %d s", span, n, c.Step)
		}
	}
}

// TestChartDraw: the highest column is full, one with anything in it is not empty, and
// the mark is below its column.
func TestChartDraw(t *testing.T) {
	from := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	c := chart{From: from, Step: 2, Rates: []float64{0, 0.001, 5, 10, 10, 0, 2.5}}
	var b bytes.Buffer
	c.draw(&b, from.Add(7*time.Second))
	want := strings.Join([]string{
		"  10 ┤   ██",
		"     ┤   ██",
		"     ┤  ▄██",
		"     ┤  ███ ▂",
		"   0 ┤ ▁███ █",
		"         ▲ found 10:00:07",
		"      10:00:00 10:00:14",
	}, "\n") + "\n"
	if b.String() != want {
		t.Errorf("have\n%swant\n%s", b.String(), want)
	}
	for _, c := range []chart{{Step: 1, From: from, Rates: []float64{0}}, {Step: 9, From: from, Rates: slices.Repeat([]float64{1234567}, chartColumns)}} {
		for _, mark := range []time.Time{from.Add(-time.Hour), from, from.Add(300 * time.Second), from.Add(time.Hour)} {
			b.Reset()
			c.draw(&b, mark)
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(line); n > chartColumns+20 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			if strings.Count(b.String(), "▲") != 1 || strings.Count(b.String(), "\n") != chartRows+2 {
				t.Errorf("mark at %s:\n%s", mark, b.String())
			}
		}
	}
}

// TestChartOfCounts holds a chart against one that counts each millisecond.
func TestChartOfCounts(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	from := time.Unix(1_700_000_000, 0).UTC()
	for range 50 {
		seconds := 1 + random.IntN(300)
		var counts []schema.Counted
		c := chart{Step: int64((seconds + chartColumns - 1) / chartColumns)}
		slow := make([]float64, (seconds+int(c.Step)-1)/int(c.Step))
		for range 20 {
			n := schema.Counted{Time: from.Add(time.Duration(random.IntN(400)-50) * time.Second), Elapsed: uint64(1000 + random.IntN(20_000)), Count: uint64(random.IntN(1000))}
			counts = append(counts, n)
			last := int(n.Time.Sub(from).Milliseconds())
			for ms := last - int(n.Elapsed); ms < last; ms++ {
				if at := ms / 1000 / int(c.Step); ms >= 0 && at < len(slow) {
					slow[at] += float64(n.Count) / float64(n.Elapsed) / float64(c.Step)
				}
			}
		}
		have := newChart(counts, from, from.Add(time.Duration(seconds)*time.Second))
		for i, want := range slow {
			if len(have.Rates) != len(slow) || math.Abs(have.Rates[i]-want) > 1e-6*(1+want) {
				t.Fatalf("%d s: column %d: have %v, want %v", seconds, i, have.Rates, slow)
			}
		}
	}
}
