package embedded

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// childGone takes the directory away under a running engine in several ways. It
// prints what each statement and probe answered.
func childGone(dir string) error {
	e, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	ask := func(path, sql, body string) string {
		r, err := http.NewRequest(http.MethodPost, "http://embedded"+path+"?"+url.Values{"query": {sql}}.Encode(), strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		answer, err := e.RoundTripper().RoundTrip(r)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(text)))
	}
	report := func(step string) {
		err := e.Check()
		var typed *Error
		fmt.Println(step, "check:", err == nil, errors.Is(err, ErrGone), errors.As(err, &typed) && typed.Hint() != "")
		fmt.Println(step, "ping:", ask("/ping", "", ""))
		fmt.Println(step, "insert:", ask("/", "INSERT INTO t FORMAT CSV", "1\n"))
		fmt.Println(step, "insert select:", ask("/", "INSERT INTO t SELECT 2", ""))
		fmt.Println(step, "create:", ask("/", "CREATE OR REPLACE TABLE u (a UInt8) ENGINE = MergeTree ORDER BY a", ""))
	}
	away := dir + ".away"
	fmt.Println(ask("/", "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", ""))
	report("there")
	if err := os.Rename(dir, away); err != nil {
		return err
	}
	report("moved")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, lockFile), []byte("PID: 1"), 0o600)); err != nil {
		return err
	}
	report("replaced")
	entries, err := os.ReadDir(dir)
	fmt.Println("replaced entries:", len(entries), err)
	if err := errors.Join(os.RemoveAll(dir), os.Rename(away, dir)); err != nil {
		return err
	}
	report("back")
	fmt.Println("rows:", ask("/", "SELECT count() FROM t", ""))

	// The directory goes while the insert runs.
	body, w := io.Pipe()
	go func() {
		io.WriteString(w, "3\n")
		w.CloseWithError(errors.Join(os.RemoveAll(dir), io.EOF))
	}()
	r, err := http.NewRequest(http.MethodPost, "http://embedded/?query=INSERT+INTO+t+FORMAT+CSV", io.NopCloser(eofReader{body}))
	if err != nil {
		return err
	}
	answer, err := e.RoundTripper().RoundTrip(r)
	if err != nil {
		return err
	}
	fmt.Println("meanwhile:", answer.StatusCode, answer.Header.Get("X-ClickHouse-Exception-Code"))
	answer.Body.Close()
	report("deleted")
	return e.Close()
}

// eofReader ends at any error.
type eofReader struct{ io.Reader }

func (r eofReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

func TestDirectoryGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	out := child(t, "gone:"+dir)
	for _, step := range []string{"there", "back"} {
		requireContains(t, out, step+" check: true false false\n", step+" ping: 200 Ok.\n",
			step+" insert: 200 \n", step+" insert select: 200 \n", step+" create: 200 \n")
	}
	for _, step := range []string{"moved", "replaced", "deleted"} {
		failure := ": 500 Code: 107. DB::Exception: the data directory is gone or was replaced: " + dir
		requireContains(t, out, step+" check: false true true\n", step+" ping: 503 the data directory is gone or was replaced\n",
			step+" insert"+failure, step+" insert select"+failure, step+" create"+failure)
	}
	requireContains(t, out, "replaced entries: 1 <nil>", "rows: 200 4\n", "meanwhile: 500 107\n")
}

// BenchmarkCheck is half of what an insert pays for knowing its directory.
func BenchmarkCheck(b *testing.B) {
	e := testEngine(b)
	for b.Loop() {
		if err := e.Check(); err != nil {
			b.Fatal(err)
		}
	}
}
