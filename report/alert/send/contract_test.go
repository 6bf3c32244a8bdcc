package send

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/haptrail/haptrail/report/alert"
)

// service is a local receiver that checks a vendor's documented contract.
type service struct {
	*httptest.Server
	t testing.TB
	// check says what is wrong with a request, "" if nothing is.
	check func(r *http.Request, body []byte) string

	mu     sync.Mutex
	answer func(w http.ResponseWriter) // instead of good; may be nil
	good   int
	bodies [][]byte
	times  []time.Time
}

func newService(t testing.TB, good int, check func(*http.Request, []byte) string) *service {
	s := &service{t: t, check: check, good: good}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		s.answer(w)
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || !utf8.Valid(body) {
		s.t.Errorf("%s %s, %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if wrong := s.check(r, body); wrong != "" {
		s.t.Errorf("breaks the contract: %s: %.300s", wrong, body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.bodies = append(s.bodies, body)
	s.times = append(s.times, time.Now())
	w.WriteHeader(s.good)
}

// texts are the bodies that were taken.
func (s *service) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, body := range s.bodies {
		all = append(all, string(body))
	}
	return all
}

func (s *service) fails(answer func(http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// routing is a key of the right length.
const routing = "0123456789abcdef0123456789abcdef"

// pagerDutyCheck is "Send an Alert Event" of PagerDuty's documentation and its
// published schema, field by field.
func pagerDutyCheck(r *http.Request, body []byte) string {
	var e struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Client      string `json:"client"`
		ClientURL   string `json:"client_url"`
		Payload     *struct {
			Summary       string         `json:"summary"`
			Source        string         `json:"source"`
			Severity      string         `json:"severity"`
			Timestamp     string         `json:"timestamp"`
			Component     string         `json:"component"`
			Group         string         `json:"group"`
			Class         string         `json:"class"`
			CustomDetails map[string]any `json:"custom_details"`
		} `json:"payload"`
		Links []struct {
			Href string `json:"href"`
			Text string `json:"text"`
		} `json:"links"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return err.Error()
	}
	switch {
	case r.URL.Path != "/v2/enqueue":
		return "path " + r.URL.Path
	case len(body) > 512<<10:
		return fmt.Sprintf("%d bytes", len(body))
	case e.RoutingKey != routing:
		return "routing_key"
	case !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.EventAction):
		return "event_action"
	case len(e.DedupKey) == 0 || len(e.DedupKey) > 255:
		return "dedup_key"
	case e.EventAction == "resolve":
		return ""
	case e.Payload == nil || e.Payload.Source == "" || e.Payload.Summary == "" || utf8.RuneCountInString(e.Payload.Summary) > 1024:
		return "payload's source or summary"
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity):
		return "severity"
	}
	if _, err := time.Parse(time.RFC3339, e.Payload.Timestamp); err != nil {
		return "timestamp"
	}
	for _, link := range e.Links {
		if u, err := url.Parse(link.Href); err != nil || u.Host == "" {
			return "link"
		}
	}
	return ""
}

// slackCheck is Block Kit's reference, as far as it is used, and "Escaping text".
func slackCheck(r *http.Request, body []byte) string {
	type phrase struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Emoji    *bool  `json:"emoji"`
		Verbatim *bool  `json:"verbatim"`
	}
	var m struct {
		Text   string `json:"text"`
		Blocks []struct {
			Type   string   `json:"type"`
			Text   *phrase  `json:"text"`
			Fields []phrase `json:"fields"`
		} `json:"blocks"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return err.Error()
	}
	if m.Text == "" || utf8.RuneCountInString(m.Text) > 40000 || escaped(m.Text) != "" {
		return "text"
	}
	if len(m.Blocks) == 0 || len(m.Blocks) > 50 {
		return fmt.Sprintf("%d blocks", len(m.Blocks))
	}
	wrong := func(p phrase, limit int) string {
		n := utf8.RuneCountInString(p.Text)
		switch {
		case n == 0 || n > limit:
			return fmt.Sprintf("%d characters of %d", n, limit)
		case p.Type == "plain_text" && p.Verbatim == nil:
			return escaped(p.Text)
		case p.Type == "mrkdwn" && p.Emoji == nil:
			return ""
		}
		return "type " + p.Type
	}
	for _, b := range m.Blocks {
		problem := ""
		switch {
		case b.Type == "divider":
		case b.Type == "header" && b.Text != nil && b.Text.Type == "plain_text":
			problem = wrong(*b.Text, 150)
		case b.Type == "section" && b.Text != nil:
			problem = wrong(*b.Text, 3000)
		case b.Type == "section" && len(b.Fields) > 0 && len(b.Fields) <= 10:
			for _, f := range b.Fields {
				problem += wrong(f, 2000)
			}
		default:
			problem = "no block"
		}
		if problem != "" {
			return b.Type + ": " + problem
		}
	}
	return ""
}

// escaped says where a text has a character that Slack would obey.
func escaped(text string) string {
	rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(text)
	if strings.ContainsAny(rest, "&<>") {
		return "not escaped: " + rest
	}
	return ""
}

// large is an alert at every bound, with all that a hostile client can put in it.
func large(t testing.TB) alert.Alert {
	dirt := strings.Repeat("<!channel> & <https://evil|ok> 😀 ä\"\\", 300)
	a := alert.Alert{
		Key: strings.Repeat("k", 200), Kind: "burst", Severity: alert.Critical, Title: dirt, Text: dirt, Identity: dirt, Run: dirt, Commit: dirt, Command: dirt,
		Labels: map[string]string{}, Numbers: map[string]float64{}, StartsAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
	for i := range 30 {
		if i < 20 {
			a.Labels[fmt.Sprintf("label_%d", i)] = dirt
		}
		a.Numbers[fmt.Sprintf("number_%d", i)] = float64(i) / 3
		a.Evidence = append(a.Evidence, alert.Evidence{Time: a.StartsAt, Method: "GET", Endpoint: dirt, Decision: "deny", Network: "10.0.0.0/8", Run: dirt, Requests: 7})
		a.Links = append(a.Links, alert.Link{Text: dirt, URL: "https://grafana.example/d?a=1|2&b=<3>&c=" + strings.Repeat("x", 1900)})
	}
	return a
}

// small is an ordinary alert.
func small(key string) alert.Alert {
	return alert.Alert{
		Key: key, Kind: "burst", Severity: alert.High, Title: "412 requests in 10 s", Text: "This identity's own maximum in 14 days is 38; expected <= 21.",
		Identity: "space/build-" + key, Run: "4711", Commit: "abc123", Numbers: map[string]float64{"requests_10s": 412, "expected": 20.5},
		Evidence: []alert.Evidence{{Method: "GET", Endpoint: "/api/{id}", Decision: "allow", Requests: 400}},
		Links:    []alert.Link{{Text: "dashboard", URL: "https://grafana.example/d/bursts"}}, Command: "haptrail bursts explain " + key,
	}
}

// eventually waits for something that has to come.
func eventually(t testing.TB, what string, come func() bool) {
	t.Helper()
	for begin := time.Now(); !come(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%s has not come", what)
		}
	}
}
