package alert

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxSilence is how long a silence may last: one that was forgotten must end.
const maxSilence = 90 * 24 * time.Hour

// Silence keeps alerts quiet for a time: load that was announced, or what a person
// knows of. An alert that fires meanwhile is kept, and told if it is still firing
// when the silence ends. One that was told before is still resolved.
//
// Kind, Identity and the values of Labels must all match; "" matches anything, and
// "*" any part of a text.
type Silence struct {
	ID       string            `json:"id"` // given by Manager.Silence
	Kind     string            `json:"kind,omitempty"`
	Identity string            `json:"identity,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	From     time.Time         `json:"from"`  // zero: now
	Until    time.Time         `json:"until"` // needed, at most 90 days after From
	Owner    string            `json:"owner"` // who wants it; needed, as Reason is: an auditor asks
	Reason   string            `json:"reason"`
}

// check says what is wrong with a silence.
func (s Silence) check(now time.Time) error {
	switch {
	case s.Kind == "" && s.Identity == "" && len(s.Labels) == 0:
		return errors.New(`silence: it would match every alert; say identity "*" if that is meant`)
	case s.Until.IsZero():
		return errors.New("silence: it needs an end (until)")
	case !s.Until.After(s.From) || !s.Until.After(now):
		return fmt.Errorf("silence: it ends at %s, before it begins or before now", s.Until.Format(time.RFC3339))
	case s.Until.Sub(s.From) > maxSilence:
		return fmt.Errorf("silence: it lasts %s; at most 90 days, to be renewed by someone who still knows why", s.Until.Sub(s.From))
	case strings.TrimSpace(s.Owner) == "" || strings.TrimSpace(s.Reason) == "":
		return errors.New("silence: it needs an owner and a reason")
	case len(s.Kind)+len(s.Identity)+len(s.Owner)+len(s.Reason) > maxText || len(s.Labels) > maxLabels:
		return errors.New("silence: too long")
	}
	return nil
}

// covers reports whether the alert is quiet now.
func (s Silence) covers(a *Alert, now time.Time) bool {
	if now.Before(s.From) || !now.Before(s.Until) || !matches(s.Kind, a.Kind) || !matches(s.Identity, a.Identity) {
		return false
	}
	for name, pattern := range s.Labels {
		if !matches(pattern, a.Labels[name]) {
			return false
		}
	}
	return true
}

// matches compares a text with a pattern in which "*" is any text.
func matches(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	first, rest, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for {
		var part string
		part, rest, starred = strings.Cut(rest, "*")
		if !starred {
			return strings.HasSuffix(text, part)
		}
		at := strings.Index(text, part) // the earliest leaves most for what follows
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
}
