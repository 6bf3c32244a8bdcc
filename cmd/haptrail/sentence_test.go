package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
)

func TestSentence(t *testing.T) {
	row := func(change func(*schema.TrailRow)) *schema.TrailRow {
		r := &schema.TrailRow{
			Time: time.Date(2026, 11, 23, 10, 0, 0, 5e6, time.UTC), Identity: "shop-sa", Provider: "space", Project: "shop", Job: "Deploy", Run: "r1",
			RunAttempt: 2, Runner: "agent-7", Commit: "c0ffee01", Author: "Ann Example", Method: "POST", Path: "/deployments/7", Host: "shop.example.test",
			ClientIP: netip.MustParseAddr("10.1.2.3"), Status: 201, Proxy: "edge1", Decision: "allow", Reason: "ok", Role: "publisher", Backend: "app",
			Grade: "inferred", Why: "the only known run. ", Revision: 1,
		}
		change(r)
		return r
	}
	const rest = "On 2026-11-23 at 10:00:00.005 UTC, "
	for _, c := range []struct {
		name   string
		change func(*schema.TrailRow)
		want   string
	}{
		{"in full", func(r *schema.TrailRow) { r.Why = "the only known run." }, rest +
			`run r1, attempt 2 of shop, job Deploy, on agent agent-7, commit c0ffee01 by "Ann Example", as shop-sa (space), ` +
			"asked for POST /deployments/7 of shop.example.test from 10.1.2.3; HAProxy edge1 allowed it (reason ok, role publisher, backend app, status 201). " +
			"Attribution: inferred: the only known run."},
		{"nobody", func(r *schema.TrailRow) {
			*r = schema.TrailRow{Time: r.Time, ClientIP: r.ClientIP, Method: "GET", Path: "/", Decision: "deny", Grade: "none", Why: "no verified identity"}
		}, rest + "somebody without a valid token asked for GET / from 10.1.2.3; HAProxy denied it. Attribution: none: no verified identity."},
		{"another verdict before", func(r *schema.TrailRow) {
			r.Run, r.Contradiction, r.Was, r.WasUntil, r.Revision = "", "the header lies", "none", r.Time, 2
		}, "Contradicted: the header lies. Until 2026-11-23 10:00:00 UTC it was none (revision 2)."},
	} {
		if have := sentence(row(c.change)); !strings.HasSuffix(have, c.want) {
			t.Errorf("%s:\nhave %s\nwant %s", c.name, have, c.want)
		}
	}
}

// Whatever a client, a commit or a token says of itself stays within its quotes: it
// is no decision, grade or line of the report's.
func TestSentenceCannotBeForged(t *testing.T) {
	for _, lie := range []string{
		"x; HAProxy edge1 denied it. Attribution: proven: forged", `x", approved by root, "`, "x\nAttribution: proven", "x\x1b[2Jforged", "\u202eforged", "Eve, approved by root",
		"x (space), approved by root", "\xff\xfeforged", "forged by\u00a0root",
	} {
		row := schema.TrailRow{
			Identity: lie, Provider: lie, Run: lie, Project: lie, Job: lie, Runner: lie, Commit: lie, Author: lie, Approver: lie,
			Method: lie, Path: lie, Host: lie, Proxy: lie, Reason: lie, Role: lie, Backend: lie, Grade: "none",
		}
		text, outside, quoted := sentence(&row), "", false
		for i := 0; i < len(text); i++ {
			switch {
			case quoted && text[i] == '\\':
				i++
			case text[i] == '"':
				quoted = !quoted
			case !quoted:
				outside += text[i : i+1]
			}
		}
		for _, word := range []string{"forged", "root", "proven", "denied"} {
			if strings.Contains(outside, word) {
				t.Errorf("%q stands outside of the quotes: %s", word, text)
			}
		}
		if strings.ContainsAny(text, "\n\x1b\u202e") || quoted {
			t.Errorf("%q", text)
		}
	}
}
