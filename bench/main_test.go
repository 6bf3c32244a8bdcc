package bench

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/bench/traffic"
	lf "github.com/haptrail/haptrail/ingest/logformat"
)

var (
	lineCount = flag.Int("lines", 1_000_000, "how many lines an iteration sends over TCP, imports or keeps")
	dataDir   = flag.String("data", "", "where the generated lines are kept from run to run; default: nowhere")
	haptrail  = flag.String("haptrail", "", "the binary that BenchmarkImport runs; default: one built from this checkout")
)

// roleEnv makes this binary one of the processes that send load: their CPU time
// must not count as the receiver's. Its value is the role and its arguments,
// separated by blanks.
const roleEnv = "HAPTRAIL_BENCH_ROLE"

func TestMain(m *testing.M) {
	if role := strings.Fields(os.Getenv(roleEnv)); len(role) > 0 {
		if err := runRole(role[0], role[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(withData(m.Run))
}

// withData gives the benchmarks a directory for their lines.
func withData(run func() int) int {
	if *dataDir == "" {
		dir, err := os.MkdirTemp("", "haptrail-bench")
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		*dataDir = dir
	}
	if err := os.MkdirAll(*dataDir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return run()
}

// variants are the log formats that are measured.
var variants = []struct {
	name, format string
	line         func(*traffic.Generator, []byte) []byte
}{
	{"httplog+identity", traffic.Format, (*traffic.Generator).Line},
	{"json", lf.Haptrail, (*traffic.Generator).JSONLine},
}

// seed is that of all lines; they are of the hour before the last full one.
const seed = 1

func newTraffic(n int) *traffic.Generator {
	return traffic.New(seed, n, time.Now().UTC().Truncate(time.Hour).Add(-time.Hour))
}

// framing is how messages stand in a file of lines.
type framing string

const (
	octetCounted framing = "frames" // RFC 6587: "565 <134>1 ..."
	newline      framing = "log"
)

// input is a file of httplog lines with their RFC 5424 headers.
type input struct {
	lines     int
	framing   framing
	scattered bool // see traffic.Generator
}

// file returns the file's name, and makes it where it is missing.
func (in input) file(b *testing.B) string {
	b.Helper()
	name := fmt.Sprintf("%d.%s", in.lines, in.framing)
	if in.scattered {
		name = "scattered-" + name
	}
	name = filepath.Join(*dataDir, name)
	if _, err := os.Stat(name); err == nil {
		return name
	}
	out, err := os.Create(name + ".part")
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	g := newTraffic(in.lines)
	g.Scattered = in.scattered
	var text, message []byte
	for range in.lines {
		text = g.Line(text[:0])
		message = append(g.Header(message[:0]), text...)
		if in.framing == octetCounted {
			fmt.Fprintf(w, "%d ", len(message)) // w keeps its first error for Flush
		} else {
			message = append(message, '\n')
		}
		_, _ = w.Write(message)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		b.Fatal(err)
	}
	return name
}

func runRole(role string, args []string) error {
	spec := strings.Join(args, " ")
	switch role {
	case "tcp":
		return sendStream(spec)
	case "udp":
		return sendDatagrams(spec)
	case "http":
		return sendRequests(spec)
	}
	return fmt.Errorf("%s: no role %q", roleEnv, role)
}

// awaitGo tells the parent that everything is prepared and waits for its word.
func awaitGo() error {
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	_, err := io.ReadFull(os.Stdin, make([]byte, 1))
	return err
}
