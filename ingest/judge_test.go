package ingest

import (
	"testing"
	"time"

	lf "github.com/haptrail/haptrail/ingest/logformat"
)

// TestJudge: the gate's own word first, else what HAProxy's numbers show; a word
// that the line's end cut is none.
func TestJudge(t *testing.T) {
	httplog, _ := lf.Builtin("httplog")
	format, err := lf.Compile(httplog+` %{+Q}[var(txn.reason)] %{+Q}[var(txn.decision)]`, lf.Options{Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	const head = `10.0.0.1:5000 [23/Nov/2026:10:00:00.000] fe `
	for _, c := range []struct{ name, line, decision, reason string }{
		{"said", head + `fe/<NOSRV> 0/-1/-1/-1/0 403 9 - - PR-- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "no_role" "DENY"`, "deny", "no_role"},
		{"said, though a server answered 403", head + `be/s 0/0/0/1/1 403 9 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "ok" "allow"`, "allow", "ok"},
		{"a server was asked", head + `be/s 0/0/0/1/1 403 9 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "" ""`, "allow", ""},
		{"the proxy refused", head + `fe/<NOSRV> 0/-1/-1/-1/0 429 9 - - PR-- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "" ""`, "deny", "denied_by_proxy"},
		{"malformed", head + `fe/<NOSRV> -1/-1/-1/-1/0 400 9 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>" "" ""`, "deny", "bad_request"},
		{"no server was there", head + `be/<NOSRV> 0/-1/-1/-1/0 503 9 - - SC-- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "" ""`, "", ""},
		{"cut in the word", head + `fe/<NOSRV> 0/-1/-1/-1/0 403 9 - - PR-- 1/1/0/0/0 0/0 "GET / HTTP/1.1" "no_role" "al`, "deny", "no_role"},
	} {
		var r lf.Record
		if fault := format.Parse([]byte(c.line), &r); fault.Reason != lf.OK {
			t.Fatalf("%s: %s", c.name, format.Describe(fault))
		}
		decision, reason := judge(&r)
		if string(decision) != c.decision || string(reason) != c.reason {
			t.Errorf("%s: have %q, %q; want %q, %q", c.name, decision, reason, c.decision, c.reason)
		}
	}
}
