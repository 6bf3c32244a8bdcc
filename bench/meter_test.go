package bench

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"
)

// meter adds up what this process uses between start and stop, over all
// iterations of a benchmark. The benchmark's own timer runs at these times too.
type meter struct {
	b     *testing.B
	lines int
	cpu   time.Duration // user and system
	wall  time.Duration // until arrived

	began, ended time.Time // of this iteration; ended is zero until arrived
	used         time.Duration
	rss          int64         // at start, in bytes
	peakRSS      int64         // the most beyond that of all iterations
	peakGo       uint64        // the most memory that Go held at a time
	sampling     chan struct{} // closed to end the sampling
	sampled      chan uint64
}

// newMeter stops the benchmark's timer until start.
func newMeter(b *testing.B) *meter {
	b.ReportAllocs()
	b.StopTimer()
	return &meter{b: b}
}

func (m *meter) start() {
	debug.FreeOSMemory() // what came before is not this iteration's
	m.rss = resetPeakRSS()
	m.sampling, m.sampled = make(chan struct{}), make(chan uint64)
	go sampleGo(m.sampling, m.sampled)
	m.ended = time.Time{}
	m.used = cpuTime(m.b)
	m.b.StartTimer()
	m.began = time.Now()
}

// arrived ends the time that lines/s is reckoned with: what comes before stop
// is work that no sender waits for.
func (m *meter) arrived() { m.ended = time.Now() }

// stop ends an iteration with so many lines.
func (m *meter) stop(lines int) {
	if m.ended.IsZero() {
		m.arrived()
	}
	m.b.StopTimer()
	m.cpu += cpuTime(m.b) - m.used
	m.wall += m.ended.Sub(m.began)
	m.lines += lines
	if peak := procStatus("VmHWM:"); m.rss > 0 {
		m.peakRSS = max(m.peakRSS, peak-m.rss)
	}
	close(m.sampling)
	m.peakGo = max(m.peakGo, <-m.sampled)
}

// again is b.Loop, which wants the timer to run.
func (m *meter) again() bool {
	m.b.StartTimer()
	defer m.b.StopTimer()
	return m.b.Loop()
}

// reportRate reports what every benchmark does.
func (m *meter) reportRate() {
	m.b.ReportMetric(m.cpu.Seconds()*1e6/float64(max(m.lines, 1)), "cpu-s/Mline")
	m.b.ReportMetric(float64(m.lines)/m.wall.Seconds(), "lines/s")
}

// reportMemory reports the peaks, in units of 10^6 bytes.
func (m *meter) reportMemory() {
	if m.rss > 0 {
		m.b.ReportMetric(float64(m.peakRSS)/1e6, "MB-rss")
	}
	m.b.ReportMetric(float64(m.peakGo)/1e6, "MB-go")
}

// cpuTime is what this process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeakRSS makes the kernel forget the peak of the resident memory (proc(5),
// clear_refs) and returns what is resident now; 0 where there is no such kernel.
func resetPeakRSS() int64 {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 0
	}
	return procStatus("VmRSS:")
}

// procStatus is a line of /proc/self/status in bytes, 0 where there is none.
func procStatus(key string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\n"+key)
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}

// sampleGo watches how much memory the Go runtime holds, until done is closed.
func sampleGo(done <-chan struct{}, peak chan<- uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	most := uint64(0)
	for {
		metrics.Read(samples)
		most = max(most, samples[0].Value.Uint64()-samples[1].Value.Uint64())
		select {
		case <-done:
			peak <- most
			return
		case <-tick.C:
		}
	}
}
