package burst_test

import (
	"strings"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst"
)

// TestFirst: the first clump of denials, or of errors, of an identity that nothing was
// ever denied is found; one or two are not, however often.
func TestFirst(t *testing.T) {
	for name, o := range map[string]burst.Options{"denials": burst.Denials(), "errors": burst.Errors()} {
		d := detector(t, o)
		now := int64(monday)
		live(t, d, "k", now, now+3*day, 4*hour, 1)
		live(t, d, "k", now+3*day, now+6*day, 4*hour, 2)
		live(t, d, "new", now, now+1, 1, 2)
		for _, key := range []string{"k", "new", "never seen"} {
			v := storm(d, key, now+6*day+10*hour, now+6*day+10*hour+20, 1)
			if len(v) == 0 || v[0].Kind != burst.Start {
				t.Errorf("%s: twenty in twenty seconds of %q are no burst", name, key)
			}
		}
	}
	if v := storm(detector(t, burst.Requests()), "never seen", monday, monday+20, 1); v != nil {
		t.Errorf("twenty requests of one that is new:\n%s", say(v))
	}
}

// TestWords: what on-call reads of each measure.
func TestWords(t *testing.T) {
	addresses := burst.Denials()
	addresses.Words.Subject = burst.Addresses().Words.Subject
	for _, c := range []struct {
		o          burst.Options
		usual, now uint32
		want       string
	}{
		{burst.Requests(), 38, 412, "412 requests in 5 s; this identity's own maximum in 14 days is 38; expected <= "},
		{burst.Denials(), 3, 412, "412 denials in 5 s; this identity's own maximum in 14 days is 3; expected <= "},
		{burst.Errors(), 3, 412, "412 errors in 5 s; this identity's own maximum in 14 days is 3; expected <= "},
		{burst.Kilobytes(), 380, 120_412, "120,412 kB in 5 s; this identity's own maximum in 14 days is 380; expected <= "},
		{burst.Endpoints(), 20, 412, "412 requests in 5 s; this identity's own maximum at this endpoint in 14 days is 20; expected <= "},
		{burst.Addresses(), 38, 412, "412 requests in 5 s; this address's own maximum in 14 days is 38; expected <= "},
		{addresses, 3, 412, "412 denials in 5 s; this address's own maximum in 14 days is 3; expected <= "},
	} {
		c.o.MaxKeys = 1
		c.o.Role = func(string) string { return "build" }
		d := detector(t, c.o)
		now := int64(monday + 14*day)
		live(t, d, "k", monday, now, 600, c.usual)
		v := d.Step("k", now+300, c.now)
		if len(v) != 1 || !strings.HasPrefix(v[0].Why(), c.want) {
			t.Errorf("want %s…\nhave %s", c.want, say(v))
			continue
		}
		// Its place is another's, of whom only the role is known.
		subject, many := v[0].Words.Subject.One, v[0].Words.Subject.Many
		ends := d.Step("other", now+300, 1)
		if len(ends) != 1 || !strings.HasPrefix(ends[0].Why(), "no longer watched, for there are too many "+many+"; at worst ") {
			t.Errorf("have %s", say(ends))
		}
		cold := d.Step("other", now+301, 1_000_000)
		if len(cold) != 1 || !strings.Contains(cold[0].Why(), `so judged by the other `+subject+` of role "build"`) {
			t.Errorf("have %s", say(cold))
		}
	}
}

// TestWordsParts: several of a role, none of it, one request, and an announcement.
func TestWordsParts(t *testing.T) {
	v := burst.Verdict{Kind: burst.End, Count: 1, Total: 1}
	v.Words = burst.Words{Counted: burst.Noun{One: "denial", Many: "denials"}, Subject: burst.Noun{One: "address", Many: "addresses"}, Where: "at this endpoint"}
	for want, change := range map[string]func(*burst.Verdict){
		"over after 0 s with 1 denial; at worst 1 denial in 0 s":        func(*burst.Verdict) {},
		"this address never did more than wait at this endpoint in 0 s": func(*burst.Verdict) {},
		"so judged by what is usual for addresses, at most 1,500;":      func(v *burst.Verdict) { v.Cold, v.HighWater = true, 1499.7 },
		`the 1,200 other addresses of role "r"`:                         func(v *burst.Verdict) { v.Cold, v.Peers, v.Role = true, 1200, "r" },
		"is 1,000,000 (raised by an earlier burst)":                     func(v *burst.Verdict) { v.Own, v.Raised = 1_000_000, true },
		"expected <= 0; 2.5 times that was announced":                   func(v *burst.Verdict) { v.Announced = 2.5 },
	} {
		v := v
		change(&v)
		if have := v.Why(); !strings.Contains(have, want) {
			t.Errorf("want …%s…\nhave %s", want, have)
		}
	}
	for want, words := range map[string]burst.Words{
		`has "denial" for one and "" for several`: {Counted: burst.Noun{One: "denial"}},
		`has "" for one and "keys" for several`:   {Subject: burst.Noun{Many: "keys"}},
	} {
		if _, err := burst.New(burst.Options{Words: words}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}
