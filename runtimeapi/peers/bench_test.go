package peers

import (
	"fmt"
	"io"
	"slices"
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
