// Command generate writes benchmark log lines to standard output.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/haptrail/haptrail/bench/traffic"
)

func main() {
	lines := flag.Int("lines", 1_000_000, "how many lines")
	seed := flag.Uint64("seed", 1, "the same seed, the same lines")
	header := flag.Bool("header", true, "put the RFC 5424 header in front that HAProxy writes")
	format := flag.Bool("format", false, "print the lines' log-format and nothing else")
	flag.Parse()
	if *format {
		fmt.Fprintf(os.Stdout, "%s\n", traffic.Format)
		return
	}
	g := traffic.New(*seed, *lines, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var line []byte
	for range *lines {
		text := g.Line(nil)
		line = line[:0]
		if *header {
			line = g.Header(line)
		}
		line = append(append(line, text...), '\n')
		if _, err := w.Write(line); err != nil {
			os.Exit(1)
		}
	}
	if err := w.Flush(); err != nil {
		os.Exit(1)
	}
}
