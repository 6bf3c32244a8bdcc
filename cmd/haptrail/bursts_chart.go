package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/schema"
)

const (
	chartColumns = 72
	chartRows    = 5
)

// chart is how much was counted a second.
type chart struct {
	From  time.Time `json:"from"`
	Step  int64     `json:"step_s"`
	Rates []float64 `json:"rates"` // a second, in each step from From on
}

// newChart spreads counts over the seconds in which they were counted.
func newChart(counts []schema.Counted, from, until time.Time) chart {
	from = from.UTC().Truncate(time.Second)
	seconds := max(1, int64(math.Ceil(until.Sub(from).Seconds())))
	step := (seconds + chartColumns - 1) / chartColumns
	c := chart{From: from, Step: step, Rates: make([]float64, (seconds+step-1)/step)}
	for _, n := range counts {
		last := n.Time.Sub(from).Seconds()
		elapsed := max(1, float64(n.Elapsed)/1000)
		c.spread(last-elapsed, last, float64(n.Count)/elapsed)
	}
	return c
}

// spread adds a rate from one second to another, of those from From on.
func (c *chart) spread(first, last, rate float64) {
	step := float64(c.Step)
	for i := max(0, int(first/step)); i < len(c.Rates) && float64(i)*step < last; i++ {
		part := math.Min(last, float64(i+1)*step) - math.Max(first, float64(i)*step)
		if part > 0 {
			c.Rates[i] += rate * part / step
		}
	}
}

// most is the highest rate.
func (c *chart) most() (most float64) {
	for _, rate := range c.Rates {
		most = max(most, rate)
	}
	return most
}

// blocks are the eighths of a character's height.
var blocks = []rune(" ▁▂▃▄▅▆▇█")

// draw draws the chart, with a mark below the moment at which something was found.
func (c *chart) draw(w io.Writer, mark time.Time) {
	most := c.most()
	top := perSecond(most)
	for row := chartRows - 1; row >= 0; row-- {
		label := ""
		switch row {
		case chartRows - 1:
			label = top
		case 0:
			label = "0"
		}
		fmt.Fprintf(w, "  %*s ┤%s\n", len(top), label, c.line(row, most))
	}
	at := int(mark.Sub(c.From).Seconds()) / int(c.Step)
	at = min(max(at, 0), len(c.Rates)-1)
	margin := strings.Repeat(" ", 2+len(top)+2)
	fmt.Fprintf(w, "%s%s\n", margin, pointer(at, len(c.Rates), "found "+clock(mark)))
	end := c.From.Add(time.Duration(int64(len(c.Rates))*c.Step) * time.Second)
	fmt.Fprintf(w, "%s%s%s\n", margin, clock(c.From), fmt.Sprintf("%*s", max(9, len(c.Rates)-8), clock(end)))
}

// line is one row of characters, from the lowest.
func (c *chart) line(row int, most float64) string {
	var line strings.Builder
	for _, rate := range c.Rates {
		height := 0
		if most > 0 && rate > 0 {
			height = max(1, int(math.Round(rate/most*float64(chartRows*(len(blocks)-1)))))
		}
		line.WriteRune(blocks[min(max(height-row*(len(blocks)-1), 0), len(blocks)-1)])
	}
	return strings.TrimRight(line.String(), " ")
}

// pointer points at a column, its text on the side where there is room.
func pointer(at, width int, text string) string {
	if at >= len(text)+1 && at+len(text)+2 > width {
		return strings.Repeat(" ", at-len(text)-1) + text + " ▲"
	}
	return strings.Repeat(" ", at) + "▲ " + text
}

// perSecond is a rate for people: three digits at most behind the first.
func perSecond(rate float64) string {
	if rate >= 100 {
		return digits(uint64(math.Round(rate)))
	}
	return strconv.FormatFloat(rate, 'g', 3, 64)
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
