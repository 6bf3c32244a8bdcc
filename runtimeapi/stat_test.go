package runtimeapi

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	statHeader = "# pxname,svname,scur,smax,stot,bin,bout,dreq,dresp,ereq,status,lastchg,type,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,req_rate,req_tot,last_chk,\n"
	stat26     = statHeader + "www,FRONTEND,1,2,3,54,49,7,8,9,OPEN,,0,0,1,2,3,4,5,6,16,,\n" +
		"app,one,0,0,0,0,0,,0,,DOWN,65,2,0,0,0,0,0,0,,,\"Layer4 \"\"refused\"\",\nagain\",\n"
)

// TestParseStats: typed, with quoted fields, and cut anywhere it is an error or has
// fewer lines.
func TestParseStats(t *testing.T) {
	stats, err := parseStats(stat26)
	if err != nil || len(stats) != 2 {
		t.Fatal(stats, err)
	}
	fe := stats[0]
	fe.Fields = nil
	if want := (Stat{Proxy: "www", Service: "FRONTEND", Kind: StatFrontend, Status: "OPEN", SessionsCurrent: 1, SessionsMax: 2, SessionsTotal: 3, Requests: 16, RequestRate: 6,
		BytesIn: 54, BytesOut: 49, DeniedRequests: 7, DeniedResponses: 8, BadRequests: 9, Responses: [6]uint64{5, 0, 1, 2, 3, 4}}); !reflect.DeepEqual(fe, want) {
		t.Errorf("have %+v\nwant %+v", fe, want)
	}
	if s := stats[1]; s.Kind != StatServer || s.LastChange != 65*time.Second || s.Fields["last_chk"] != "Layer4 \"refused\",\nagain" || s.Requests != 0 {
		t.Errorf("%+v", s)
	}
	for i := range len(stat26) {
		if cut, err := parseStats(stat26[:i]); err == nil && len(cut) > 1 && i < len(stat26)-2 {
			t.Errorf("cut at %d: %+v", i, cut)
		}
	}
	for bad, want := range map[string]string{
		"":                    "#",
		"# a,b,\n1,2\n":       "wrong number of fields",
		"# pxname,\nwww,\n":   "no field type",
		statHeader + "www,\n": "wrong number of fields",
		strings.Replace(stat26, "FRONTEND,1", "FRONTEND,x", 1):      "field scur",
		strings.Replace(stat26, "OPEN,,0", "OPEN,,4", 1):            "type 4",
		strings.Replace(stat26, "www,FRONTEND", ",FRONTEND", 1):     `proxy ""`,
		strings.Replace(stat26, "FRONTEND,1", "FRONTEND,\"1\"x", 1): "extraneous",
	} {
		if s, err := parseStats(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %+v, %v; want %q", bad, s, err, want)
		}
	}
}

const servers26 = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_fqdn srv_port\n" +
	"3 app 1 one 127.0.0.1 2 0 7 8 41 - 80\n# a comment\n3 app 2 two /run/x - 1 1 1 41 app.example 0\n"

func TestParseServers(t *testing.T) {
	good := strings.Replace(servers26, "/run/x - 1", "/run/x 0 1", 1)
	servers, err := parseServers(good)
	if err != nil || len(servers) != 2 {
		t.Fatal(servers, err)
	}
	one := servers[0]
	one.Fields = nil
	if want := (Server{Backend: "app", Name: "one", BackendID: 3, ID: 1, Address: "127.0.0.1", Port: 80, FQDN: "-", State: 2, Weight: 7, InitialWeight: 8, LastChange: 41 * time.Second}); !reflect.DeepEqual(one, want) {
		t.Errorf("have %+v\nwant %+v", one, want)
	}
	for bad, want := range map[string]string{"": "number 1", "2\n# a\n": "number 1", servers26: "srv_op_state", "1\n# a b\n1\n": "1 fields"} {
		if s, err := parseServers(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %+v, %v; want %q", bad, s, err, want)
		}
	}
}

const errors26 = "Total events captured on [23/Nov/2026:19:33:05.949] : 8\n \n" +
	"[23/Nov/2026:19:33:05.942] frontend www (#2): invalid request\n  backend <NONE> (#-1), server <NONE> (#-1), event #6, src ::1:4711\n" +
	"  buffer starts at 0 (including 0 out), 16352 free,\n  len 32, wraps at 16336, error at position 6\n  H1 connection flags 0x00000100, H1 stream flags 0x00000810\n  \n" +
	"  00000  GET / secret\\x01 HTTP/1.1\\r\\n\n  00021  [x] \\n[\n  00030  \\r\\n\n \n" +
	"[01/Feb/2026:01:02:03.004] backend app (#3): invalid response\n  frontend www (#2), server one (#1), event #7, src unix:0\n" +
	"  buffer starts at 0 (including 0 out), 16352 free,\n  len 9, wraps at 16336, error at position 0\n  00000  x\n"

// TestParseErrors: all but the bytes that a client sent.
func TestParseErrors(t *testing.T) {
	have, total, err := parseErrors(errors26, time.UTC)
	want := []CapturedError{
		{Time: time.Date(2026, 11, 23, 19, 33, 5, 942e6, time.UTC), Proxy: "www", Event: 6, Source: netip.MustParseAddrPort("[::1]:4711"), Length: 32, Position: 6},
		{Time: time.Date(2026, 2, 1, 1, 2, 3, 4e6, time.UTC), Response: true, Proxy: "app", Other: "www", Server: "one", Event: 7, Length: 9},
	}
	if err != nil || total != 8 || !reflect.DeepEqual(have, want) {
		t.Errorf("%d, %v\nhave %+v\nwant %+v", total, err, have, want)
	}
	for i := range len(errors26) {
		if _, _, err := parseErrors(errors26[:i], time.UTC); err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("cut at %d, the error tells: %v", i, err)
		}
	}
	if none, total, err := parseErrors("Total events captured on [x] : 0\n", time.UTC); none != nil || total != 0 || err != nil {
		t.Errorf("%v, %d, %v", none, total, err)
	}
	c, e := New(fakeSocket(t, says(strings.Replace(errors26, "position", "place", 1)+"\n")), Options{})
	if e != nil {
		t.Fatal(e)
	}
	if _, _, err := c.CapturedErrors(t.Context()); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// TestStatReal: the real HAProxy's forms.
func TestStatReal(t *testing.T) {
	dir, c, send := startTracking(t)
	for range 5 {
		send("k")
	}
	conn, err := net.Dial("unix", filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /\x01secret HTTP/1.1\r\nhost: a\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	kinds, www := map[StatKind]int{}, Stat{}
	// HAProxy counts an answer when it is done with it, which is after its client is.
	for end := time.Now().Add(5 * time.Second); www.Responses[2] < 5 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stats, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		clear(kinds)
		for _, s := range stats {
			kinds[s.Kind]++
			if s.Kind == StatFrontend {
				www = s
			}
		}
	}
	if www.Proxy != "www" || www.Requests < 5 || www.Responses[2] != 5 || www.BadRequests != 1 || www.BytesIn == 0 || www.Status != "OPEN" {
		t.Errorf("%+v", www)
	}
	if kinds[StatFrontend] != 1 || kinds[StatServer] != 2 || kinds[StatBackend] < 5 {
		t.Errorf("%v", kinds)
	}
	captured, total, err := c.CapturedErrors(t.Context())
	if err != nil || total != 1 || len(captured) != 1 || captured[0].Proxy != "www" || captured[0].Response || captured[0].Position != 5 || time.Since(captured[0].Time).Abs() > time.Minute {
		t.Errorf("%+v, %d, %v", captured, total, err)
	}
	servers, err := c.ServersState(t.Context(), "app")
	if err != nil || len(servers) != 2 || servers[0].Weight != 7 || servers[0].Port != 1 || servers[1].Admin&1 == 0 {
		t.Errorf("%+v, %v", servers, err)
	}
	if all, err := c.ServersState(t.Context(), ""); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if none, err := c.ServersState(t.Context(), "nonesuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%+v, %v", none, err)
	}
}
