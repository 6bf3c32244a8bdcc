package finding

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A finding's text is read by somebody who has many of them open. Names come from
// logs and tokens, so that anything may be in them: they are bounded, and what is
// not printable is escaped.

const (
	maxName = 100 // runes of a name in a text
	maxList = 5   // names in a text
)

// name shows a name as it is where that is safe, quoted where it is not.
func name(s string) string {
	if utf8.RuneCountInString(s) > maxName {
		s = string([]rune(s)[:maxName]) + "…"
	}
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != ' ' && r != utf8.RuneError }
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// sentence is a text of another package, made safe in the same way, without its
// full stop.
func sentence(s string) string {
	const enough = 600
	if utf8.RuneCountInString(s) > enough {
		s = string([]rune(s)[:enough]) + "…"
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	return strings.TrimSuffix(s, ".")
}

// short is the beginning of an id that nobody reads to its end.
func short(id string) string {
	const enough = 12
	if utf8.RuneCountInString(id) > enough {
		id = string([]rune(id)[:enough-1]) + "…"
	}
	return name(id)
}

// clock is a time as a text shows it.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// whole is a commit's hash for a command; what a claim says instead is a name.
func whole(commit string) string {
	if len(commit) > 64 || strings.Trim(commit, "0123456789abcdef") != "" {
		return argument(commit)
	}
	return commit
}

// date is when a command has to begin to look, to see a time.
func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// span is a duration as people say it: its two greatest units.
func span(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d >= 2*day:
		return many(uint64(d/day), "day")
	case d >= 2*time.Hour:
		return halves(d, time.Hour, "hour", time.Minute, "minute")
	case d >= 2*time.Minute:
		return halves(d, time.Minute, "minute", time.Second, "second")
	}
	return many(uint64(max(d, 0)/time.Second), "second")
}

func halves(d, unit time.Duration, unitName string, part time.Duration, partName string) string {
	text := many(uint64(d/unit), unitName)
	if rest := uint64(d % unit / part); rest > 0 {
		text += " " + many(rest, partName)
	}
	return text
}

// many is "1 request", "2 requests".
func many(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// list joins names, the first few of many.
func list(names []string) string {
	more := ""
	if len(names) > maxList {
		names, more = names[:maxList], fmt.Sprintf(" and %d more", len(names)-maxList)
	}
	return strings.Join(names, ", ") + more
}

// networks names networks, each as its prefix.
func networks(of []netip.Prefix) string {
	if len(of) == 0 {
		return "an unknown network"
	}
	names := make([]string, len(of))
	for i, network := range of {
		names[i] = unmapped(network).String()
	}
	slices.Sort(names)
	return list(names)
}

// doing is how much was asked for, from where and when, and whether it was let
// through: "12 requests from 10.2.3.0/24, from 2026-… to 2026-…, all denied".
func (c *found) doing() string {
	text := fmt.Sprintf("%s from %s, %s", many(c.Requests, "request"), networks(c.networks), c.when())
	if !c.allowed {
		text += ", none of them allowed"
	}
	return text
}

func (c *found) when() string {
	if c.Last.Sub(c.First) < time.Second {
		return "at " + clock(c.First)
	}
	return "from " + clock(c.First) + " to " + clock(c.Last)
}

// places names the methods and endpoints of the case.
func (c *found) places() string {
	distinct := map[string]bool{}
	for _, u := range c.uses {
		distinct[name(u.Method)+" "+name(u.Endpoint)] = true
	}
	return list(slices.Sorted(maps.Keys(distinct)))
}

// who names the identity that the newest use's token speaks for.
func (c *found) who() string {
	if c.newest.Subject == "" {
		return "Somebody without a verified identity"
	}
	if c.newest.Provider == "" {
		return name(c.newest.Subject)
	}
	return name(c.newest.Subject) + " (" + name(c.newest.Provider) + ")"
}

// String is the run as a text shows it.
func (r RunID) String() string {
	if r.Project == "" {
		return name(r.ID)
	}
	return name(r.Project) + "/" + name(r.ID)
}

// lower is the next lower severity.
func (s Severity) lower() Severity { return max(s-1, Low) }

// higher is the next higher severity.
func (s Severity) higher() Severity { return min(s+1, Critical) }

// argument is a value in a command that a person is told to run: in a shell's quotes
// where it is more than a plain word. A branch may be called $(reboot), and the
// subjects of some tokens name the branch.
func argument(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if s != "" && !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	if utf8.RuneCountInString(s) > maxName {
		s = string([]rune(s)[:maxName]) + "*"
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '*' // a command cannot hold it; the flag takes it for anything
		}
		return r
	}, s)
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
