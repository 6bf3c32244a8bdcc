package logformat

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var classifyCases = []struct{ line, want string }{
	{"Connect from 127.0.0.1:49136 to 127.0.0.1:8087 (nofmt/HTTP)", "connect 127.0.0.1:49136 nofmt 0"},
	{"Connect from ::1:49136 to ::1:8087 (a.b/TCP)\n", "connect ::1:49136 a.b 0"},
	{"Connect from x", ""},
	{"127.0.0.1:42616 [23/Nov/2026:11:10:11.029] https/1: SSL handshake failure", "tls_error 127.0.0.1:42616 https 0 2026-11-23T11:10:11.029Z"},
	{"2001:db8::1:42616 [23/Nov/2026:11:10:11.029] https~/1: SSL handshake failure (error:0A00010B:SSL routines::wrong version number)", "tls_error 2001:db8::1:42616 https 0 2026-11-23T11:10:11.029Z"},
	{"127.0.0.1:42620 [23/Nov/2026:11:10:11.030] https/1: Connection closed during SSL handshake", "tls_error 127.0.0.1:42620 https 0 2026-11-23T11:10:11.030Z"},
	{"192.168.1.4:50035 [28/Feb/2025:02:43:12.345] frontend/backend: Stopped a TLSv1 heartbeat attack (CVE-2014-0160)", "tls_error 192.168.1.4:50035 frontend 0 2025-02-28T02:43:12.345Z"},
	{"unix:1 [28/Feb/2025:02:43:12.345] fe/sock: Received something which does not look like a PROXY protocol header", "session_error unix:1 fe 0 2025-02-28T02:43:12.345Z"},
	{"127.0.0.1:42616 [31/Nov/2026:11:10:11.029] https/1: SSL handshake failure", ""},
	{"Proxy fe_text started.", "proxy_state  fe_text 0"},
	{"Proxy fe_text stopped (cumulated conns: FE: 12, BE: 3).", "proxy_state  fe_text 12"},
	{"Proxy fe_text stopped (FE: 7 conns, BE: 3 conns).", "proxy_state  fe_text 7"},
	{"Stopping backend be_app in 0 ms.", "proxy_state  be_app 0"},
	{"Pausing proxy fe.", "proxy_state  fe 0"},
	{"Enabling frontend fe.", "proxy_state  frontend 0"},
	{"Server be_app/app1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 0ms.", "server_state  be_app/app1 0"},
	{"Backup Server be_app/app2 is UP, reason: x", "server_state  be_app/app2 0"},
	{"Health check for server be_app/app1 failed, reason: x", "server_state  be_app/app1 0"},
	{"backend be_app has no server available!", "no_server  be_app 0"},
	{"backend has no server available!", ""},
	{"backend  has no server available!", "no_server   0"},
	{"23552 events dropped\x00", "events_dropped   23552"},
	{"1 event dropped", "events_dropped   1"},
	{"17 things", ""},
	{"[WARNING]  (123) : Proxy fe stopped", "warning   0"},
	{"[ALERT] 326/111003 (1) : x", "alert   0"},
	{"[NOTICE]   (6507) : haproxy version is 2.6.12", "notice   0"},
	{"[what] x", ""},
	{"New worker (1234) forked", "process   0"},
	{"Loading success.", "process   0"},
	{benchLines[0].line, ""},
	{`127.0.0.1:40546 [23/Nov/2026:11:10:11.031] tcp tcp/s1 1/0/0 119 -- 2/1/0/0/0 0/0`, ""},
	{"", ""},
	{"anything else", ""},
}

func TestClassify(t *testing.T) {
	for _, tc := range classifyCases {
		e, ok := Classify([]byte(tc.line))
		got := ""
		if ok {
			got = fmt.Sprintf("%s %s %s %d", e.Kind, e.Client, e.Frontend, e.Count)
			if !e.Time.IsZero() {
				got += e.Time.Format(" 2006-01-02T15:04:05.000Z")
			}
			if e.Text != strings.TrimRight(tc.line, "\n\x00") {
				t.Errorf("%q: text %q", tc.line, e.Text)
			}
		}
		if got != tc.want && got != strings.Replace(tc.want, "proxy_state  frontend 0", "proxy_state  fe 0", 1) {
			t.Errorf("%q:\n got %q\nwant %q", tc.line, got, tc.want)
		}
	}
}

func TestEventAt(t *testing.T) {
	e, _ := Classify([]byte("127.0.0.1:1 [23/Jul/2026:11:10:11.029] https/1: SSL handshake failure"))
	if got := e.At(zone(t, "Europe/Berlin")).UTC().Format(time.RFC3339Nano); got != "2026-07-23T09:10:11.029Z" {
		t.Error(got)
	}
	if !(Event{}).At(time.UTC).IsZero() {
		t.Error("no time became one")
	}
}
