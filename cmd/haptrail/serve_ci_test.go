package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// metric is the value of a line of /metrics, 0 where there is none.
func (d *testDaemon) metric(line string) float64 {
	d.t.Helper()
	_, text := d.get("/metrics")
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, line+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				d.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// TestWebhookOfEachProvider: sources without credentials, of which only webhooks
// tell. What is sent twice is stored once, and nobody is polled.
func TestWebhookOfEachProvider(t *testing.T) {
	w := newCIWorld(t)
	var sources []config.CISource
	for _, s := range w.sources {
		sources = append(sources, webhookOnly(s))
	}
	d := startDaemon(t, w.config(t.TempDir(), sources...), nil)
	for provider, want := range runOf {
		delivery := w.delivery(t, provider)
		for range 2 {
			if status := d.deliver(delivery, provider); status != http.StatusAccepted {
				t.Errorf("%s: have status %d, want 202", provider, status)
			}
		}
		d.wantRows("runs", fmt.Sprintf("provider = '%s' AND project = '%s' AND run = '%s' AND status = 'succeeded' AND commit = '%s'", provider, want.project, want.run, ciSHA), 1)
		for outcome, n := range map[string]float64{"taken": 1, "repeated": 1} {
			if have := d.metric(fmt.Sprintf(`haptrail_ci_deliveries_total{outcome="%s",source="%s"}`, outcome, provider)); have != n {
				t.Errorf("%s: %v deliveries %s, want %v", provider, have, outcome, n)
			}
		}
	}
	d.wantRows("runs", "1", uint64(len(runOf)))
	if _, metrics := d.get("/metrics"); strings.Contains(metrics, "haptrail_ci_polls_total{") {
		t.Error("a source without credentials was polled")
	}
}

// TestWebhooksThatAreRefused: each is answered and counted, and nothing is stored.
func TestWebhooksThatAreRefused(t *testing.T) {
	w := newCIWorld(t)
	var sources []config.CISource
	for _, s := range w.sources {
		sources = append(sources, webhookOnly(s))
	}
	deaf := webhookOnly(w.sources["github"])
	deaf.Name, deaf.Webhook = "deaf", config.CIWebhook{}
	d := startDaemon(t, w.config(t.TempDir(), append(sources, deaf)...), nil)
	for provider := range runOf {
		forged := w.delivery(t, provider)
		forged.Header = forged.Header.Clone()
		for _, name := range []string{"X-Space-Signature", "X-Hub-Signature-256", "Authorization", "X-Gitlab-Token"} {
			if value := forged.Header.Get(name); value != "" {
				forged.Header.Set(name, value[:len(value)-1]+string('0'+(value[len(value)-1]+1)%10))
			}
		}
		if status := d.deliver(forged, provider); status != http.StatusUnauthorized {
			t.Errorf("%s, forged: have status %d, want 401", provider, status)
		}
		if status := d.deliver(citest.Delivery{Body: forged.Body}, provider); status != http.StatusUnauthorized {
			t.Errorf("%s, bare: have status %d, want 401", provider, status)
		}
		if have := d.metric(`haptrail_ci_deliveries_total{outcome="unverified",source="` + provider + `"}`); have != 2 {
			t.Errorf("%s: %v deliveries unverified, want 2", provider, have)
		}
	}
	for _, c := range []struct {
		source, outcome string
		status          int
		change          func(*citest.Delivery)
	}{
		{"deaf", `outcome="unverified",source="deaf"`, http.StatusUnauthorized, func(*citest.Delivery) {}},
		{"nobody", `outcome="unknown",source=""`, http.StatusNotFound, func(*citest.Delivery) {}},
		{"github", `outcome="media_type",source="github"`, http.StatusUnsupportedMediaType, func(c *citest.Delivery) { c.Header.Set("Content-Encoding", "gzip") }},
		{"github", `outcome="too_large",source="github"`, http.StatusRequestEntityTooLarge, func(c *citest.Delivery) { c.Body = make([]byte, 50<<20) }},
	} {
		delivery := w.delivery(t, "github")
		c.change(&delivery)
		status, err := delivery.Send(t.Context(), http.DefaultClient, d.webhookURL(c.source))
		// who sends 50 MiB may find the connection closed before he has read why
		if status != c.status && !(err != nil && c.status == http.StatusRequestEntityTooLarge) {
			t.Errorf("%s: have status %d, error %v, want %d", c.outcome, status, err, c.status)
		}
		if have := d.metric("haptrail_ci_deliveries_total{" + c.outcome + "}"); have != 1 {
			t.Errorf("%s: counted %v times, want once", c.outcome, have)
		}
	}
	if response, err := http.Get(d.webhookURL("github") + "/more"); err != nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("a path below a webhook: have %v, error %v", response, err)
	} else {
		response.Body.Close()
	}
	for _, table := range []string{"ci_runs", "ci_commits", "ci_principals"} {
		if n := d.count(table, "1"); n > 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

// TestServerIsDown: a CI server that cannot be reached, or refuses us, keeps the
// daemon from nothing. When it answers again, what it did meanwhile is fetched;
// also what it did while the daemon itself was down.
func TestServerIsDown(t *testing.T) {
	w := newCIWorld(t)
	gone := w.sources["gitlab"]
	gone.Name, gone.URL = "gone", "http://127.0.0.1:"+freePort(t)
	w.teamcity.Fail(citest.Fault{Status: http.StatusBadGateway})
	cfg := w.config(t.TempDir(), w.sources["teamcity"], w.sources["github"], gone)
	d := startDaemon(t, cfg, nil)
	d.wantRows("runs", "provider = 'github' AND status = 'succeeded'", 1) // others are not kept waiting
	for failed, id := 1.0, int64(72); failed <= 4; failed, id = failed+1, id+1 {
		w.putBuild(id, time.Now().Add(-time.Duration(60-10*failed)*time.Minute))
		eventually(t, "another poll fails", func() bool {
			return d.metric(`haptrail_ci_polls_total{outcome="failed",source="teamcity"}`) >= failed
		})
	}
	if n := d.count("runs", "provider = 'teamcity'"); n > 0 {
		t.Fatalf("%d runs of a server that is down", n)
	}
	w.teamcity.Heal()
	d.wantRows("runs", "provider = 'teamcity' AND status = 'succeeded'", 5)
	eventually(t, "the log says that the gap is closed", func() bool {
		return strings.Contains(d.logs.String(), `msg="the CI server answers again; what it did meanwhile is fetched" source=teamcity`)
	})
	if !strings.Contains(d.logs.String(), "source=gone") || strings.Contains(d.logs.String(), "fetched\" source=gone") {
		t.Error("the log does not say that a server cannot be reached")
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	w.putBuild(80, time.Now().Add(-5*time.Minute))
	cfg.CI.Back = config.Duration(time.Minute) // not needed: the cursor was kept
	startDaemon(t, cfg, nil).wantRows("runs", "provider = 'teamcity' AND status = 'succeeded'", 6)
	for fake, violations := range map[string][]string{"teamcity": w.teamcity.Violations(), "github": w.github.Violations()} {
		if len(violations) > 0 {
			t.Errorf("%s was asked for what its documentation forbids: %q", fake, violations)
		}
	}
}

// TestRefusedByTheServer is said as an error, and polling goes on.
func TestRefusedByTheServer(t *testing.T) {
	w := newCIWorld(t)
	w.secret(t, "teamcity", "expired")
	d := startDaemon(t, w.config(t.TempDir(), w.sources["teamcity"]), nil)
	eventually(t, "polls are refused", func() bool { return d.metric(`haptrail_ci_polls_total{outcome="refused",source="teamcity"}`) >= 2 })
	if !strings.Contains(d.logs.String(), "level=ERROR") || !strings.Contains(d.logs.String(), "are the credentials right") {
		t.Error("the log does not say that a person has to mend it")
	}
	w.secret(t, "teamcity", "teamcity-token") // rotated under the running daemon
	d.wantRows("runs", "provider = 'teamcity'", 1)
}

// TestThousandWebhooks arrive within a second, from twenty connections.
func TestThousandWebhooks(t *testing.T) {
	w := newCIWorld(t)
	template := w.github.Runs[0]
	for id := range uint64(999) {
		run := template
		run.ID = 1000 + id
		w.github.Runs = append(w.github.Runs, run)
	}
	d := startDaemon(t, w.config(t.TempDir(), webhookOnly(w.sources["github"])), nil)
	var deliveries []citest.Delivery
	for _, hook := range w.github.Webhooks(time.Now().Add(-29*time.Minute), time.Now()) { // only their ends
		deliveries = append(deliveries, citest.Delivery{Header: hook.Header("github-secret"), Body: hook.Body})
	}
	if len(deliveries) != 1000 {
		t.Fatalf("%d deliveries, want 1000", len(deliveries))
	}
	const senders = 20
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: patience}
	defer client.CloseIdleConnections()
	start := time.Now()
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for i := sender; i < len(deliveries); i += senders {
				if status, err := deliveries[i].Send(t.Context(), client, d.webhookURL("github")); err != nil || status != http.StatusAccepted {
					t.Errorf("delivery %d: have status %d, error %v, want 202", i, status, err)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	t.Logf("1000 webhooks were stored and answered in %v", took.Round(time.Millisecond))
	if took > 10*time.Second { // GitHub waits no longer for one
		t.Errorf("1000 webhooks took %v", took)
	}
	if n := d.count("runs", "status = 'succeeded'"); n != 1000 {
		t.Errorf("%d runs when the last was answered, want 1000", n)
	}
}

// TestSecretsStayOut: an init payload brings Space's client secret. It is in no
// table and in no log, however much is logged, also when it is not genuine or
// cannot be read.
func TestSecretsStayOut(t *testing.T) {
	const secret = "SESAME-5d1e"
	w := newCIWorld(t)
	cfg := w.config(t.TempDir(), webhookOnly(w.sources["space"]))
	cfg.Log.Level = "debug"
	d := startDaemon(t, cfg, nil)
	payload := map[string]any{"className": "InitPayload", "clientSecret": secret, "serverUrl": "https://space.example.com", "state": secret, "clientId": "f6df3d26", "userId": secret}
	bare := fmt.Sprintf(`{"className":"ChangeClientSecretPayload","clientId":"f6df3d26","newClientSecret":%q}`, secret)
	for _, c := range []struct {
		name   string
		body   string
		forged bool
		want   int
	}{
		{name: "init", body: string(w.space.Envelope(payload)), want: http.StatusAccepted},
		{name: "change of the secret", body: bare, want: http.StatusAccepted},
		{name: "broken JSON", body: bare[:len(bare)-1], want: http.StatusBadRequest},
		{name: "not an object", body: `"` + secret + `"`, want: http.StatusBadRequest},
		{name: "in the place of another value", body: `{"className":"AutomationJobEvent","executionId":{"x":"` + secret + `"}}`, want: http.StatusBadRequest},
		{name: "forged", body: bare, forged: true, want: http.StatusUnauthorized},
	} {
		delivery := w.signed(t, []byte(c.body))
		if c.forged {
			delivery.Header.Set("X-Space-Signature", secret)
		}
		if status := d.deliver(delivery, "space"); status != c.want {
			t.Errorf("%s: have status %d, want %d", c.name, status, c.want)
		}
	}
	d.deliver(w.delivery(t, "space"), "space")
	if n := d.search("2bQWXYZ"); n == 0 {
		t.Error("a run that is stored is not found: neither would a secret be")
	}
	if n := d.search(secret); n > 0 {
		t.Errorf("%d rows have the secret in them", n)
	}
	for _, text := range []string{secret, "space-signing-key"} {
		if strings.Contains(d.logs.String(), text) {
			t.Errorf("%s is in the log", text)
		}
	}
}

// search counts the rows of all tables that have a text in them.
func (d *testDaemon) search(text string) (n uint64) {
	d.t.Helper()
	rows, err := d.store.Conn().Query(d.t.Context(), "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View'")
	if err != nil {
		d.t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			d.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil || len(tables) < 5 {
		d.t.Fatalf("tables %q, error %v", tables, err)
	}
	for _, table := range tables {
		n += d.count(table, "position(formatRow('JSONEachRow', *), '"+text+"') > 0")
	}
	return n
}
