package syslog

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readLines(t *testing.T, r io.Reader, opts LineOptions) *recorder {
	t.Helper()
	rec := newRecorder()
	opts.Zone = time.UTC
	if err := ReadLines(t.Context(), r, &Source{Transport: "file", Peer: "x.log"}, opts, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", 300)
	in := "\xef\xbb\xbf" + haproxyHeaders[0] + "\r\n\n" + text + "\n" + long + "\na\x00b\n\x1bc\n" + haproxyHeaders[3]
	want := []string{text, text, "a\x00b", text}
	rejects := []string{"too_long: " + long[:40], "garbage: \x1bc"}
	for name, r := range map[string]io.Reader{
		"whole":    strings.NewReader(in),
		"by byte":  iotest.OneByteReader(strings.NewReader(in)),
		"data+EOF": iotest.DataErrReader(strings.NewReader(in)),
	} {
		rec := readLines(t, r, LineOptions{MaxLine: 299, Now: testNow})
		if !reflect.DeepEqual(rec.texts, want) || !reflect.DeepEqual(rec.rejects, rejects) {
			t.Errorf("%s: got %q and %q", name, rec.texts, rec.rejects)
		}
		if !strings.Contains(rec.shown[0], "time=2026-11-23T10:56:39Z") {
			t.Errorf("%s: year not from Now: %s", name, rec.shown[0])
		}
	}
	for _, in := range []string{"", "\n", "\r\n\r\n", "\xef\xbb\xbf"} {
		if rec := readLines(t, strings.NewReader(in), LineOptions{}); len(rec.texts)+len(rec.rejects) > 0 {
			t.Errorf("%q: got %q and %q", in, rec.texts, rec.rejects)
		}
	}
}

func TestReadLinesErrors(t *testing.T) {
	rec := newRecorder()
	broken := errors.New("broken")
	err := ReadLines(t.Context(), io.MultiReader(strings.NewReader("abc\nb"), iotest.ErrReader(broken)), &Source{}, LineOptions{}, rec)
	if !errors.Is(err, broken) || !reflect.DeepEqual(rec.texts, []string{"abc"}) {
		t.Errorf("got %q, %v", rec.texts, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ReadLines(ctx, strings.NewReader("a\n"), &Source{}, LineOptions{}, rec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := ReadLines(t.Context(), strings.NewReader("a\n"), &Source{}, LineOptions{MaxLine: 1}, rec); err == nil {
		t.Error("MaxLine 1 is accepted")
	}
}

// TestReadLinesCorpus reads the public and golden log files beside the
// repository: every line is told apart from its header, so that the text
// begins as a line of HAProxy's does.
func TestReadLinesCorpus(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(corpus(t), "*", "*.log"))
	if len(files) == 0 {
		t.Skip("no log files in the corpus")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rec := readLines(t, strings.NewReader(string(b)), LineOptions{})
		i := 0
		lines := bufio.NewScanner(strings.NewReader(string(b)))
		for ; lines.Scan(); i++ {
			line := lines.Text()
			if i >= len(rec.texts) {
				break
			}
			text := rec.texts[i]
			wantHeader := line[0] == '<' || strings.Contains(line[:min(len(line), 50)], "haproxy[")
			header := strings.TrimSuffix(line, text)
			if !strings.HasSuffix(line, text) || (header != "") != wantHeader || (wantHeader && !strings.HasSuffix(header, "]: ")) {
				t.Errorf("%s:%d: header %q", filepath.Base(name), i+1, header)
			}
		}
		if i != len(rec.texts) {
			t.Errorf("%s: %d messages of %d lines", filepath.Base(name), len(rec.texts), i)
		}
	}
}

// corpus returns the folder of log files beside the repository.
func corpus(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			found := filepath.Join(filepath.Dir(dir), "shared", "corpus")
			if _, err := os.Stat(found); err != nil {
				t.Skip("no corpus beside the repository: ", err)
			}
			return found
		}
	}
	t.Skip("not inside the repository")
	return ""
}
