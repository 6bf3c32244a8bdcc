package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/haptrail/haptrail/ingest"
	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

var day1 = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// logText is n lines, of one a second.
func logText(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(day1.Add(time.Duration(i)*time.Second), fmt.Sprintf("/p/%d", i), "sub") + "\n")
	}
	return b.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func importFile(t *testing.T, sink ingest.ImportSink, path string) (ingest.Summary, error) {
	t.Helper()
	f, err := ingest.OpenLogFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im := ingest.Import{Formats: formats(t, "httplog"+identified), Sink: sink, Workers: 2}
	return im.Run(t.Context(), []*ingest.LogFile{f})
}

func count(t *testing.T, store *schema.Store, sql string) (n uint64) {
	t.Helper()
	if err := store.Conn().QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestImportTwiceAddsNothing(t *testing.T) {
	store := schematest.Open(t)
	const n = 250_000 // three chunks, one of them partial
	text := logText(n) + "not a log line\n\n"
	path := write(t, "a.log", text)
	for round := range 3 {
		if round == 2 { // another name, other line ends
			path = write(t, "renamed.log", strings.ReplaceAll(text, "\n", "\r\n"))
		}
		s, err := importFile(t, store, path)
		if err != nil {
			t.Fatal(err)
		}
		want := ingest.Summary{Lines: n + 1, Requests: n}
		if round > 0 {
			want.Requests, want.AlreadyImported = 0, n+1
		}
		if s.Lines != want.Lines || s.Requests != want.Requests || s.AlreadyImported != want.AlreadyImported {
			t.Errorf("round %d: %+v", round, s)
		}
		if rows := count(t, store, "SELECT count() FROM requests"); rows != n {
			t.Errorf("round %d: %d rows, want %d", round, rows, n)
		}
		if rows := count(t, store, "SELECT count() FROM rejects"); rows != 1 {
			t.Errorf("round %d: %d rejects, want 1", round, rows)
		}
	}
}

func TestImportOfAGrowingFileAddsWhatIsNew(t *testing.T) {
	store := schematest.Open(t)
	path := filepath.Join(t.TempDir(), "grow.log")
	before := 0
	for _, n := range []int{1, 1000, 1000, 99_999, 100_000, 100_001, 230_000} {
		if err := os.WriteFile(path, []byte(logText(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := importFile(t, store, path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Requests != n-before || s.AlreadyImported != before {
			t.Errorf("grown from %d to %d lines: %+v", before, n, s)
		}
		if rows := count(t, store, "SELECT uniqExact(path) FROM requests"); rows != uint64(n) {
			t.Errorf("grown to %d lines: %d different rows", n, rows)
		}
		if rows := count(t, store, "SELECT count() FROM requests"); rows != uint64(n) {
			t.Errorf("grown to %d lines: %d rows", n, rows)
		}
		before = n
	}
}

// A file that is being written ends in the middle of a line.
func TestImportOfAHalfWrittenLine(t *testing.T) {
	store := schematest.Open(t)
	path := filepath.Join(t.TempDir(), "live.log")
	text := logText(1500)
	for _, end := range []int{len(logText(999)) + 60, len(text), len(text)} {
		if err := os.WriteFile(path, []byte(text[:end]), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := importFile(t, store, path); err != nil {
			t.Fatal(err)
		}
	}
	if whole := count(t, store, "SELECT count() FROM requests WHERE marks = ''"); whole != 1500 {
		t.Errorf("%d whole rows, want 1500", whole)
	}
	if rows := count(t, store, "SELECT count() FROM requests"); rows > 1501 {
		t.Errorf("%d rows, want 1500 and perhaps the half one", rows)
	}
}

func TestImportOfOneFileTwiceAtOnce(t *testing.T) {
	store := schematest.Open(t)
	path := write(t, "a.log", logText(1000))
	var files []*ingest.LogFile
	for range 2 {
		f, err := ingest.OpenLogFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	im := ingest.Import{Formats: formats(t, "httplog"+identified), Sink: store, Workers: 2}
	s, err := im.Run(t.Context(), files)
	if err != nil || s.Requests != 1000 || s.AlreadyImported != 1000 {
		t.Errorf("%+v, error %v", s, err)
	}
}

func TestImportAgainStoresAgain(t *testing.T) {
	store := schematest.Open(t)
	path := write(t, "a.log", logText(10))
	for _, again := range []bool{false, true} {
		f, err := ingest.OpenLogFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		im := ingest.Import{Formats: formats(t, "httplog"+identified), Sink: store, Workers: 1, Again: again}
		if _, err := im.Run(t.Context(), []*ingest.LogFile{f}); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if rows := count(t, store, "SELECT count() FROM requests"); rows != 20 {
		t.Errorf("%d rows, want 20", rows)
	}
}

// Read with a format that fits not one line, a file is not taken as imported.
func TestImportWithTheWrongFormatCanBeMended(t *testing.T) {
	store := schematest.Open(t)
	path := write(t, "a.log", logText(10))
	for _, format := range []string{"tcplog", "httplog" + identified} {
		f, err := ingest.OpenLogFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		im := ingest.Import{Formats: formats(t, format), Sink: store, Workers: 1}
		if _, err := im.Run(t.Context(), []*ingest.LogFile{f}); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if rows := count(t, store, "SELECT count() FROM requests"); rows != 10 {
		t.Errorf("%d rows, want 10", rows)
	}
}

// dyingSink dies after some inserts, stored or not.
type dyingSink struct {
	ingest.ImportSink
	left   int
	stored bool
}

func (s *dyingSink) InsertRequests(ctx context.Context, b *schema.RequestBlock, id schema.BlockID) error {
	if s.left--; s.left < 0 {
		if s.stored {
			_ = s.ImportSink.InsertRequests(ctx, b, id)
		}
		return errFault
	}
	return s.ImportSink.InsertRequests(ctx, b, id)
}

func TestImportGoesOnAfterAFault(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			store := schematest.Open(t)
			path := write(t, "a.log", logText(320_000))
			f, err := ingest.OpenLogFile(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			im := ingest.Import{Formats: formats(t, "httplog"+identified), Sink: &dyingSink{store, 2, stored}, Workers: 1}
			if _, err := im.Run(t.Context(), []*ingest.LogFile{f}); !errors.Is(err, errFault) {
				t.Fatalf("got %v, want the injected fault", err)
			}
			if _, err := importFile(t, store, path); err != nil {
				t.Fatal(err)
			}
			if rows := count(t, store, "SELECT count() FROM requests"); rows != 320_000 {
				t.Errorf("%d rows, want 320000", rows)
			}
		})
	}
}

func TestImportOfManyDaysFitsThePartitionLimit(t *testing.T) {
	store := schematest.Open(t)
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(line(day1.AddDate(0, 0, -i), fmt.Sprintf("/%d", i), "s") + "\n")
	}
	path := write(t, "archive.log", b.String())
	for range 2 {
		if _, err := importFile(t, store, path); err != nil {
			t.Fatal(err)
		}
	}
	if rows := count(t, store, "SELECT count() FROM requests"); rows != 1000 {
		t.Errorf("%d rows, want 1000", rows)
	}
}

func TestImportReadsCompressedFiles(t *testing.T) {
	text := []byte(logText(3000))
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{"a.log": text, "a.gz": gz.Bytes(), "a.zst": zs.Bytes(), "no-ending": gz.Bytes()} {
		s, err := importFile(t, nil, write(t, name, string(content)))
		if err != nil || s.Requests != 3000 {
			t.Errorf("%s: %+v, error %v", name, s, err)
		}
	}
	for name, content := range map[string][]byte{"cut.gz": gz.Bytes()[:gz.Len()/2], "cut.zst": zs.Bytes()[:zs.Len()/2]} {
		s, err := importFile(t, nil, write(t, name, string(content)))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got error %v, want one that names the file", name, err)
		}
		if name == "cut.gz" && s.Requests < 1000 {
			t.Errorf("%s: only %d of the lines before the cut were read", name, s.Requests)
		}
	}
}

func TestImportOfLongAndBinaryLines(t *testing.T) {
	good := line(day1, "/x", "s")
	text := good + "\n" + strings.Repeat("A", 3<<20) + "\n" + good + "\r\n" + "\x00\x01\x02\n" + good // no LF at the end
	s, err := importFile(t, nil, write(t, "a.log", text))
	if err != nil {
		t.Fatal(err)
	}
	if s.Lines != 5 || s.Requests != 3 || s.Rejected["too_long"] != 1 || s.Parsed+s.Rejected["too_long"]+s.Rejected["literal_mismatch"]+s.Rejected["bad_address"] != s.Lines {
		t.Errorf("%+v", s)
	}
}

// The chunks of a file do not depend on how its reads happen to be cut.
func TestChunksAreTheSameHoweverTheFileIsRead(t *testing.T) {
	text := []byte(logText(120_000))
	var want []string
	for name, r := range map[string]func() io.Reader{
		"whole":         func() io.Reader { return bytes.NewReader(text) },
		"half":          func() io.Reader { return iotest.HalfReader(bytes.NewReader(text)) },
		"data with EOF": func() io.Reader { return iotest.DataErrReader(bytes.NewReader(text)) },
	} {
		have, err := ingest.Chunks(r())
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = have
		}
		if len(have) != 2 || have[0] != want[0] || have[1] != want[1] {
			t.Errorf("%s: %d chunks, or others than before", name, len(have))
		}
		if strings.Join(have, "") != string(text) {
			t.Errorf("%s: the chunks are not the file", name)
		}
	}
}
