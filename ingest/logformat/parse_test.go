package logformat

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const httpHead = `127.0.0.1:33000 [23/Nov/2026:11:10:03.499] http app/app1 0/0/0/27/27 200 122 `
	const httpHeadWant = `client_addr=127.0.0.1; client_port=33000; request_time=2026-11-23T11:10:03.499Z; frontend=http; tls=0; backend=app; server=app1; ` +
		`timer_tr_request=0; timer_tw=0; timer_tc=0; timer_tr_response=27; timer_ta=27; status=200; bytes_read=122; `
	const conns = `actconn=1; feconn=1; beconn=0; srvconn=0; retries=0; redispatched=0; srv_queue=0; backend_queue=0; `
	const request = `method=GET; uri=/ok?a=1; http_version=HTTP/1.1; path=/ok; query=?a=1`
	for _, tc := range []struct {
		name, format, line, want string
		opts                     Options
	}{
		{"httplog with captures", httplog,
			httpHead + `SID=abc123 - ---- 1/1/0/0/0 0/0 {Mozilla (X11; #22q#22 #7Bb#7Cc#7D)|v} {text/plain; charset=} "GET /ok?a=1 HTTP/1.1"`,
			httpHeadWant + `request_cookie=SID=abc123; termination_state=----; ` + conns +
				`response_headers=text/plain| charset=; ` + request, Options{}},
		{"httplog, no captures at all", httplog, httpHead + `- - ---- 1/1/0/0/0 0/0 "GET /ok?a=1 HTTP/1.1"` + "\r\n\x00",
			httpHeadWant + `termination_state=----; ` + conns + request, Options{}},
		{"one group, nothing known: request", httplog, httpHead + `- - ---- 1/1/0/0/0 0/0 {a|b} "GET /ok?a=1 HTTP/1.1"`,
			httpHeadWant + `termination_state=----; request_headers=a|b; ` + conns + request, Options{}},
		{"one group, only responses captured", httplog, httpHead + `- - ---- 1/1/0/0/0 0/0 {a|b} "GET /ok?a=1 HTTP/1.1"`,
			httpHeadWant + `termination_state=----; response_headers=a|b; ` + conns + request, Options{ResponseHeaders: []string{"a", "b"}}},
		{"captured headers with names", httplog, httpHead + `- - ---- 1/1/0/0/0 0/0 {api.example|run#22|ua} "GET /ok?a=1 HTTP/1.1"`,
			httpHeadWant + `termination_state=----; request_headers=api.example|run#22|ua; host=api.example; claimed_run=run"; ` + conns + request,
			Options{RequestHeaders: []string{"Host", "X-CI-Run", "User-Agent"}}},
		{"bad request", httplog, `127.0.0.1:33168 [23/Nov/2026:11:10:07.942] http~ http/<NOSRV> -1/-1/-1/-1/+0 -1 +0 - - CR-- 1/1/0/0/+3 0/0 "<BADREQ>"`,
			`client_addr=127.0.0.1; client_port=33168; request_time=2026-11-23T11:10:07.942Z; frontend=http; tls=1; backend=http; server=<NOSRV>; ` +
				`timer_tr_request=-1; timer_tw=-1; timer_tc=-1; timer_tr_response=-1; timer_ta=0; status=-1; bytes_read=0; termination_state=CR--; ` +
				`actconn=1; feconn=1; beconn=0; srvconn=0; retries=3; redispatched=1; srv_queue=0; backend_queue=0`, Options{}},
		{"tcplog", tcplog, `2001:db8::1:40546 [23/Nov/2026:11:10:11.031] tcpasap tcpasap/s1 1/0/+0 +0 -- 2/1/1/1/0 0/0`,
			`client_addr=2001:db8::1; client_port=40546; accept_time=2026-11-23T11:10:11.031Z; frontend=tcpasap; tls=0; backend=tcpasap; server=s1; ` +
				`timer_tw=1; timer_tc=0; timer_tt=0; bytes_read=0; termination_state=--; actconn=2; feconn=1; beconn=1; srvconn=1; retries=0; redispatched=0; srv_queue=0; backend_queue=0`, Options{}},
		{"clf", clf, `127.0.0.1 - - [23/Nov/2026:11:10:10 +0130] "GET /clf?x=#221 HTTP/1.1" 200 122 "" "" 45236 995 "clf~" "app" "app1" 0 0 0 0 0 ---- 1 1 0 0 0 0 0 "" "" "ua #22x#22" `,
			`client_addr=127.0.0.1; request_time=2026-11-23T09:40:10.000Z; method=GET; uri=/clf?x="1; http_version=HTTP/1.1; path=/clf; query=?x="1; status=200; bytes_read=122; client_port=45236; extra:ms=995; ` +
				`frontend=clf; tls=1; backend=app; server=app1; timer_tr_request=0; timer_tw=0; timer_tc=0; timer_tr_response=0; timer_ta=0; termination_state=----; ` + conns + `request_headers=ua #22x#22`, Options{}},
		{"clf without its final blank", clf, `127.0.0.1 - - [23/Nov/2026:11:10:10 +0000] "<BADREQ>" 400 0 "" "" 45236 995 "clf" "app" "" 0 0 0 0 0 ---- 1 1 0 0 0 0 0 "" ""`,
			`client_addr=127.0.0.1; request_time=2026-11-23T11:10:10.000Z; status=400; bytes_read=0; client_port=45236; extra:ms=995; frontend=clf; tls=0; backend=app; ` +
				`timer_tr_request=0; timer_tw=0; timer_tc=0; timer_tr_response=0; timer_ta=0; termination_state=----; ` + conns, Options{}},
		{"httpslog", httpslog, httpHead + `- - ---- 1/1/0/0/0 0/0 "GET /ok?a=1 HTTP/1.1" 0/0000000000000000/0/0/1 edge.example/TLSv1.3/TLS_AES_256_GCM_SHA384`,
			httpHeadWant + `termination_state=----; ` + conns + request + `; extra:fc_err=0; extra:ssl_fc_err=0000000000000000; extra:ssl_c_err=0; ` +
				`extra:ssl_c_ca_err=0; extra:ssl_fc_is_resumed=1; extra:ssl_fc_sni=edge.example; tls_version=TLSv1.3; tls_cipher=TLS_AES_256_GCM_SHA384`, Options{}},
		{"unix socket, absent values", `%ci:%cp %fi:%fp %si:%sp %ID %sslv [%tr] %CC`, `unix:1 10.0.0.1:80 -:- - - [01/Jan/2000:00:00:00.000] -`,
			`client_port=1; frontend_addr=10.0.0.1; frontend_port=80; request_time=2000-01-01T00:00:00.000Z`, Options{}},
		{"hexadecimal", `%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid %ms %lc`, `7F000001:97C2_20010DB8000000000000000000000001:01BB_6B043639_00FF:2710 7C 0000`,
			`client_addr=127.0.0.1; client_port=38850; frontend_addr=20010DB8000000000000000000000001; frontend_port=443; ` +
				`accept_time=2026-11-23T12:48:57.124Z; request_counter=255; pid=10000; log_counter=0`, Options{}},
		{"epoch and milliseconds", `%Ts%ms %Tt`, `1795438137124 7`, `accept_time=2026-11-23T12:48:57.124Z; timer_tt=7`, Options{}},
		{"epoch, dot, milliseconds", `{"t":"%Ts.%ms","T":%Tt}`, `{"t":"1795438137.007","T":-1}`, `accept_time=2026-11-23T12:48:57.007Z; timer_tt=-1`, Options{}},
		{"quoted identity", `%{+Q}[var(txn.sub)] %{+Q}[var(txn.iss)] %{+Q}[var(sess.foo)]`, `"-" "" "x y"`, `subject=-; extra:foo=x y`, Options{}},
		{"quotes of one's own: - is absent", `"%[var(txn.sub)]"`, `"-"`, ``, Options{}},
		{"no mandatory dash", `a=%{-M}[var(txn.sub)] b=%{-M}[var(txn.job)]`, `a= b=`, ``, Options{}},
		{"escaped", `[x sub=%{+Q,+E}[var(txn.sub)] m=%{+E}[var(txn.m)]]`, `[x sub="a\"b\\c\] \n" m=\]]`, `subject=a"b\c] \n; method=]`, Options{}},
		{"url_enc", `%[var(txn.sub),url_enc] %ST`, `repo%3Aa%2Fb%20%22 200`, `subject=repo:a/b "; status=200`, Options{}},
		{"mapped variable is not the variable", `%[var(txn.sub),map_str(/x)] %ST`, `deployer 200`, `extra:var_txn_sub_map_str_x=deployer; status=200`, Options{}},
		{"own variables", `%[var(txn.who)] %[var(txn.sub)]`, `a b`, `subject=a; extra:sub=b`, Options{Vars: map[string]Field{"who": Subject, "sub": NumFields}}},
		{"claims with times", `%[var(txn.iat)] %[var(txn.exp)] %[src] %[status]`, `1795438137 1795438137.5 ::1 -`,
			`issued_at=2026-11-23T12:48:57.000Z; expires_at=2026-11-23T12:48:57.000Z; client_addr=::1`, Options{}},
		{"claims that are no times", `%[var(txn.iat)] %[var(txn.exp)]`, `never 99999999999999`, ``, Options{}},
		{"json, bytes", `{"sub":"%[var(txn.sub),json]","st":%ST}`, `{"sub":"a\"\\\/\n\u00c3\u00a9\u0000b","st":200}`, "subject=a\"\\/\n\u00e9\x00b; status=200", Options{}},
		{"json, utf8", `{"sub":"%[var(txn.sub),json(utf8s)]"}`, `{"sub":"\u00e9\u4e2d\ud83d\ude00x"}`, "subject=\u00e9\u4e2d\U0001F600x", Options{}},
		{"json, not escaped", `{"sub":"%[var(txn.sub)]","job":"%[var(txn.job)]"}`, `{"sub":"a"b","job":"c"}`, `subject=a"b; job=c`, Options{}},
		{"request with blanks", `%{+Q}r`, `"GET /a b c HTTP/1.1"`, `method=GET; uri=/a b c; path=/a b c; http_version=HTTP/1.1`, Options{}},
		{"request cut at logurilen", `%{+Q}r`, `"GET /aaaa"`, `method=GET; uri=/aaaa; path=/aaaa`, Options{}},
		{"absolute URI", `%{+Q}r`, `"GET http://u:p@127.0.0.1:8097/local?x=1 HTTP/2.0"`,
			`method=GET; uri=http://u:p@127.0.0.1:8097/local?x=1; host=127.0.0.1:8097; path=/local; query=?x=1; http_version=HTTP/2.0`, Options{}},
		{"absolute URI without path", `%{+Q}r`, `"GET https://h?x HTTP/2.0"`, `method=GET; uri=https://h?x; host=h; path=/; query=?x; http_version=HTTP/2.0`, Options{}},
		{"connect", `%{+Q}r`, `"CONNECT h:443 HTTP/1.1"`, `method=CONNECT; uri=h:443; host=h:443; http_version=HTTP/1.1`, Options{}},
		{"options *", `%HM|%HU|%HP|%HQ|%HV`, `OPTIONS|*|*||HTTP/1.1`, `method=OPTIONS; uri=*; path=*; http_version=HTTP/1.1`, Options{}},
		{"parts of the request", `%HM %HP%HQ %HV`, `GET http://h/a?b HTTP/0.9`, `method=GET; uri=http://h/a?b; host=h; path=/a; query=?b; http_version=HTTP/0.9`, Options{}},
		{"items of their own come first", `%{+Q}r %[var(txn.method)]`, `"GET /x HTTP/1.1" POST`, `method=POST; uri=/x; path=/x; http_version=HTTP/1.1`, Options{}},
		{"names", `%(who:str)[var(txn.zz)] %(n:int)ST %(b)[ssl_fc]`, `x 200 1`, `extra:who=x; status=200; tls=1`, Options{}},
		{"same field twice", `%ST %[status] %ci %[src]`, `200 200 ::1 ::1`, `status=200; extra:status=200; client_addr=::1; extra:src=::1`, Options{}},
		{"json object of 3.0", `%{+json}o %(pid:sint)pid text %(ci)ci %(t)tr %(out)B %(hdr)hr %(r)r %(none)[var(txn.job)] %(sub)[var(txn.sub)] %(b:bool)[ssl_fc]`,
			`{"pid": 7, "ci": "::1", "t": "23/Nov/2026:11:10:03.499", "out": 12, "hdr": ["a#22", null, "b\"\\"], "r": "GET /x#20 HTTP/1.1", "none": "", "sub": "a\"b\\c` + "\n" + `d", "b": true}`,
			`pid=7; client_addr=::1; request_time=2026-11-23T11:10:03.499Z; bytes_read=12; request_headers=a#22||b"\; method=GET; uri=/x ; path=/x ; http_version=HTTP/1.1; subject=a"b\c` + "\n" + `d; tls=1`, Options{}},
		{"json object, absent", `%{+json}o %(cp)cp %(hdr)hr %(sub)[var(txn.sub)] %(ts)tsc`, `{"cp": "", "hdr": null, "sub": "-", "ts": "----"}`, `subject=-; termination_state=----`, Options{}},
		{"percent sign", `100%%|%ST`, `100%|200`, `status=200`, Options{}},
		{"blanks merge", `  a   %ST    b `, `a 200 b`, `status=200`, Options{}},
		{"captures first", `%hr %hs %ST`, `200`, `status=200`, Options{}},
		{"captures first, one", `%hr %hs %ST`, `{x} 200`, `request_headers=x; status=200`, Options{}},
		{"captures between slashes", `%ST/%hr/%hs/%B`, `200//{y}/1`, `status=200; response_headers=y; bytes_read=1`, Options{}},
		{"quoted captures", `%ST %{+Q}hr %{+Q}hs %B`, `200 "{a b|c}" "{}" 1`, `status=200; request_headers=a b|c; bytes_read=1`, Options{}},
		{"list of captures, known", `%{+Q}hrl %{+Q}hsl %ST`, `"a" "b c" "" 200`, `request_headers=a|b c; status=200`,
			Options{RequestHeaders: []string{"x", "y"}, ResponseHeaders: []string{"z"}}},
		{"log origin", `%OG %f`, `sess_error fe`, `log_origin=sess_error; frontend=fe`, Options{}},
		{"tcp clf", tcpclf, `10.1.2.3 - - [23/Nov/2026:11:10:11 +0000] "TCP " 000 12 "" "" 40546 031 "fe" "be" "<NOSRV>" 0 1 0 5 99 cD-- 2 1 1 1 0 0 0 "" "" `,
			`client_addr=10.1.2.3; accept_time=2026-11-23T11:10:11.031Z; bytes_read=12; client_port=40546; frontend=fe; tls=0; backend=be; server=<NOSRV>; timer_th=0; timer_tw=1; timer_tc=0; timer_tt=5; bytes_sent=99; termination_state=cD; actconn=2; feconn=1; beconn=1; srvconn=1; retries=0; redispatched=0; srv_queue=0; backend_queue=0`, Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _ := parse(t, tc.format, tc.line, tc.opts)
			want := pairs(tc.want)
			if tc.name == "httplog with captures" { // this value holds "; "
				want["request_headers"] = `Mozilla (X11; #22q#22 #7Bb#7Cc#7D)|v`
				want["response_headers"] = `text/plain; charset=`
			}
			if d := diff(got, want); d != "" {
				t.Errorf("%s\n%s\n%s", tc.format, tc.line, d)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	const good = `127.0.0.1:33000 [23/Nov/2026:11:10:03.499] http app/app1 0/0/0/27/27 200 122 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"`
	for _, tc := range []struct{ name, old, new, want string }{
		{"address", "127.0.0.1", "127.0.0.256", "bad_address at byte 0 of the line, in %ci (position 1 of the format)"},
		{"address is a name", "127.0.0.1", "host", "bad_address at byte 0 of the line, in %ci (position 1 of the format)"},
		{"port", ":33000", ":x", "bad_number at byte 10 of the line, in %cp (position 5 of the format)"},
		{"no date", "23/Nov/2026:11:10:03.499", "", "bad_time at byte 17 of the line, in %tr (position 10 of the format)"},
		{"month", "Nov", "Nop", "bad_time at byte 17 of the line, in %tr (position 10 of the format)"},
		{"31st of November", "23/Nov", "31/Nov", "bad_time at byte 17 of the line, in %tr (position 10 of the format)"},
		{"hour", ":11:10:", ":24:10:", "bad_time at byte 17 of the line, in %tr (position 10 of the format)"},
		{"second", ":03.", ":6x.", "bad_time at byte 17 of the line, in %tr (position 10 of the format)"},
		{"frontend", "] http ", "] ht/tp ", "literal_mismatch at byte 45 of the line, in %ft (position 15 of the format)"},
		{"server", "app1", "", "bad_name at byte 52 of the line, in %s (position 22 of the format)"},
		{"status", " 200 ", " 2x0 ", "literal_mismatch at byte 70 of the line, in %ST (position 45 of the format)"},
		{"number too long", " 122 ", " 1234567890123456789 ", "bad_number at byte 73 of the line, in %B (position 49 of the format)"},
		{"state", "----", "--+-", "bad_state at byte 81 of the line, in %tsc (position 60 of the format)"},
		{"timers of tcplog", "0/0/0/27/27", "0/0/0", "literal_mismatch at byte 62 of the line, in %Tc (position 33 of the format)"},
		{"text behind", `HTTP/1.1"`, `HTTP/1.1" x`, "trailing_text at byte 116 of the line, in %{+Q}r (position 101 of the format)"},
		{"short", good[20:], "", "line_too_short at byte 20 of the line, in %tr (position 10 of the format)"},
		{"empty", good, "", "line_too_short at byte 0 of the line, in %ci (position 1 of the format)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			line := strings.Replace(good, tc.old, tc.new, 1)
			got, _ := parse(t, httplog, line, Options{})
			if got["fault"] != tc.want {
				t.Errorf("%s\n got %v\nwant %s", line, got, tc.want)
			}
		})
	}
}

// TestParseAmbiguous: whoever controls a raw value must not be able to move
// later fields.
func TestParseAmbiguous(t *testing.T) {
	const head = `10.0.0.1:5 [23/Nov/2026:11:10:03.499] `
	const headFormat = `%ci:%cp [%tr] `
	for _, tc := range []struct{ name, format, line, want string }{
		{"quoted, honest", `%{+Q}[var(txn.sub)] %{+Q}[var(txn.role)]`, `"a b" "c"`, `subject=a b; role=c`},
		{"quoted, a quote inside", `%{+Q}[var(txn.sub)] %{+Q}[var(txn.role)]`, `"a"b" "c"`, `subject=a"b; role=c`},
		{"quoted, forged role", `%{+Q}[var(txn.sub)] %{+Q}[var(txn.role)]`, `"a" "admin" "c"`, "ambiguous"},
		{"quoted, forged role of overlapping quotes", `%{+Q}[var(txn.sub)] %{+Q}[var(txn.role)]`, `"a" " "c"`, "ambiguous"},
		{"words, forged role", `sub=%[var(txn.sub)] role=%[var(txn.role)]`, `sub=a role=admin role=none`, "ambiguous"},
		{"words, a blank inside", `sub=%[var(txn.sub)] role=%[var(txn.role)] %ST`, `sub=a b role=none 200`, `subject=a b; role=none; status=200`},
		{"cookie with a blank", `%CC %CS %tsc %ST`, `SID=a b - ---- 200`, `request_cookie=SID=a b; termination_state=----; status=200`},
		{"cookie that forges the rest", `%CC %ST %{+Q}r`, `SID=a 200 "GET /x HTTP/1.1" 403 "GET /y HTTP/1.1"`, `request_cookie=SID=a 200 "GET /x HTTP/1.1"; status=403; method=GET; uri=/y; path=/y; http_version=HTTP/1.1`},
		{"cookie that forges, absorbed at the end", `%CC %ST %{+Q}[var(txn.sub)]`, `SID=a 200 "x" 403 "y"`, "ambiguous"},
		{"json without the converter", `{"sub":"%[var(txn.sub)]","role":"%[var(txn.role)]"}`, `{"sub":"a","role":"admin","role":"none"}`, "ambiguous"},
		{"escaped is never ambiguous", `%{+Q,+E}[var(txn.sub)] %{+Q,+E}[var(txn.role)]`, `"a\" \"admin" "c"`, `subject=a" "admin; role=c`},
		{"a dash in front", `%[var(txn.sub)] %ST`, `- admin 200`, `subject=- admin; status=200`},
		{"very many possible ends", `%[var(txn.sub)] %[var(txn.role)] %[var(txn.job)] %ST`, strings.Repeat("x ", 300) + "200", "ambiguous"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, f := range []struct{ format, line string }{{tc.format, tc.line}, {headFormat + tc.format, head + tc.line}} {
				got, fault := parse(t, f.format, f.line, Options{})
				if tc.want == "ambiguous" {
					if fault.Reason != Ambiguous {
						t.Errorf("%s\ngot %v, want ambiguous", f.line, got)
					}
					continue
				}
				want := pairs(tc.want)
				if f.format != tc.format {
					want["client_addr"], want["client_port"], want["request_time"] = "10.0.0.1", "5", "2026-11-23T11:10:03.499Z"
				}
				if d := diff(got, want); d != "" {
					t.Errorf("%s\n%s", f.line, d)
				}
			}
		})
	}
}

// TestParseLooseButWhole: a cookie that is no NAME=value makes every reading of
// the second look implausible. The first reading stands.
func TestParseLooseButWhole(t *testing.T) {
	line := strings.Replace(benchLines[1].line, " - - ---- ", " 0 0 ---- ", 1)
	line = strings.Replace(line, `"allow"`, `""allow"`, 1)
	if got, _ := parse(t, benchLines[1].format, line, Options{}); got["decision"] != `"allow` || got["truncated"] != "" {
		t.Errorf("%v", got)
	}
}
