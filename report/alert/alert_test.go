package alert

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNormal(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := Alert{Key: "k", Kind: "burst", Severity: High, Title: "t"}
	for _, test := range []struct {
		name   string
		change func(*Alert)
		want   string
	}{
		{"no key", func(a *Alert) { a.Key = "" }, "key"},
		{"long key", func(a *Alert) { a.Key = strings.Repeat("k", maxKey+1) }, "200 printable"},
		{"key with a line feed", func(a *Alert) { a.Key = "a\nb" }, "key"},
		{"no kind", func(a *Alert) { a.Kind = "" }, "kind"},
		{"kind of two words", func(a *Alert) { a.Kind = "a b" }, "kind"},
		{"no severity", func(a *Alert) { a.Severity = 0 }, "severity 0"},
		{"no title", func(a *Alert) { a.Title = " \t" }, "title"},
		{"label's name", func(a *Alert) { a.Labels = map[string]string{"a-b": "c"} }, `label "a-b"`},
		{"label with a digit", func(a *Alert) { a.Labels = map[string]string{"1a": "c"} }, `label "1a"`},
		{"link", func(a *Alert) { a.Links = []Link{{URL: "https://ok"}, {URL: "javascript:alert(1)"}} }, "link 2"},
		{"link with a blank", func(a *Alert) { a.Links = []Link{{URL: "https://ok/\n"}} }, "link 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := good
			test.change(&a)
			if _, err := a.normal(now); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("have %v, want %s", err, test.want)
			}
		})
	}
	a, err := good.normal(now)
	if err != nil || !a.StartsAt.Equal(now) {
		t.Errorf("have %+v, %v", a, err)
	}
}

// Whatever a client sends: the alert is bounded, survives JSON as it is, and is
// normal already when it is made normal again.
func TestNormalIsBounded(t *testing.T) {
	now := time.Now()
	dirt := strings.Repeat("\x1b[31m\u202e<&>\x00\xff😀", 5000)
	a := Alert{Key: "k", Kind: "burst", Severity: Critical, Title: dirt, Text: dirt + "\n" + dirt, Identity: dirt, Run: dirt, Commit: dirt, Command: dirt,
		Labels: map[string]string{"a": dirt, "empty": ""}, Numbers: map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "n": 1.5},
		StartsAt: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i := range 100 {
		a.Evidence = append(a.Evidence, Evidence{Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), Method: dirt, Endpoint: dirt, Decision: dirt, Network: dirt, Run: dirt})
		a.Numbers[fmt.Sprint("x", i)] = float64(i)
		a.Links = append(a.Links, Link{Text: dirt, URL: "https://example.com/" + strings.Repeat("a", 1900)})
	}
	n, err := a.normal(now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(n)
	if err != nil || len(text) > 64<<10 || !utf8.Valid(text) {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if strings.ContainsAny(n.Text+n.Title+n.Identity+n.Evidence[0].Endpoint, "\x1b\x00\u202e") {
		t.Error("control characters are left")
	}
	var back Alert
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, n) {
		t.Errorf("JSON gives another alert: %v", err)
	}
	if again, err := n.normal(now); err != nil || !reflect.DeepEqual(again, n) {
		t.Errorf("normal is not normal: %v", err)
	}
	if len(n.Numbers) != maxNumbers || n.Numbers["n"] != 1.5 {
		t.Errorf("numbers: %v", n.Numbers)
	}
}

func TestKey(t *testing.T) {
	if have := Key("a", "b"); have != "facdde7abf1eac5b301273ab2e282f79" { // sha256 of "1:a1:b": outboxes hold such keys
		t.Errorf("a key has become %s", have)
	}
	if Key("ab", "c") == Key("a", "bc") || Key("a") == Key("a", "") {
		t.Error("parts can move into their neighbours")
	}
}

func TestSeverity(t *testing.T) {
	for s := Info; s <= Critical; s++ {
		if back, err := ParseSeverity(s.String()); err != nil || back != s {
			t.Errorf("%s is read as %s, %v", s, back, err)
		}
	}
	if _, err := ParseSeverity("urgent"); err == nil || !strings.Contains(err.Error(), "info, low, medium, high, critical") {
		t.Errorf("have %v", err)
	}
}

func FuzzClip(f *testing.F) {
	f.Add("abc", 2)
	f.Add("ä…\xff", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(min(limit, 100), 0)
		have := clip(text, limit)
		if len(have) > limit || !utf8.ValidString(have) || strings.ContainsAny(have, "\n\r\x00\x1b") || clip(have, limit) != have {
			t.Errorf("clip(%q, %d) is %q", text, limit, have)
		}
	})
}

// The oracle of matches is a regular expression.
func TestMatches(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	word := func(alphabet string, most int) string {
		var text strings.Builder
		for range random.IntN(most) {
			text.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return text.String()
	}
	hits := 0
	for range 50_000 {
		pattern, text := word("ab*", 6), word("ab", 7)
		want := pattern == "" || regexp.MustCompile("^"+strings.ReplaceAll(pattern, "*", ".*")+"$").MatchString(text)
		if matches(pattern, text) != want {
			t.Fatalf("matches(%q, %q) is %t", pattern, text, !want)
		}
		if want {
			hits++
		}
	}
	if hits < 1000 {
		t.Errorf("only %d of the pairs match", hits)
	}
}

func TestSilenceCheck(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := Silence{Identity: "ci/*", From: now, Until: now.Add(time.Hour), Owner: "ann", Reason: "load test"}
	if err := good.check(now); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Silence){
		"every alert":   func(s *Silence) { s.Identity = "" },
		"needs an end":  func(s *Silence) { s.Until = time.Time{} },
		"before":        func(s *Silence) { s.Until = s.From },
		"90 days":       func(s *Silence) { s.Until = now.AddDate(0, 4, 0) },
		"and a reason":  func(s *Silence) { s.Reason = " " },
		"an owner and ": func(s *Silence) { s.Owner = "" },
		"too long":      func(s *Silence) { s.Reason = strings.Repeat("x", 5000) },
	} {
		s := good
		change(&s)
		if err := s.check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
	a := &Alert{Kind: "burst", Identity: "ci/7", Labels: map[string]string{"env": "prod"}}
	for _, test := range []struct {
		s    Silence
		at   time.Duration
		want bool
	}{
		{good, 0, true}, {good, -1, false}, {good, time.Hour - 1, true}, {good, time.Hour, false},
		{Silence{Kind: "burst", Identity: "ci/8", From: now, Until: good.Until}, 0, false},
		{Silence{Kind: "finding", From: now, Until: good.Until}, 0, false},
		{Silence{Labels: map[string]string{"env": "p*"}, From: now, Until: good.Until}, 0, true},
		{Silence{Labels: map[string]string{"team": "x"}, From: now, Until: good.Until}, 0, false},
	} {
		if have := test.s.covers(a, now.Add(test.at)); have != test.want {
			t.Errorf("%+v after %s: %t", test.s, test.at, have)
		}
	}
}

// In no minute, wherever it begins, there are more messages than the limit says,
// none comes before its gap, and the bucket does not starve who asks.
func TestLimit(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []Limit{{PerMinute: 5, Burst: 2, Gap: time.Second}, {PerMinute: 62, Burst: 2}, {PerMinute: 2, Burst: 1}, {PerMinute: 10, Burst: 9}} {
		b := bucket{limit: limit}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		begin := now
		var taken []time.Time
		for len(taken) < 500 {
			if random.IntN(20) == 0 {
				now = now.Add(time.Duration(random.IntN(200)) * time.Second) // nobody asks for a while
			}
			wait := b.wait(now)
			if wait < 0 || wait > time.Minute {
				t.Fatalf("%+v: wait %s", limit, wait)
			}
			now = now.Add(wait)
			if again := b.wait(now); again > 1 { // a nanosecond of rounding
				t.Fatalf("%+v: after the wait it is %s more", limit, again)
			}
			b.take(now)
			taken = append(taken, now)
		}
		for i, from := range taken {
			n := 0
			for _, at := range taken[i:] {
				if at.Sub(from) < time.Minute {
					n++
				}
			}
			if n > limit.PerMinute {
				t.Fatalf("%+v: %d in the minute from %s", limit, n, from)
			}
			if i > 0 && from.Sub(taken[i-1]) < limit.Gap {
				t.Fatalf("%+v: %s apart", limit, from.Sub(taken[i-1]))
			}
		}
		if len(taken) > int(now.Sub(begin).Minutes()*float64(limit.PerMinute))+limit.PerMinute {
			t.Errorf("%+v: %d in %s", limit, len(taken), now.Sub(begin))
		}
	}
	for _, bad := range []Limit{{}, {PerMinute: 1, Burst: 1}, {PerMinute: 5, Burst: 5}, {PerMinute: 5}, {PerMinute: 5, Burst: 1, Gap: -1}} {
		if bad.check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{first: time.Second, most: time.Minute}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if have := b.next(0, 0); have != want*time.Second {
			t.Errorf("pause %d is %s", i, have)
		}
	}
	if have := b.next(0, 0.999); have < 30*time.Second || have > 31*time.Second {
		t.Errorf("with jitter %s", have)
	}
	if have := b.next(5*time.Minute, 0); have != 5*time.Minute {
		t.Errorf("asked for 5m: %s", have)
	}
	if have := b.next(1000*time.Hour, 0); have != time.Hour {
		t.Errorf("asked for too much: %s", have)
	}
	b.failures = 1 << 40
	if have := b.next(0, 0); have != time.Minute {
		t.Errorf("after very many: %s", have)
	}
}
