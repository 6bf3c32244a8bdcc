package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/haptrail/haptrail/schema"
)

// printSentences prints one audit sentence a request, newest first.
func printSentences(ctx context.Context, out io.Writer, store *schema.Store, q schema.TrailQuery, empty string) error {
	w := bufio.NewWriter(out)
	n := 0
	err := store.Trail(ctx, q, func(row *schema.TrailRow) error {
		n++
		_, err := fmt.Fprintln(w, sentence(row))
		return err
	})
	if err == nil && n == 0 {
		fmt.Fprintln(w, empty)
	}
	return errors.Join(err, w.Flush())
}

// told is a name in a sentence: in quotes where it is more than one plain word. Some
// of these are written by whoever sent the request or made the commit, and could
// otherwise go on with a decision or a grade of their own.
func told(name string) string {
	odd := func(c rune) bool {
		return !unicode.IsGraphic(c) || unicode.IsSpace(c) || strings.ContainsRune("\"`;,()\ufffd", c)
	}
	if strings.ContainsFunc(name, odd) {
		return strconv.QuoteToGraphic(name)
	}
	return name
}

// sentence says in words what a row of the trail does: who did what, when, on
// whose commit, what the gate decided, and how sure the run is and why. Whoever
// pastes it into a report needs nothing beside it.
func sentence(r *schema.TrailRow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "On %s, %s asked for %s", r.Time.UTC().Format("2006-01-02 at 15:04:05.000 UTC"), subjectOf(r), target(r))
	fmt.Fprintf(&b, " from %s; %s", r.ClientIP, decided(r))
	fmt.Fprintf(&b, " Attribution: %s", r.Grade)
	if r.Why != "" {
		b.WriteString(": " + strings.TrimSuffix(r.Why, "."))
	}
	b.WriteString(".")
	if r.Contradiction != "" {
		fmt.Fprintf(&b, " Contradicted: %s.", strings.TrimSuffix(r.Contradiction, "."))
	}
	if r.Was != "" {
		fmt.Fprintf(&b, " Until %s it was %s (revision %d).", r.WasUntil.UTC().Format(time.DateTime+" UTC"), r.Was, r.Revision)
	}
	return oneLine(b.String())
}

// subjectOf names the run behind a request as far as it is known, and the identity.
func subjectOf(r *schema.TrailRow) string {
	if r.Identity == "" {
		return "somebody without a valid token"
	}
	who := told(r.Identity)
	if r.Provider != "" {
		who += " (" + told(r.Provider) + ")"
	}
	if r.Run == "" {
		return who
	}
	text := "run " + told(r.Run)
	if r.RunAttempt > 1 {
		text += fmt.Sprintf(", attempt %d", r.RunAttempt)
	}
	for _, part := range []struct{ before, value string }{{" of ", r.Project}, {", job ", r.Job}, {", on agent ", r.Runner}} {
		if part.value != "" {
			text += part.before + told(part.value)
		}
	}
	if r.Commit != "" {
		text += ", commit " + told(r.Commit)
		if r.Author != "" {
			text += " by " + told(r.Author)
		}
	}
	if r.Approver != "" {
		text += ", approved by " + told(r.Approver)
	}
	return text + ", as " + who + ","
}

func target(r *schema.TrailRow) string {
	text := strings.TrimSpace(told(r.Method) + " " + told(r.Path))
	if text == "" {
		text = "a connection"
	}
	if r.Host != "" {
		text += " of " + told(r.Host)
	}
	return text
}

// decided is what the gate did, and what came of it.
func decided(r *schema.TrailRow) string {
	proxy := "HAProxy"
	if r.Proxy != "" {
		proxy += " " + told(r.Proxy)
	}
	var text string
	switch r.Decision {
	case "allow":
		text = proxy + " allowed it"
	case "deny":
		text = proxy + " denied it"
	default:
		text = proxy + " did not say whether it was allowed"
	}
	var details []string
	for _, part := range []struct{ name, value string }{{"reason", r.Reason}, {"role", r.Role}, {"backend", r.Backend}} {
		if part.value != "" {
			details = append(details, part.name+" "+told(part.value))
		}
	}
	if r.Status > 0 {
		details = append(details, fmt.Sprintf("status %d", r.Status))
	}
	if len(details) > 0 {
		text += " (" + strings.Join(details, ", ") + ")"
	}
	return text + "."
}

// oneLine keeps what an attacker wrote from ending the sentence early, or from
// reaching a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
