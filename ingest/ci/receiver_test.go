package ci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// parrot is a source whose deliveries say what it should answer: "run", "nothing",
// or an error.
type parrot struct{ Source }

func (parrot) Webhook(ctx context.Context, d Delivery) ([]Fact, error) {
	word, _, _ := strings.Cut(string(d.Body), " ")
	switch word {
	case "forged":
		return nil, fmt.Errorf("parrot: %w: the signature", ErrUnverified)
	case "odd":
		return nil, fmt.Errorf("parrot: %w: field x", ErrMalformed)
	case "down":
		return nil, errors.New("parrot: no keys")
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "nothing":
		return nil, nil
	case "late":
		if d.Received.IsZero() || time.Since(d.Received) > time.Minute {
			return nil, errors.New("parrot: no time of receipt")
		}
	}
	return []Fact{{Run: &Run{ID: string(d.Body)}}, {Commit: &Commit{}}, {Principal: &Principal{}}}, nil
}

// shelf is a store that counts, and fails on demand.
type shelf struct {
	mu    sync.Mutex
	fail  error
	facts []Fact
	calls int
}

func (s *shelf) Apply(_ context.Context, facts []Fact) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fail != nil {
		return s.fail
	}
	s.facts = append(s.facts, facts...)
	return nil
}

type desk struct {
	*Receiver
	store    *shelf
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newDesk() desk {
	d := desk{store: &shelf{}, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	d.Receiver = &Receiver{Sources: map[string]Source{"one": parrot{}, "two": parrot{}}, Store: d.store, Metrics: NewMetrics(d.registry), Log: slog.New(slog.NewTextHandler(d.log, nil))}
	return d
}

func (d desk) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, request)
	return w
}

func TestReceiver(t *testing.T) {
	for name, row := range map[string]receiverCase{
		"taken":                 {body: "run", status: 202, outcome: "taken", facts: 3},
		"nothing to tell":       {body: "nothing", status: 202, outcome: "taken"},
		"received":              {body: "late", status: 202, outcome: "taken", facts: 3},
		"JSON":                  {body: "run", headers: []string{"Content-Type", "application/json; charset=utf-8"}, status: 202, outcome: "taken", facts: 3},
		"JSON of a kind":        {body: "run", headers: []string{"Content-Type", "application/vnd.ci+json"}, status: 202, outcome: "taken", facts: 3},
		"a form":                {body: "run", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 202, outcome: "taken", facts: 3},
		"a bad parameter":       {body: "run", headers: []string{"Content-Type", "application/json; charset"}, status: 202, outcome: "taken", facts: 3},
		"identity":              {body: "run", headers: []string{"Content-Encoding", "identity"}, status: 202, outcome: "taken", facts: 3},
		"forged":                {body: "forged secret", status: 401, outcome: "unverified"},
		"odd":                   {body: "odd secret", status: 400, outcome: "malformed"},
		"the source is down":    {body: "down secret", status: 503, outcome: "source_failed"},
		"no such source":        {path: "/webhooks/three", body: "run", status: 404, outcome: "unknown"},
		"no name":               {path: "/webhooks/", body: "run", status: 404, outcome: "unknown"},
		"another path":          {path: "/else", body: "run", status: 404, outcome: "unknown"},
		"a name and more":       {path: "/webhooks/one/two", body: "run", status: 404, outcome: "unknown"},
		"GET":                   {method: "GET", status: 405, outcome: "method"},
		"PUT":                   {method: "PUT", body: "run", status: 405, outcome: "method"},
		"a page":                {body: "run", headers: []string{"Content-Type", "text/html"}, status: 415, outcome: "media_type"},
		"a file":                {body: "run", headers: []string{"Content-Type", "multipart/form-data; boundary=x"}, status: 415, outcome: "media_type"},
		"nonsense for a type":   {body: "run", headers: []string{"Content-Type", "/"}, status: 415, outcome: "media_type"},
		"compressed":            {body: "run", headers: []string{"Content-Encoding", "gzip"}, status: 415, outcome: "media_type"},
		"as large as may be":    {body: "run " + strings.Repeat("x", maxWebhook-4), status: 202, outcome: "taken", facts: 3},
		"a byte more":           {body: "run " + strings.Repeat("x", maxWebhook-3), status: 413, outcome: "too_large"},
		"50 MiB":                {body: strings.Repeat("x", 50<<20), status: 413, outcome: "too_large"},
		"50 MiB, length unsaid": {body: strings.Repeat("x", 50<<20), status: 413, outcome: "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			row.check(t, strings.HasSuffix(name, "unsaid"))
		})
	}
}

// receiverCase is a request, and what becomes of it.
type receiverCase struct {
	method, path, body string
	headers            []string
	status             int
	outcome            string
	facts              int
}

// check sends it, with its length unsaid or not.
func (row receiverCase) check(t *testing.T, unsaid bool) {
	t.Helper()
	d := newDesk()
	method, path := row.method, row.path
	if method == "" {
		method = "POST"
	}
	if path == "" {
		path = "/webhooks/one"
	}
	var w *httptest.ResponseRecorder
	if unsaid {
		request := httptest.NewRequest(method, path, io.MultiReader(strings.NewReader(row.body)))
		request.ContentLength = -1
		w = httptest.NewRecorder()
		d.ServeHTTP(w, request)
	} else {
		w = d.send(method, path, row.body, row.headers...)
	}
	if w.Code != row.status || len(d.store.facts) != row.facts {
		t.Errorf("%d, %d facts", w.Code, len(d.store.facts))
	}
	source := "one"
	if row.outcome == "unknown" {
		source = ""
	}
	if n := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues(source, row.outcome)); n != 1 {
		t.Errorf("%s was counted %v times", row.outcome, n)
	}
	if all := testutil.CollectAndCount(d.Metrics.deliveries); all != 1 {
		t.Errorf("%d outcomes", all)
	}
	for what, text := range map[string]string{"answer": w.Body.String(), "log": d.log.String()} {
		if strings.Contains(text, "secret") || strings.Contains(text, "xxx") {
			t.Errorf("the body in the %s: %s", what, text)
		}
	}
	if strings.Contains(w.Body.String(), "signature") || strings.Contains(w.Body.String(), "field") {
		t.Errorf("details in the answer: %s", w.Body)
	}
	if held := d.held.Load(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
	if row.status == 405 && w.Header().Get("Allow") != "POST" {
		t.Errorf("%v", w.Header())
	}
}

func TestReceiverRepeats(t *testing.T) {
	d := newDesk()
	count := func(source, outcome string) float64 {
		return testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues(source, outcome))
	}
	for range 3 {
		if w := d.send("POST", "/webhooks/one", "run 1"); w.Code != 202 {
			t.Fatal(w.Code)
		}
	}
	d.send("POST", "/webhooks/one", "run 2")
	d.send("POST", "/webhooks/two", "run 1") // another source's is another
	if d.store.calls != 3 || count("one", "taken") != 2 || count("one", "repeated") != 2 || count("two", "taken") != 1 {
		t.Errorf("stored %d times, %v taken, %v repeated", d.store.calls, count("one", "taken"), count("one", "repeated"))
	}
	if n := testutil.ToFloat64(d.Metrics.facts.WithLabelValues("one", "run")); n != 2 {
		t.Errorf("%v facts", n)
	}
	// What was not stored was not taken, however often it comes.
	d.store.fail = errors.New("disk full")
	for range 2 {
		if w := d.send("POST", "/webhooks/one", "run 3"); w.Code != 503 {
			t.Fatal(w.Code)
		}
	}
	d.store.fail = nil
	if w := d.send("POST", "/webhooks/one", "run 3"); w.Code != 202 || d.store.calls != 6 || count("one", "store_failed") != 2 || count("one", "taken") != 3 {
		t.Errorf("%d, stored %d times", w.Code, d.store.calls)
	}
	// What was taken before, with a signature that is wrong now, is not genuine.
	d.send("POST", "/webhooks/one", "forged")
	if w := d.send("POST", "/webhooks/one", "forged"); w.Code != 401 || count("one", "unverified") != 2 {
		t.Errorf("%d", w.Code)
	}
}

// A flood of bad deliveries is counted, and is a line of the log a minute.
func TestReceiverLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		for range 100 {
			d.send("POST", "/webhooks/one", "forged")
			d.send("POST", "/webhooks/nobody", "x")
		}
		d.send("POST", "/webhooks/two", "forged")
		d.send("POST", "/webhooks/one", "odd")
		if lines := strings.Count(d.log.String(), "\n"); lines != 3 {
			t.Errorf("%d lines:\n%s", lines, d.log)
		}
		time.Sleep(time.Minute)
		d.send("POST", "/webhooks/one", "forged")
		if lines := strings.Count(d.log.String(), "\n"); lines != 4 {
			t.Errorf("%d lines:\n%s", lines, d.log)
		}
		if n := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues("one", "unverified")); n != 101 {
			t.Errorf("%v were counted", n)
		}
	})
}

// A store or source that hangs, a sender that does: each ends in time.
func TestReceiverTimes(t *testing.T) {
	d := newDesk()
	d.Timeout = 50 * time.Millisecond
	if w := d.send("POST", "/webhooks/one", "slow"); w.Code != 503 {
		t.Errorf("a slow source: %d", w.Code)
	}
	server := httptest.NewServer(d)
	defer server.Close()
	for head, want := range map[string]string{
		"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nrun":                            " 408 ",
		"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrun":                " 408 ",
		"PUT /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nrun":                             " 405 ",
		"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nrun": " 415 ",
		"POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nrun":                         " 404 ",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, head)
		answer := make([]byte, 20)
		if _, err := io.ReadFull(conn, answer); err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%q, %v", answer, err)
		}
	}
	if n := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues("one", "broken")); n != 2 || d.held.Load() != 0 {
		t.Errorf("%v broken, %d held", n, d.held.Load())
	}
	// The next requests on a connection are not in the deadline of the first.
	d.Timeout = 0
	client := server.Client()
	for i := range 3 {
		response, err := client.Post(server.URL+"/webhooks/one", "application/json", strings.NewReader(fmt.Sprint("run ", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != 202 {
			t.Errorf("%d", response.StatusCode)
		}
	}
}

// However many send large bodies at one time, they do not fill the memory.
func TestReceiverHolds(t *testing.T) {
	d := newDesk()
	d.held.Store(maxWebhooks - 10)
	if w := d.send("POST", "/webhooks/one", "run and more than ten bytes"); w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
	if w := d.send("POST", "/webhooks/one", "run"); w.Code != 202 {
		t.Errorf("%d", w.Code)
	}
	if n := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues("one", "busy")); n != 1 || d.held.Load() != maxWebhooks-10 {
		t.Errorf("%v busy, %d held", n, d.held.Load())
	}
}

// 1,000 webhooks at the same time, each twice: each is stored, and none is lost.
func TestReceiverMany(t *testing.T) {
	d := newDesk()
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks/{name}", d)
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("POST", "/webhooks/one", strings.NewReader(fmt.Sprint("run ", i/2))))
			if w.Code != 202 {
				t.Error(w.Code)
			}
		})
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, fact := range d.store.facts {
		if fact.Run != nil {
			seen[fact.Run.ID] = true
		}
	}
	taken := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues("one", "taken"))
	repeated := testutil.ToFloat64(d.Metrics.deliveries.WithLabelValues("one", "repeated"))
	if len(seen) != 1000 || taken+repeated != 2000 || taken < 1000 {
		t.Errorf("%d of 1000 are stored; %v taken, %v repeated", len(seen), taken, repeated)
	}
	if d.held.Load() != 0 {
		t.Errorf("%d bytes are still held", d.held.Load())
	}
}

// A Receiver of nothing but what is needed.
func TestReceiverPlain(t *testing.T) {
	r := &Receiver{Sources: map[string]Source{"one": parrot{}}, Store: &shelf{}}
	for body, want := range map[string]int{"run": 202, "forged": 401, "odd": 400} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("POST", "/webhooks/one", strings.NewReader(body)))
		if w.Code != want {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
}
