// Command generate writes benchmark log lines to standard output.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/haptrail/haptrail/bench/traffic"
	"github.com/haptrail/haptrail/ingest/logformat"
)

func main() {
	lines := flag.Int("lines", 1_000_000, "how many lines")
	seed := flag.Uint64("seed", 1, "the same seed, the same lines")
	header := flag.Bool("header", true, "put the RFC 5424 header in front that HAProxy writes")
	asJSON := flag.Bool("json", false, "write the gate's own JSON lines, with the whole identity, instead of httplog ones")
	scattered := flag.Bool("scattered", false, "spread the jobs over all lines, as no CI does")
	format := flag.Bool("format", false, "print the lines' log-format and nothing else")
	flag.Parse()
	if *format {
		text := traffic.Format
		if *asJSON {
			text = logformat.Haptrail
		}
		fmt.Fprintf(os.Stdout, "%s\n", text)
		return
	}
	g := traffic.New(*seed, *lines, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	g.Scattered = *scattered
	next := g.Line
	if *asJSON {
		next = g.JSONLine
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var text, line []byte
	for range *lines {
		text = next(text[:0])
		line = line[:0]
		if *header {
			line = g.Header(line)
		}
		line = append(append(line, text...), '\n')
		if _, err := w.Write(line); err != nil {
			fail(err)
		}
	}
	if err := w.Flush(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}
