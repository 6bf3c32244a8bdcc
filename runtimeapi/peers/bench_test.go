package peers

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// BenchmarkUpdates reads the stream of 100,000 keys' updates, twelve data types each,
// through all but the socket: cut, parsed, and turned into samples.
//
//	go test -run xxx -bench Updates ./runtimeapi/peers
func BenchmarkUpdates(b *testing.B) {
	const keys = 100_000
	types := []uint64{2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16} // four of them rates
	bits, parameters := uint64(0), ""
	for _, n := range types {
		bits |= 1 << n
		if dataTypes()[n].form == rate {
			parameters += number(n) + number(10_000)
		}
	}
	define := number(1) + prefixed("st_ident") + number(6) + number(257) + number(bits) + number(600_000) + parameters
	stream := func(round uint64) string {
		var s strings.Builder
		s.WriteString(packet(tableDefine, define))
		for i := range uint64(keys) {
			n := round*3 + i%50
			content := prefixed(fmt.Sprintf("repo:acme/app-%06d:ref:refs/heads/main", i))
			for _, t := range types {
				if dataTypes()[t].form == rate {
					content += number(i%9000) + number(n%100) + number(n%90)
				} else {
					content += number(n * 300)
				}
			}
			s.WriteString(change(uint32(round*keys+i), content))
		}
		return s.String()
	}
	rounds := []string{stream(1), stream(2)}
	f, err := New(proxyAt("127.0.0.1:1"), Options{}, func(poll.Sample) {})
	if err != nil {
		b.Fatal(err)
	}
	s := newSession(f, nil)
	read := func(text string) {
		s.in = newReader(strings.NewReader(text))
		for {
			m, err := s.in.next()
			if err == io.EOF {
				return
			}
			if err == nil {
				err = s.take(m)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	read(rounds[0])
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s.heard += time.Second
		read(rounds[n%2])
		n++
	}
	b.ReportMetric(float64(n)*keys/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(n)/keys, "ns/update")
	b.ReportMetric(float64(len(rounds[0]))/keys, "bytes/update")
}

// BenchmarkDelay tells how long after a request was sent its sample is there, at 500
// requests a second over kept-alive connections; half of them are of new keys.
//
//	go test -run xxx -bench Delay -benchtime 10x ./runtimeapi/peers
func BenchmarkDelay(b *testing.B) {
	g := startHAProxy(b, config)
	var mu sync.Mutex
	arrived := map[string]time.Time{}
	f, err := New(g.peer("st"), Options{}, func(s poll.Sample) {
		if m, _ := s.Measure("http_req_cnt"); m.Delta > 0 {
			mu.Lock()
			defer mu.Unlock()
			if id := fmt.Sprint(s.Key, " ", m.Value); arrived[id].IsZero() {
				arrived[id] = time.Now()
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, f)
	await(b, f, StateOK)
	tr := g.transport(b, true)
	var took []time.Duration
	round := 0
	for b.Loop() {
		round++
		sent := map[string]time.Time{}
		for i := range 500 {
			key := fmt.Sprintf("key-%d", i)
			id := fmt.Sprint(key, " ", round)
			if i%2 == 1 {
				key = fmt.Sprintf("key-%d-%d", round, i)
				id = key + " 1"
			}
			sent[id] = time.Now()
			if err := send(b.Context(), tr, "X-Key", key); err != nil {
				b.Fatal(err)
			}
			time.Sleep(time.Until(sent[id].Add(2 * time.Millisecond)))
		}
		time.Sleep(50 * time.Millisecond)
		mu.Lock()
		for id, at := range sent {
			if !arrived[id].IsZero() {
				took = append(took, arrived[id].Sub(at))
			}
		}
		mu.Unlock()
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	for _, q := range []float64{0.5, 0.99, 0.999} {
		b.ReportMetric(float64(took[int(q*float64(len(took)))].Microseconds()), fmt.Sprintf("p%v-us", 100*q))
	}
	b.ReportMetric(100*float64(len(took))/float64(500*round), "%told-singly")
}

// BenchmarkCost tells what a request costs HAProxy, in microseconds of its CPU and in
// how long it takes, at 2,000 requests a second: without peers, with a peers section that nobody listens to, and
// with a feed. The three take turns; half of the requests are of 1,000 known keys.
//
//	go test -run xxx -bench Cost -benchtime 10x ./runtimeapi/peers
func BenchmarkCost(b *testing.B) {
	plain := startHAProxy(b, strings.ReplaceAll(config, " peers pp", ""))
	g := startHAProxy(b, config)
	cpu, took := map[string][]float64{}, map[string][]time.Duration{}
	measure := func(name string, g *gate) {
		before := g.cpu(b)
		all := g.load(b, 2*time.Second)
		cpu[name] = append(cpu[name], (g.cpu(b)-before).Seconds()*1e6/float64(len(all)))
		took[name] = append(took[name], all[len(all)*99/100])
	}
	g.load(b, time.Second) // to warm up
	plain.load(b, time.Second)
	for b.Loop() {
		measure("plain", plain)
		measure("unheard", g)
		f, err := New(g.peer("st"), Options{}, func(poll.Sample) {})
		if err != nil {
			b.Fatal(err)
		}
		stop := run(b, f)
		await(b, f, StateOK)
		time.Sleep(100 * time.Millisecond)
		measure("fed", g)
		stop()
	}
	b.ReportMetric(0, "ns/op")
	for name := range cpu {
		slices.Sort(cpu[name])
		slices.Sort(took[name])
		b.ReportMetric(cpu[name][len(cpu[name])/2], "cpu-us/req-"+name)
		b.ReportMetric(float64(took[name][len(took[name])/2].Microseconds()), "p99-us-"+name)
	}
}

// cpu is what the worker has used.
func (g *gate) cpu(b *testing.B) time.Duration {
	info, err := g.client.Info(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", info.PID))
	if err != nil {
		b.Skip("there is no /proc: ", err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}

// load sends 2,000 requests a second over 16 kept-alive connections and returns how
// long each took from when it was due, sorted.
func (g *gate) load(b *testing.B, d time.Duration) []time.Duration {
	const senders, step = 16, 8 * time.Millisecond
	var mu sync.Mutex
	var all []time.Duration
	var wait sync.WaitGroup
	start := time.Now()
	for i := range senders {
		tr := g.transport(b, true)
		wait.Go(func() {
			defer tr.CloseIdleConnections()
			var took []time.Duration
			for j := range int(d / step) {
				due := start.Add(step*time.Duration(j) + step*time.Duration(i)/senders)
				time.Sleep(time.Until(due))
				key := fmt.Sprintf("key-%d", (j*7+i)%1000)
				if j%2 == 1 {
					key = fmt.Sprintf("key-%d-%d", i, j)
				}
				if err := send(b.Context(), tr, "X-Key", key); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(due))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wait.Wait()
	slices.Sort(all)
	return all
}
