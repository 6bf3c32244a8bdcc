package logformat

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The head is httplog's up to the captured headers, with fewer items.
const (
	trapHead = `%ci:%cp [%tr] %ft %ST %sq/%bq `
	lineHead = `10.0.0.1:5 [23/Nov/2026:11:10:03.499] fe~ 200 0/0 `

	certTrap = trapHead + `%hr %hs {%[ssl_c_verify],%{+Q}[ssl_c_s_dn],%{+Q}[ssl_c_i_dn]} %{+Q}r`
	tlsTrap  = trapHead + `%hr %hs {%sslv/%sslc} %{+Q}r`
	listTrap = trapHead + `%{+Q}hrl %{+Q}hsl %{+Q}r`
	ownTrap  = trapHead + `%hr %hs {%[var(txn.who)]} %{+Q}r`
	bothTrap = trapHead + `%{+Q}hr %{+Q}hs "{%sslv}" %{+Q}r`
)

var trapFormats = []string{certTrap, tlsTrap, listTrap, ownTrap, bothTrap}

var trapLines = []string{
	lineHead + `{a|b} {c} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`,
	lineHead + `{a|b} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`,
	lineHead + `{0,"","} {"} "<BADREQ>"`,
	lineHead + `{a|b} {c} {TLSv1.3/TLS_AES_256_GCM_SHA384} "GET /u HTTP/1.1"`,
	lineHead + `{a|b} {TLSv1.3/TLS_AES_256_GCM_SHA384} "GET /u HTTP/1.1"`,
	lineHead + `{-/-} "<BADREQ>"`,
	lineHead + `{-/-`,
	lineHead + `"a" "b c" "" "GET /u HTTP/1.1"`,
	lineHead + strings.Repeat(`"a" `, 40) + `"GET /u`,
	lineHead + `{a|b} {c} {who} "GET /u HTTP/1.1"`,
	lineHead + strings.Repeat(`{a} `, 300) + `"GET /u HTTP/1.1"`,
	lineHead + `"{a|b}" "{c}" "{TLSv1.3}" "GET /u HTTP/1.1"`,
}

func TestTraps(t *testing.T) {
	const head = `client_addr=10.0.0.1; client_port=5; request_time=2026-11-23T11:10:03.499Z; frontend=fe; tls=1; status=200; srv_queue=0; backend_queue=0; `
	const cert, request = `extra:ssl_c_verify=0; extra:ssl_c_s_dn=/CN=x; extra:ssl_c_i_dn=/CN=ca; `, `method=GET; uri=/u; path=/u; http_version=HTTP/1.1`
	const cipher = `tls_version=TLSv1.3; tls_cipher=TLS_AES; `
	names := Options{RequestHeaders: []string{"x", "y"}, ResponseHeaders: []string{"z"}}
	for _, tc := range []struct {
		name, format, line, want string
		opts                     Options
	}{
		{"certificate, two groups", certTrap, `{a|b} {c} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`, `request_headers=a|b; response_headers=c; ` + cert + request, Options{}},
		{"certificate, one group", certTrap, `{a|b} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`, `request_headers=a|b; ` + cert + request, Options{}},
		{"certificate, none", certTrap, `{0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`, cert + request, Options{}},
		{"certificate, none, bad request", certTrap, `{-,"",""} "<BADREQ>"`, ``, Options{}},
		{"certificate, groups like it", certTrap, `{0,#22} {0,#22} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`, `request_headers=0,#22; response_headers=0,#22; ` + cert + request, Options{}},
		{"certificate, empty groups", certTrap, `{|} {} {0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`, `request_headers=|; ` + cert + request, Options{}},
		{"certificate, braces in the name", certTrap, `{a} {0,"/CN={x} {y}","/CN=ca"} "GET /u HTTP/1.1"`,
			`request_headers=a; extra:ssl_c_verify=0; extra:ssl_c_s_dn=/CN={x} {y}; extra:ssl_c_i_dn=/CN=ca; ` + request, Options{}},
		{"tls, two groups", tlsTrap, `{a|b} {c} {TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, `request_headers=a|b; response_headers=c; ` + cipher + request, Options{}},
		{"tls, one group", tlsTrap, `{a/b} {TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, `request_headers=a/b; ` + cipher + request, Options{}},
		{"tls, none", tlsTrap, `{TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, cipher + request, Options{}},
		{"tls, no TLS, nothing", tlsTrap, `{-/-} "<BADREQ>"`, ``, Options{}},
		{"tls, only responses captured", tlsTrap, `{a} {TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, `response_headers=a; ` + cipher + request, Options{ResponseHeaders: []string{"z"}}},
		{"tls, names that are outdated", tlsTrap, `{a} {TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, `request_headers=a; ` + cipher + request, names},
		{"list, all words are the request's", listTrap, `"a" "b c" "" "GET /u HTTP/1.1"`, `request_headers=a|b c|; ` + request, Options{}},
		{"list, names", listTrap, `"a" "b c" "d" "GET /u HTTP/1.1"`, `request_headers=a|b c; response_headers=d; ` + request, names},
		{"list, none", listTrap, `"GET /u HTTP/1.1"`, request, Options{}},
		{"list, none in spite of names", listTrap, `"<BADREQ>"`, ``, names},
		{"own value, one brace", ownTrap, `{w} "GET /u HTTP/1.1"`, `extra:who=w; ` + request, Options{}},
		{"own value, could be groups too", ownTrap, `{a|b} {c} {w} "GET /u HTTP/1.1"`, "ambiguous", Options{}},
		{"own value, names decide", ownTrap, `{a|b} {c} {w} "GET /u HTTP/1.1"`, `request_headers=a|b; response_headers=c; extra:who=w; ` + request, names},
		{"own value, names, bad request", ownTrap, `{-} "<BADREQ>"`, ``, names},
		{"own value, names cannot decide", ownTrap, `{a|b} {c} {w} "<BADREQ>"`, "ambiguous", names},
		{"own value, many braces", ownTrap, strings.Repeat(`{a} `, 300) + `"GET /u HTTP/1.1"`, "ambiguous", Options{}},
		{"quoted, two groups", bothTrap, `"{a|b}" "{c}" "{TLSv1.3}" "GET /u HTTP/1.1"`, `request_headers=a|b; response_headers=c; tls_version=TLSv1.3; ` + request, Options{}},
		{"quoted, none", bothTrap, `"{TLSv1.3}" "GET /u HTTP/1.1"`, `tls_version=TLSv1.3; ` + request, Options{}},
		{"three groups", tlsTrap, `{a} {b} {c} {TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`, "bad_value", Options{}},
		{"text behind", tlsTrap, `{TLSv1.3/TLS_AES} "GET /u HTTP/1.1" x`, "trailing_text", Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, fault := parse(t, tc.format, lineHead+tc.line, tc.opts)
			if fault.Reason != OK {
				if fault.Reason.String() != tc.want {
					t.Errorf("%s\ngot %v, want %s", tc.line, got, tc.want)
				}
				return
			}
			if d := diff(got, pairs(head+tc.want)); d != "" {
				t.Errorf("%s\n%s", tc.line, d)
			}
		})
	}
}

// TestTrapsCut: whatever a cut leaves, no value is of another item, and only
// the one in Cut is not whole.
func TestTrapsCut(t *testing.T) {
	whole := []struct{ format, line string }{
		{certTrap, trapLines[0]}, {certTrap, trapLines[1]}, {certTrap, lineHead + `{0,"/CN=x","/CN=ca"} "GET /u HTTP/1.1"`},
		{tlsTrap, trapLines[3]}, {tlsTrap, trapLines[4]}, {tlsTrap, lineHead + `{TLSv1.3/TLS_AES} "GET /u HTTP/1.1"`},
		{listTrap, trapLines[7]}, {bothTrap, trapLines[11]},
	}
	for _, tc := range whole {
		all, fault := parse(t, tc.format, tc.line, Options{})
		if fault.Reason != OK {
			t.Fatalf("%s: %v", tc.line, all)
		}
		for n := len(lineHead); n < len(tc.line); n++ {
			got, fault := parse(t, tc.format, tc.line[:n], Options{})
			if fault.Reason != OK || got["truncated"] == "" {
				t.Errorf("%s: %v", tc.line[:n], got)
				continue
			}
			for k, v := range got {
				// A text without a field has no place in Cut; path follows from uri.
				open := k == got["truncated"] || strings.HasPrefix(k, "extra:") || k == "path" && got["truncated"] == "uri"
				if k != "truncated" && v != all[k] && (!open || !strings.HasPrefix(all[k], v)) {
					t.Errorf("%s: %s is %q, of the whole line %q", tc.line[:n], k, v, all[k])
				}
			}
		}
	}
	got, _ := parse(t, tlsTrap, lineHead+`{a} {b} {TLSv1.3/TLS_A`, Options{})
	if got["truncated"] != "tls_cipher" || got["tls_cipher"] != "TLS_A" || got["response_headers"] != "b" {
		t.Errorf("a cut that can be in one place only: %v", got)
	}
	got, _ = parse(t, tlsTrap, lineHead+`{a} {TLSv1.3/TLS_A`, Options{})
	if got["truncated"] != "none" || got["request_headers"] != "a" || got["tls_version"] != "" {
		t.Errorf("a cut in one of two places: %v", got)
	}
	if got, fault := parse(t, `%hr %hs {%ci %tr`, `{a} {1.2`, Options{}); fault.Reason != Short {
		t.Errorf("a cut before the client: %v", got)
	}
}

// TestHAProxyTraps: the lines of frontends that capture headers, of requests
// that get an answer and of those that fail before there is a stream.
func TestHAProxyTraps(t *testing.T) {
	const body = `
    bind %s ssl crt CERT
    timeout http-request 300ms
    default_backend NAME
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", "b") }))
	defer server.Close()
	const request, response = "    capture request header Host len 40\n    capture request header User-Agent len 40\n", "    capture response header X-A len 9\n"
	cert := selfSigned(t)
	var bodies []string
	captures := []string{request + response, request, response, ""}
	for _, tail := range []string{`{%[ssl_c_verify],%{+Q}[ssl_c_s_dn],%{+Q}[ssl_c_i_dn]} %{+Q}r`, `{%sslv/%sslc} %{+Q}r`} {
		for _, c := range captures {
			name := fmt.Sprint("be", len(bodies))
			bodies = append(bodies, strings.NewReplacer("CERT", cert, "NAME", name).Replace(body)+c+
				"    log-format '"+strings.ReplaceAll(trapHead+`%hr %hs `+tail, "%", "%%")+" %%[date,ltime(%%Y-%%m-%%dT%%H:%%M:%%S)]'\nbackend "+name+
				"\n    server s "+strings.TrimPrefix(server.URL, "http://"))
		}
	}
	g := startGate(t, bodies...)
	for i := range bodies {
		has := captures[i%len(captures)]
		want := map[string]string{"frontend": fmt.Sprint("fe", i), "status": "200", "method": "GET", "uri": "/a/b?c=%20d", "extra:date_ltime_Y_m_dT_H_M_S": "*"}
		failed := map[string]string{"method": "", "uri": "", "request_headers": "", "response_headers": ""}
		if i < len(captures) {
			want["extra:ssl_c_verify"] = "0"
		} else {
			want["tls_version"], want["tls_cipher"] = "TLSv1.3", "*"
		}
		want["request_headers"], want["response_headers"] = "", ""
		if strings.Contains(has, "request") {
			want["request_headers"] = "api.example|x #22q#22 #7Bb#7Cc#7D"
		}
		if strings.Contains(has, "response") {
			want["response_headers"] = "b"
		}
		blind := mustCompile(t, g.format(i).String(), Options{}) // knows no names
		for _, tc := range []struct {
			status, request string
			want            map[string]string
		}{{"200", get, want}, {"400", "GET / HTTP/1.1\r\nBad Header\r\n\r\n", failed}, {"408", "GET / HTTP/1.1\r\n", failed}} {
			conn, err := tls.Dial("tcp", g.addrs[i], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			line := g.exchange(conn, tc.request)
			tc.want["status"] = tc.status
			g.compare(g.format(i), line, tc.want)
			if has == response { // without names a lone group is the request's
				tc.want["request_headers"], tc.want["response_headers"] = tc.want["response_headers"], ""
			}
			g.compare(blind, line, tc.want)
		}
	}
}

func BenchmarkParseTrap(b *testing.B) {
	f := mustCompile(b, certTrap, Options{})
	line := []byte(trapLines[0])
	var rec Record
	b.ReportAllocs()
	for b.Loop() {
		if fault := f.Parse(line, &rec); fault.Reason != OK || rec.Truncated {
			b.Fatal(f.Describe(fault))
		}
	}
}
