package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/oncall"
	"github.com/haptrail/haptrail/cmd/haptrail/watch"
	"github.com/haptrail/haptrail/report/alert"
	"github.com/haptrail/haptrail/report/alert/send"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// pager is the receiver of alerts: when the first message about each identity came.
type pager struct {
	mu   sync.Mutex
	came map[string]time.Time
}

func (p *pager) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var body struct {
		Alerts []struct{ Labels map[string]string }
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range body.Alerts {
		if who := a.Labels["identity"]; p.came[who].IsZero() {
			p.came[who] = now
		}
	}
}

func (p *pager) when(who string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.came[who]
	return at, ok
}

// watched is a daemon's part from samples of stick tables to messages: detectors,
// evidence from a history of requests, outbox, sender.
type watched struct {
	*watch.Watch
	pager *pager
}

func startWatched(b *testing.B, h *history) *watched {
	p := &pager{came: map[string]time.Time{}}
	server := httptest.NewServer(p)
	b.Cleanup(server.Close)
	manager, err := alert.Open(alert.Options{Dir: b.TempDir(), Channels: []alert.Channel{{
		Name: "pager", Sender: &send.Webhook{URL: alert.SecretValue(server.URL)},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	desk := oncall.New(oncall.Options{Manager: manager, Store: h.store})
	w, err := watch.New(watch.Options{
		Store: h.store, Dir: b.TempDir(), OnCall: desk, Proxies: 1, Interval: 2 * time.Second,
		Tables: map[string]watch.Table{"identities": {Keys: watch.IdentityKeys, Counter: "http_req_cnt"}},
		Budget: 0.01, History: 24 * time.Hour, MaxKeys: 200_000, Least: alert.Low,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, part := range []func(context.Context) error{manager.Run, desk.Run, w.Run} {
		running.Go(func() { _ = part(ctx) })
	}
	b.Cleanup(func() { stop(); running.Wait(); manager.Close() })
	time.Sleep(3 * time.Second) // until it judges
	return &watched{w, p}
}

// sample is what a poll found of an identity.
func (w *watched) sample(who string, at time.Time, n uint64) {
	w.Sample(poll.Sample{
		Proxy: "edge-1", Table: "identities", Key: "ci|" + who, At: at, Elapsed: 2 * time.Second,
		Measures: []poll.Measure{{Column: runtimeapi.Column{Name: "http_req_cnt", Kind: runtimeapi.Counter}, Value: n, Delta: n}},
	})
}

// BenchmarkAlert: from the sample that shows a burst until its message is at the
// receiver, 100 identities one after another, and then all keys of a full table at once
// for the detectors' own cost. The history has requests of the identities, so that
// there is evidence to be looked up.
func BenchmarkAlert(b *testing.B) {
	h := openHistory(b)
	b.Run("one-by-one", func(b *testing.B) {
		w := startWatched(b, h)
		rng := rand.New(rand.NewPCG(seed, 2))
		var took []float64
		for i := range 100 {
			who := fmt.Sprint("sa-", i)
			began := time.Now()
			w.sample(who, began, 1500)
			for {
				if at, ok := w.pager.when(who); ok {
					took = append(took, at.Sub(began).Seconds())
					break
				}
				if time.Since(began) > 30*time.Second {
					b.Fatalf("%s: not told within 30 s", who)
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2], "s-median")
		b.ReportMetric(took[len(took)*99/100], "s-p99")
		b.ReportMetric(took[len(took)-1], "s-worst")
	})
	b.Run("keys=100000", func(b *testing.B) {
		w := startWatched(b, h)
		names := make([]string, 100_000)
		for i := range names {
			names[i] = fmt.Sprint("sa-", i)
		}
		at := time.Now()
		for second := range 4 { // the first is of new keys
			began := time.Now()
			for _, who := range names {
				w.sample(who, at.Add(time.Duration(2*second)*time.Second), 2)
			}
			if second > 0 {
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(len(names))/2, "ns/key-second")
			}
		}
	})
}
