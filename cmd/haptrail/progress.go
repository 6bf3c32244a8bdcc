package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/haptrail/haptrail/ingest"
)

// progress draws a bar on a terminal while files are read, and nothing
// elsewhere.
type progress struct {
	w     io.Writer // nil where there is no terminal
	files []*ingest.LogFile
	size  int64 // of all files, 0 where one is not known
	start time.Time
	drawn time.Time
	lines int
}

func newProgress(w io.Writer, files []*ingest.LogFile) *progress {
	p := &progress{files: files, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	for _, f := range files {
		if f.Size == 0 {
			p.size = 0
			break
		}
		p.size += f.Size
	}
	return p
}

const barWidth = 30

func (p *progress) add(lines, _ int) {
	p.lines += lines
	if p.w == nil || time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	elapsed := time.Since(p.start)
	rate := float64(p.lines) / elapsed.Seconds()
	if p.size == 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s lines, %s lines/s", thousands(p.lines), thousands(int(rate)))
		return
	}
	var read int64
	for _, f := range p.files {
		read += f.Done()
	}
	share := min(float64(read)/float64(p.size), 1)
	filled := int(share * barWidth)
	left := time.Duration(float64(elapsed) * (1 - share) / max(share, 0.001)).Round(time.Second)
	fmt.Fprintf(p.w, "\r\x1b[K[%-*s] %3.0f %%  %s lines, %s lines/s, %s left",
		barWidth, bar(filled), 100*share, thousands(p.lines), thousands(int(rate)), left)
}

func bar(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '='
	}
	return string(b)
}

// done removes the bar.
func (p *progress) done() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
