package logformat

import "testing"

// The formats of a gate as it was measured on HAProxy 2.6 to 3.3: text, JSON
// written by hand, structured data, and the JSON object of 3.0.
const (
	edgeText = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %U %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %ID reason=%[var(txn.reason)] iss=%{+Q}[var(txn.issuer)] sub=%{+Q}[var(txn.sub)] jti=%{+Q}[var(txn.jti)] job=%{+Q}[var(txn.job)] sha=%{+Q}[var(txn.sha)] role=%{+Q}[var(txn.role)] kid=%{+Q}[var(txn.kidlog)] sig=%[var(txn.sigres)] grant=%[var(txn.grant)] rate=%[sc0_http_req_rate] %{+Q}r`
	edgeSD   = `%{+Q,+E}o [id@32473 reason=%[var(txn.reason)] sub=%[var(txn.sub)] jti=%[var(txn.jti)] uri=%[var(txn.path),url_enc]]`
	edgeJSON = `{"v":1,"pid":%pid,"rt":%rt,"id":"%ID","acc":"%Ts.%ms","ci":"%ci","cp":"%cp","fe":"%ft","be":"%b","srv":"%s","TR":%TR,"Tw":%Tw,"Tc":%Tc,"Tr":%Tr,"Ta":%Ta,"st":%ST,"out":%B,"in":%U,"tsc":"%tsc","reason":"%{-M}[var(txn.reason),json]","sub":"%{-M}[var(txn.sub),json]","sa":"%{-M}[var(txn.sa),json]","grant":"%{-M}[var(txn.grant),json]","m":"%{-M}[var(txn.method),json]","path":"%{-M}[var(txn.path),json]","uri":"%{-M}[var(txn.uri),json]"}`
	edge30   = `%{+json}o %(pid:sint)pid %(rt:sint)rt %(id)ID %(acc)Ts %(ci)ci %(cp:sint)cp %(fe)ft %(be)b %(srv)s %(TR)TR %(Ta)Ta %(st)ST %(out)B %(in)U %(tsc)tsc %(reason)[var(txn.reason)] %(sub)[var(txn.sub)] %(path)[var(txn.path)] %(uri)[var(txn.uri)]`
)

func TestEdgeFormats(t *testing.T) {
	for _, tc := range []struct{ name, format, line, want string }{
		{"allowed", edgeText, `127.0.0.1:60664 [23/Nov/2026:10:56:39.175] fe_text be_app/app1 0/0/0/3/3 200 122 917 ---- 1/1/0/0/0 0/0 7F000001:ECF8_7F000001:1F90_6B02A3F7_0000:295A reason=ok iss="github" sub="repo:acme/app" jti="j1" job="77" sha="abc1234" role="deployer" kid="rsa" sig=1 grant=allow rate=3 "GET /api/v1/jobs HTTP/1.1"`,
			`client_addr=127.0.0.1; client_port=60664; request_time=2026-11-23T10:56:39.175Z; frontend=fe_text; tls=0; backend=be_app; server=app1; timer_tr_request=0; timer_tw=0; timer_tc=0; timer_tr_response=3; timer_ta=3; status=200; bytes_read=122; bytes_sent=917; termination_state=----; actconn=1; feconn=1; beconn=0; srvconn=0; retries=0; redispatched=0; srv_queue=0; backend_queue=0; unique_id=7F000001:ECF8_7F000001:1F90_6B02A3F7_0000:295A; reason=ok; issuer=github; subject=repo:acme/app; token_id=j1; job=77; commit=abc1234; role=deployer; key_id=rsa; extra:sigres=1; decision=allow; extra:sc0_http_req_rate=3; method=GET; uri=/api/v1/jobs; path=/api/v1/jobs; http_version=HTTP/1.1`},
		{"no token", edgeText, `127.0.0.1:60664 [23/Nov/2026:10:56:39.175] fe_text fe_text/<NOSRV> 0/-1/-1/-1/0 401 112 17 PR-- 1/1/0/0/0 0/0 - reason=no_token iss="" sub="" jti="" job="" sha="" role="" kid="" sig=- grant=- rate=- "GET / HTTP/1.1"`,
			`client_addr=127.0.0.1; client_port=60664; request_time=2026-11-23T10:56:39.175Z; frontend=fe_text; tls=0; backend=fe_text; server=<NOSRV>; timer_tr_request=0; timer_tw=-1; timer_tc=-1; timer_tr_response=-1; timer_ta=0; status=401; bytes_read=112; bytes_sent=17; termination_state=PR--; actconn=1; feconn=1; beconn=0; srvconn=0; retries=0; redispatched=0; srv_queue=0; backend_queue=0; reason=no_token; method=GET; uri=/; path=/; http_version=HTTP/1.1`},
		{"structured data", edgeSD, `[id@32473 reason="ok" sub="a\"b\]c" jti="" uri="%2Fa%20b"]`, `reason=ok; subject=a"b]c; path=/a b`},
		{"json", edgeJSON, `{"v":1,"pid":1,"rt":2,"id":"7F00","acc":"1795438137.007","ci":"::1","cp":"5","fe":"fe","be":"be","srv":"<NOSRV>","TR":0,"Tw":-1,"Tc":-1,"Tr":-1,"Ta":0,"st":401,"out":112,"in":9,"tsc":"PR--","reason":"claim_charset","sub":"","sa":"sa-x","grant":"","m":"GET","path":"\/a\"","uri":"\/a\"?x"}`,
			`pid=1; request_counter=2; unique_id=7F00; accept_time=2026-11-23T12:48:57.007Z; client_addr=::1; client_port=5; frontend=fe; tls=0; backend=be; server=<NOSRV>; timer_tr_request=0; timer_tw=-1; timer_tc=-1; timer_tr_response=-1; timer_ta=0; status=401; bytes_read=112; bytes_sent=9; termination_state=PR--; reason=claim_charset; extra:sa=sa-x; method=GET; path=/a"; uri=/a"?x; query=?x`},
		{"3.0", edge30, `{"pid": 1, "rt": 2, "id": "", "acc": 1795438137, "ci": "127.0.0.1", "cp": 5, "fe": "fe~", "be": "be", "srv": "s", "TR": 0, "Ta": 7, "st": 200, "out": 12, "in": 3, "tsc": "----", "reason": "ok", "sub": "x", "path": "/a", "uri": "/a"}`,
			`pid=1; request_counter=2; accept_time=2026-11-23T12:48:57.000Z; client_addr=127.0.0.1; client_port=5; frontend=fe; tls=1; backend=be; server=s; timer_tr_request=0; timer_ta=7; status=200; bytes_read=12; bytes_sent=3; termination_state=----; reason=ok; subject=x; path=/a; uri=/a`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _ := parse(t, tc.format, tc.line, Options{})
			if d := diff(got, pairs(tc.want)); d != "" {
				t.Errorf("%s\n%s", tc.line, d)
			}
		})
	}
}
