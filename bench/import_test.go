package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema/schematest"
)

// BenchmarkImport runs `haptrail import` on a file of lines with their headers,
// from the start of the process to its end. Its memory includes the engine's.
func BenchmarkImport(b *testing.B) {
	schematest.NeedEngine(b)
	binary := *haptrail
	if binary == "" {
		binary = filepath.Join(b.TempDir(), "haptrail")
		if out, err := exec.Command("go", "build", "-o", binary, "../cmd/haptrail").CombinedOutput(); err != nil {
			b.Fatalf("go build: %v\n%s", err, out)
		}
	}
	file := input{lines: *lineCount, framing: newline}.file(b)
	var cpu time.Duration
	var peak int64
	lines, lost := 0, 0
	for b.Loop() {
		cmd := exec.Command(binary, "import", "--dsn", "embedded:"+b.TempDir(), "--format", variants[0].format, "-o", "json", file)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		var summary struct{ Lines, Requests int }
		if err := json.Unmarshal(out.Bytes(), &summary); err != nil {
			b.Fatal(err)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		peak = max(peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
		lines += *lineCount
		lost += *lineCount - summary.Requests
	}
	b.ReportMetric(cpu.Seconds()*1e6/float64(lines), "cpu-s/Mline")
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(peak)/1e6, "MB-process")
	b.ReportMetric(float64(lost), "lost")
}
