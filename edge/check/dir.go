package check

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/runtimeapi"
)

// mapFile finds the files of map look-ups in a line: map_reg(FILE), map(FILE).
var mapFile = regexp.MustCompile(`\b(map(?:_[a-z]+)*)\(([^,()]+)`)

// checkDir looks at the rendered folder.
func (c *checker) checkDir(ctx context.Context) {
	want := c.checkRendered()
	c.checkForeignFiles(want)
	for _, name := range c.gateMaps() {
		below := filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name)
		if _, reported := want[below]; !reported && !exists(c.file(name)) {
			c.add("file-missing", place{file: c.file(name)}, "render the gate again (haptrail edge render)",
				"the gate reads this map, and it is not there: HAProxy does not start")
		}
	}
	c.checkKeyFiles()
	if c.Live != nil {
		c.checkLive(ctx)
	}
}

// checkRendered compares Dir with what the policy and the keys give now, and
// returns that.
func (c *checker) checkRendered() map[string][]byte {
	if c.Render == nil {
		return nil
	}
	want, err := c.Render()
	if err != nil {
		c.add("render-failed", place{file: c.PolicyFile}, "change the policy file", "%s", err)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		file := filepath.Join(c.Dir, filepath.FromSlash(name))
		have, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.add("file-missing", place{file: file}, "render the gate again (haptrail edge render)", "this file of the gate is not there")
		case err != nil:
			c.add("file-missing", place{file: file}, "let this user read it", "this file of the gate cannot be read: %s", err)
		case !bytes.Equal(have, want[name]):
			c.stale(name, file, firstDifference(have, want[name]))
		}
	}
	return want
}

func (c *checker) stale(name, file string, line int) {
	p := place{file: file, line: line}
	if strings.Contains(name, "keys.") {
		c.add("file-stale", p, "write the keys again (haptrail edge keys), and have HAProxy take them", "the keys have changed since this file was written")
		return
	}
	c.add("file-stale", p, "render the gate again (haptrail edge render), and have HAProxy take it",
		"the policy has changed since this file was rendered, or somebody has changed the file")
}

// firstDifference is the line, from 1, in which two texts begin to differ.
func firstDifference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return bytes.Count(a[:n], []byte("\n")) + 1
}

// checkForeignFiles: HAProxy reads every *.cfg of a folder that it is given.
func (c *checker) checkForeignFiles(want map[string][]byte) {
	if want == nil {
		return
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return // that it cannot be read was said of each file
	}
	for _, e := range entries {
		_, ours := want[e.Name()]
		if !ours && e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".cfg") && !strings.HasPrefix(e.Name(), ".") {
			c.add("file-foreign", place{file: filepath.Join(c.Dir, e.Name())}, "move it elsewhere, and give it to HAProxy with a -f of its own",
				"HAProxy reads this file together with the gate, and the gate does not know it")
		}
	}
}

// mapLines reads a map file: an entry for each line, in order; the zero Entry
// stands for one that HAProxy passes over (pat_ref_read_from_file_smp of
// src/pattern.c).
func mapLines(text []byte) []runtimeapi.Entry {
	var all []runtimeapi.Entry
	for line := range bytes.Lines(text) {
		s, _, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\r")
		s = strings.TrimLeft(s, " \t")
		if line[0] == '#' || s == "" {
			all = append(all, runtimeapi.Entry{})
			continue
		}
		e := runtimeapi.Entry{Key: s}
		if blank := strings.IndexAny(s, " \t"); blank >= 0 {
			e.Key, e.Value = s[:blank], strings.Trim(s[blank:], " \t")
		}
		all = append(all, e)
	}
	return all
}

func entries(text []byte) []runtimeapi.Entry {
	return slices.DeleteFunc(mapLines(text), func(e runtimeapi.Entry) bool { return e == runtimeapi.Entry{} })
}

// checkLive compares what the running HAProxy holds with the files.
func (c *checker) checkLive(ctx context.Context) {
	for _, name := range c.gateMaps() {
		text, err := os.ReadFile(c.file(name))
		if err != nil {
			continue // reported as missing
		}
		p := place{file: c.file(name)}
		live, err := c.Live.Map(ctx, name)
		if err != nil {
			c.add("map-live-unread", p, "start HAProxy with this folder, and let this user use the stats socket", "the running HAProxy's copy cannot be read: %s", err)
			continue
		}
		c.compareLive(p, name, entries(text), live)
	}
}

func (c *checker) compareLive(p place, name string, file, live []runtimeapi.Entry) {
	const mend = "write it into the policy and render (the file outlives a reload), or apply the file to the running HAProxy"
	added, gone := difference(live, file), difference(file, live)
	switch {
	case len(added)+len(gone) > 0:
		text := "the running HAProxy's copy differs from the file:"
		for _, e := range added {
			text += "\nonly running: " + e.Key + " " + e.Value
		}
		for _, e := range gone {
			text += "\nonly in the file: " + e.Key + " " + e.Value
		}
		c.add("map-live-differs", p, mend, "%s", shorten(text))
	case c.ordered(name) && !slices.Equal(file, live):
		c.add("map-live-differs", p, mend, "the running HAProxy's copy has another order than the file, and the first match decides")
	}
}

// difference is what a holds more often than b, in a's order.
func difference(a, b []runtimeapi.Entry) []runtimeapi.Entry {
	count := make(map[runtimeapi.Entry]int)
	for _, e := range b {
		count[e]++
	}
	var more []runtimeapi.Entry
	for _, e := range a {
		if count[e]--; count[e] < 0 {
			more = append(more, e)
		}
	}
	return more
}

// shorten keeps the first lines of a text.
func shorten(text string) string {
	const most = 8
	lines := strings.Split(text, "\n")
	if len(lines) <= most {
		return text
	}
	return strings.Join(append(lines[:most:most], "..."), "\n")
}

// ordered tells whether a map's first match decides, and not the best one.
func (c *checker) ordered(name string) bool {
	for _, l := range c.gate.Lines {
		for _, w := range l.Words {
			for _, m := range mapFile.FindAllStringSubmatch(w, -1) {
				if m[2] == name && strings.HasPrefix(m[1], "map_reg") {
					return true
				}
			}
		}
	}
	return false
}
