package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Severity grades an alert. The numbers are OCSF's severity_id, as those of
// findings are.
type Severity uint8

// The severities.
const (
	Info     Severity = 1
	Low      Severity = 2
	Medium   Severity = 3
	High     Severity = 4
	Critical Severity = 5
)

// severities are the words, by number.
var severities = [...]string{Info: "info", Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// String is "info", "low", "medium", "high" or "critical".
func (s Severity) String() string {
	if s < Info || s > Critical {
		return "Severity(" + strconv.Itoa(int(s)) + ")"
	}
	return severities[s]
}

// ParseSeverity reads what String writes.
func ParseSeverity(word string) (Severity, error) {
	if i := slices.Index(severities[Info:], word); i >= 0 {
		return Info + Severity(i), nil
	}
	return 0, fmt.Errorf("severity %q: one of %s", word, strings.Join(severities[Info:], ", "))
}

// MarshalText is String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSeverity.
func (s *Severity) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSeverity(string(text))
	return err
}

// Alert is something that a person should know of now. Texts may hold whatever a
// client has sent: Fire makes them printable and cuts them to the bounds below.
type Alert struct {
	// Key makes it the same alert: Key makes one. 1 to 200 bytes, printable.
	Key string `json:"key"`
	// Kind is what happens, as "burst": letters, digits and "_".
	Kind     string   `json:"kind"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`          // one line, 256 bytes; needed
	Text     string   `json:"text,omitempty"` // what was seen, with names and numbers; 4,000 bytes

	Identity string `json:"identity,omitempty"`
	Run      string `json:"run,omitempty"`
	Commit   string `json:"commit,omitempty"`

	// Labels route the alert. With Kind and Identity they stay as the first Fire of
	// an episode gave them: receivers take an alert with other labels for another
	// one. Counts and scores belong in Numbers. At most 20.
	Labels map[string]string `json:"labels,omitempty"`
	// Numbers are the measured ones: "requests_10s": 412. At most 30; those that are
	// not finite are left out.
	Numbers  map[string]float64 `json:"numbers,omitempty"`
	Evidence []Evidence         `json:"evidence,omitempty"` // the first 20 count
	Links    []Link             `json:"links,omitempty"`    // the first 5 count
	Command  string             `json:"command,omitempty"`  // that shows more, for a shell

	StartsAt time.Time `json:"starts_at"`        // zero: the time of Fire
	EndsAt   time.Time `json:"ends_at,omitzero"` // set by Resolve
}

// Evidence is one row of what the alert is about.
type Evidence struct {
	Time     time.Time `json:"time,omitzero"`
	Method   string    `json:"method,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
	Decision string    `json:"decision,omitempty"` // allow or deny
	Network  string    `json:"network,omitempty"`
	Run      string    `json:"run,omitempty"`
	Requests uint64    `json:"requests,omitempty"`
}

// String is the row as a line of text.
func (e Evidence) String() string {
	var parts []string
	if !e.Time.IsZero() {
		parts = append(parts, e.Time.UTC().Format("2006-01-02 15:04:05Z"))
	}
	for _, part := range []string{e.Method, e.Endpoint, e.Decision, e.Network} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Requests > 0 {
		parts = append(parts, fmt.Sprintf("%d requests", e.Requests))
	}
	if e.Run != "" {
		parts = append(parts, "run "+e.Run)
	}
	return strings.Join(parts, " ")
}

// Link is a page that shows more.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"` // http or https
}

// Key hashes what makes an alert the same: 32 hex digits. Lengths are part of it,
// so that no part can be moved into its neighbour.
func Key(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// The bounds of an alert: under 64 KiB as JSON, so that the outbox's are known.
const (
	maxKey      = 200
	maxKind     = 64
	maxTitle    = 256
	maxText     = 4000
	maxName     = 400 // identity, run, commit, endpoint, command, link's text
	maxURL      = 2000
	maxValue    = 256 // a label's
	maxLabels   = 20
	maxNumbers  = 30
	maxEvidence = 20
	maxLinks    = 5
)

// normal is the alert as it is kept and sent, or what is wrong with it. It shares
// nothing with a.
func (a Alert) normal(now time.Time) (Alert, error) {
	if a.Key == "" || len(a.Key) > maxKey || clip(a.Key, maxKey) != a.Key {
		return a, fmt.Errorf("alert's key %.40q: 1 to %d printable bytes are needed; alert.Key makes one", a.Key, maxKey)
	}
	if !isName(a.Kind) || len(a.Kind) > maxKind {
		return a, fmt.Errorf("alert %s: kind %.40q: letters, digits and _ are needed, at most %d", a.Key, a.Kind, maxKind)
	}
	if a.Severity < Info || a.Severity > Critical {
		return a, fmt.Errorf("alert %s: severity %d: 1 (info) to 5 (critical) are known", a.Key, a.Severity)
	}
	if a.Title = strings.TrimSpace(clip(a.Title, maxTitle)); a.Title == "" {
		return a, fmt.Errorf("alert %s: it has no title: say in a few words what happens", a.Key)
	}
	a.Text = clipLines(a.Text, maxText)
	a.Identity, a.Run, a.Commit = clip(a.Identity, maxName), clip(a.Run, maxName), clip(a.Commit, maxName)
	a.Command = clip(a.Command, maxName)
	var err error
	if a.Labels, err = normalLabels(a.Labels); err != nil {
		return a, fmt.Errorf("alert %s: %w", a.Key, err)
	}
	if a.Links, err = normalLinks(a.Links); err != nil {
		return a, fmt.Errorf("alert %s: %w", a.Key, err)
	}
	a.Numbers = normalNumbers(a.Numbers)
	a.Evidence = slices.Clone(a.Evidence[:min(len(a.Evidence), maxEvidence)])
	for i := range a.Evidence {
		e := &a.Evidence[i]
		e.Time = inYears(e.Time)
		e.Method, e.Decision, e.Network = clip(e.Method, maxKind), clip(e.Decision, maxKind), clip(e.Network, maxKind)
		e.Endpoint, e.Run = clip(e.Endpoint, maxName), clip(e.Run, maxName)
	}
	if a.StartsAt = inYears(a.StartsAt); a.StartsAt.IsZero() {
		a.StartsAt = now.UTC().Round(0)
	}
	a.EndsAt = time.Time{}
	return a, nil
}

// inYears is a time that JSON can hold (RFC 3339 has years of four digits), or none.
func inYears(t time.Time) time.Time {
	if t.IsZero() || t.UTC().Year() < 1 || t.UTC().Year() > 9998 {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

func normalLabels(labels map[string]string) (map[string]string, error) {
	if len(labels) > maxLabels {
		return nil, fmt.Errorf("%d labels: at most %d", len(labels), maxLabels)
	}
	var normal map[string]string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !isName(name) || len(name) > maxKind || name[0] >= '0' && name[0] <= '9' {
			return nil, fmt.Errorf("label %.40q: a name has letters, digits and _, and no digit first", name)
		}
		if value := clip(labels[name], maxValue); value != "" { // an empty label is no label
			if normal == nil {
				normal = make(map[string]string)
			}
			normal[name] = value
		}
	}
	return normal, nil
}

func normalLinks(links []Link) ([]Link, error) {
	links = slices.Clone(links[:min(len(links), maxLinks)])
	for i := range links {
		u, err := url.Parse(links[i].URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(links[i].URL) > maxURL || clip(links[i].URL, maxURL) != links[i].URL {
			return nil, fmt.Errorf("link %d: an absolute http or https URL of at most %d bytes is needed", i+1, maxURL)
		}
		links[i].Text = clip(links[i].Text, maxName)
	}
	return links, nil
}

// normalNumbers are those that JSON can hold, the first by name.
func normalNumbers(numbers map[string]float64) map[string]float64 {
	var normal map[string]float64
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		value := numbers[name]
		if math.IsNaN(value) || math.IsInf(value, 0) || len(normal) == maxNumbers {
			continue
		}
		if normal == nil {
			normal = make(map[string]float64)
		}
		normal[clip(name, maxKind)] = value
	}
	return normal
}

// isName reports whether a text is of letters, digits and "_" alone, of ASCII.
func isName(text string) bool {
	for _, r := range text {
		if r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return text != ""
}

// clip makes one printable line of a text, of at most limit bytes; what is cut ends
// in "…". Control characters become blanks: a client chooses them, and a terminal
// or a chat would obey them. So would they obey the invisible ones that turn the
// direction of writing.
func clip(text string, limit int) string { return printable(text, limit, false) }

// clipLines is clip for a text of several lines.
func clipLines(text string, limit int) string { return printable(text, limit, true) }

func printable(text string, limit int, lines bool) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' && lines || unicode.IsPrint(r) {
			return r
		}
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return Cut(text, limit)
}

// Cut shortens a text to so many bytes, between two characters, and ends it in "…"
// then.
func Cut(text string, limit int) string {
	const mark = "…"
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(mark), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	if limit < len(mark) {
		return text[:end]
	}
	return text[:end] + mark
}

// ErrNotFiring: an alert that is to be updated or resolved is not firing.
var ErrNotFiring = errors.New("no such alert is firing")
