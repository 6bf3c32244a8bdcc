package poll

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkLatency sends requests at a fixed rate, in turns with and without a poller
// of a table of 100,000 entries every 2 s, and tells the quantiles of each: the median
// over the rounds, for what else the machine does falls on few of them.
// A request's time counts from when it was due, so that waiting is not left out.
//
//	go test -run xxx -bench Latency -benchtime 10x ./runtimeapi/poll
func BenchmarkLatency(b *testing.B) {
	dir, c, _ := startHAProxy(b, "10m")
	fill(b, dir, "plain", 100_000)
	loadChild(b, dir) // to warm up
	rounds := map[string][][3]time.Duration{}
	for b.Loop() {
		rounds["without"] = append(rounds["without"], loadChild(b, dir))
		stop := pollOne(b, c)
		rounds["with"] = append(rounds["with"], loadChild(b, dir))
		stop()
	}
	b.ReportMetric(0, "ns/op")
	for name, all := range rounds {
		for i, q := range quantiles {
			slices.SortFunc(all, func(a, b [3]time.Duration) int { return cmp.Compare(a[i], b[i]) })
			b.ReportMetric(float64(all[len(all)/2][i].Microseconds()), fmt.Sprintf("p%v-%s-us", 100*q, name))
		}
	}
}

var quantiles = [3]float64{0.5, 0.99, 0.999}

// loadDir tells the child that sends requests where HAProxy is.
const loadDir = "HAPTRAIL_TEST_LOAD"

// loadChild sends the requests from a process of its own, as clients do: the poller's
// must not share its scheduler and its garbage collector.
func loadChild(b *testing.B, dir string) (took [3]time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestLoad$", "-test.v")
	child.Env = append(os.Environ(), loadDir+"="+dir)
	out, err := child.CombinedOutput()
	_, result, ok := strings.Cut(string(out), "quantiles ")
	if err != nil || !ok {
		b.Fatalf("%v: %s", err, out)
	}
	if _, err := fmt.Sscan(result, &took[0], &took[1], &took[2]); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return took
}

// TestLoad is the child's part.
func TestLoad(t *testing.T) {
	dir := os.Getenv(loadDir)
	if dir == "" {
		t.Skip("runs only as the child of BenchmarkLatency")
	}
	all := fixedRate(t, dir, 2000, 4*time.Second)
	slices.Sort(all)
	fmt.Print("quantiles")
	for _, q := range quantiles {
		fmt.Printf(" %d", all[int(q*float64(len(all)))])
	}
	fmt.Println()
}

// pollOne polls the plain table and returns when it was read once, which is dearer
// than later polls: every key is new.
func pollOne(b *testing.B, c Client) (stop func()) {
	p, err := New([]Proxy{{Name: "edge1", Client: c, Tables: []string{"plain"}}}, Options{}, func(Sample) {})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	for p.Status()[0].State == StateUnknown {
		time.Sleep(10 * time.Millisecond)
	}
	return func() {
		cancel()
		<-ended
		if s := p.Status()[0]; s.State != StateOK || s.Used < 100_000 {
			b.Fatalf("%+v", s)
		}
	}
}

// fixedRate sends so many requests a second over 16 connections and returns how long
// each took from when it was due.
func fixedRate(t *testing.T, dir string, rate int, d time.Duration) []time.Duration {
	const connections = 16
	transport := &http.Transport{MaxIdleConnsPerHost: connections, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "f"))
	}}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var all []time.Duration
	var senders sync.WaitGroup
	start, step := time.Now(), time.Second*connections/time.Duration(rate)
	for i := range connections {
		senders.Go(func() {
			var took []time.Duration
			for n := 0; ; n++ {
				due := start.Add(step*time.Duration(n) + step*time.Duration(i)/connections)
				if due.Sub(start) >= d {
					break
				}
				time.Sleep(time.Until(due))
				req, err := http.NewRequestWithContext(t.Context(), "GET", "http://gate/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Key", fmt.Sprintf("repo:acme/app-%06d:ref:refs/heads/main", (n*7919+i)%100_000))
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				took = append(took, time.Since(due))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	senders.Wait()
	return all
}
