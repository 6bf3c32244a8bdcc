package ingest

import (
	"strings"
	"testing"

	lf "github.com/haptrail/haptrail/ingest/logformat"
)

// A JSON Web Token as HAProxy would log one, whole and cut.
const token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-_c2ln"

func TestRedactHeaders(t *testing.T) {
	for _, c := range []struct {
		in, want string
		secrets  []string // names of the captured headers
	}{
		{in: "www.example.com|curl/8.5.0 (linux)|", want: "www.example.com|curl/8.5.0 (linux)|"},
		{in: "Bearer " + token, want: "Bearer [redacted]"},
		{in: "host|bearer " + token + "|x", want: "host|bearer [redacted]|x"},
		{in: "Basic dXNlcjpwYXNz|curl", want: "Basic [redacted]|curl"},
		{in: "a|Digest username=\"u\", response=\"abc\"|b", want: "a|Digest [redacted]|b"},
		{in: "token ghp_0123456789", want: "token [redacted]"},
		{in: "Bearer " + token[:24], want: "Bearer [redacted]"},
		{in: "|" + token, want: "|[redacted]"},
		{in: "terraform/1.9 (linux) token-service", want: "terraform/1.9 (linux) token-service"},
		{in: "basically fine|x", want: "basically fine|x"},
		{in: "Bearer%20abc|x", want: "Bearer [redacted]|x"},
		{in: " Bearer abc", want: " Bearer [redacted]"},
		{in: "x Bearer abc|y", want: "x Bearer [redacted]|y"},
		{in: "Basic#20abc", want: "Basic [redacted]"},
		{in: "Bearer\tabc", want: "Bearer [redacted]"},
		{in: "JWT abc", want: "JWT [redacted]"},
		{in: "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=00ff|z", want: "AWS4-HMAC-SHA256 [redacted]|z"},
		{in: "h|opaque-secret|ua", want: "h|[redacted]|ua", secrets: []string{"host", "X-API-Key", "user-agent"}},
		{in: "h||ua", want: "h||ua", secrets: []string{"host", "Authorization", "user-agent"}},
		{in: "only", want: "[redacted]", secrets: []string{"x,Cookie"}},
		{in: "", want: "", secrets: []string{"cookie"}},
	} {
		var w rowWriter
		w.suspect = mayHoldToken([]byte(c.in))
		if have := string(w.headers([]byte(c.in), secretSlots(c.secrets))); have != c.want {
			t.Errorf("%q with %v\nhave %q\nwant %q", c.in, c.secrets, have, c.want)
		}
	}
}

func TestRedactWord(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a=1&b=2", "a=1&b=2"},
		{"access_token=abc.def&x=1", "access_token=[redacted]&x=1"},
		{"x=1&Password=hunter2", "x=1&Password=[redacted]"},
		{"t=" + token, "t=[redacted]"},
		{"/b1/Bearer%20opaque/x", "/b1/Bearer [redacted]/x"},
		{"/b4;token=tok/x", "/b4;token=[redacted]/x"},
		{"X-Amz-Signature=0011&X-Amz-Date=2026", "X-Amz-Signature=[redacted]&X-Amz-Date=2026"},
		{"plain", "plain"},
	} {
		var scratch []byte
		if have := string(redactWord(&scratch, []byte(c.in))); have != c.want {
			t.Errorf("%q\nhave %q\nwant %q", c.in, have, c.want)
		}
	}
}

func TestRedactRaw(t *testing.T) {
	for _, in := range []string{
		`<134>x {www|Bearer ` + token + `} "GET / HTTP/1.1"`,
		`garbage authorization: basic dXNlcjpwYXNz end`,
		`cut ` + token[:30],
		`url /x?private_token=glpat-123 end`,
		`enc Bearer%20` + token,
		`{h|glpat-123|z}`,
		`authorization="glpat-123"`,
		`Cookie: session=glpat-123`,
		`X-Api-Key: glpat-123`,
		`"authorization":"Token glpat-123"`,
		`Bearer\u0020glpat-123`,
		`Bearer: glpat-123`,
		`https://user:glpat-123@host/x`,
		`Apikey glpat-123`,
	} {
		have := string(redactRaw([]byte(in), []bool{false, true}))
		for _, secret := range []string{"eyJ", "dXNlcjpwYXNz", "glpat-123"} {
			if strings.Contains(have, secret) {
				t.Errorf("%q leaves %q: %q", in, secret, have)
			}
		}
		if !strings.Contains(have, Redacted) {
			t.Errorf("%q: nothing says that something was removed: %q", in, have)
		}
	}
}

func TestSensitivityOfExtras(t *testing.T) {
	for expr, want := range map[string]sensitivity{
		"req.hdr(authorization)": secret, "hdr(Authorization)": secret, "req.fhdr(X-Api-Key,1)": secret, "http_auth_bearer": secret,
		"http_auth_bearer,lower": secret, "http_auth_pass": secret, "req.hdr(authorization),field(2,' ')": secret,
		"capture.req.hdr(1)": secret, "capture.req.hdr(0)": harmless, "req.cook(session)": cookie, "cook(a)": cookie, "scook(b)": cookie,
		"http_auth_bearer,jwt_payload_query('$.sub')": harmless, "req.hdr(authorization),sha2(256),hex": harmless,
		"req.hdr(user-agent)": harmless, "ssl_fc_sni": harmless, "var(txn.x),json": harmless, "src,ipmask(24)": harmless,
	} {
		item := lf.Item{Source: "%{+Q}[" + expr + "]", Extra: "x"}
		if have := sensitivityOf(item, Formats{RequestHeaders: []string{"host", "authorization"}}); have != want {
			t.Errorf("%s: have %d, want %d", expr, have, want)
		}
	}
}

// mayHoldToken is what keeps the expensive search off the common line: it must
// see every token.
func FuzzMayHoldToken(f *testing.F) {
	f.Add("x eyJabc", "Jey yJ eJ")
	f.Fuzz(func(t *testing.T, before, after string) {
		if s := before + "eyJ" + after; !mayHoldToken([]byte(s)) {
			t.Errorf("%q: not seen", s)
		}
		if s := strings.ReplaceAll(before, "eyJ", ""); !strings.Contains(s, "eyJ") && mayHoldToken([]byte(s)) {
			t.Errorf("%q: seen where there is none", s)
		}
	})
}
