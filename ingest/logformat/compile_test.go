package logformat

import (
	"errors"
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	for _, tc := range []struct{ format, want string }{
		{`%ci %CI`, `position 5: HAProxy knows no variable %CI: is %ci meant?`},
		{`%ci %tcs`, `position 5: HAProxy knows no variable %tcs: is %tsc meant?`},
		{`x%{+Q}Tsx`, `position 2: HAProxy knows no variable %Tsx: is %Ts meant?`},
		{`%ci %zzzzzz`, `position 5: HAProxy knows no variable %zzzzzz: write "%%" for a percent sign`},
		{`%ci 100% %ST`, `position 8: no variable name after "%": write "%%" for a percent sign`},
		{`%ci 5%5`, `position 6: no variable name after "%"`},
		{`%ci %`, `position 5: the format ends after "%"`},
		{`%ci %{+Q`, `position 5: the "{" has no "}" after it`},
		{`%ci %{+Q} %ST`, `position 5: "%{+Q}" is not followed by a variable name or by [expression]`},
		{`%ci %(x`, `position 5: the "(" has no ")" after it`},
		{`%ci %(x:float)ST`, `position 5: unknown type "float": HAProxy knows str, sint and bool`},
		{`%ci %[var(txn.x)`, `position 5: the expression has no closing "]" before the format ends`},
		{`%ci %[str("a]b]`, `position 5: the expression has no closing " before the format ends`},
		{`%ci %[var(txn.x]`, `position 5: the expression has no closing ")" before the format ends`},
		{`%ci %[]`, `position 5: %[] holds no expression`},
		{`%{+cbor}o %(a)ci`, `position 1: CBOR lines cannot be read: write %{+json}o instead of %{+cbor}o`},
		{`%ci %{+cbor}ST`, `position 5: CBOR values cannot be read`},
		{`hello`, `position 1: the format holds no item to read`},
		{``, `position 1: the format holds no item to read`},
		{`%{+json}o %ci %ST`, `position 1: the format holds no item to read`},
		{`%ci %[var(txn.sub)]%[var(txn.job)]`, `position 20: nothing stands between %[var(txn.sub)] and %[var(txn.job)], so their values can't be told apart: write a literal between them or quote them (%{+Q})`},
		{`%ci%cp`, `position 4: nothing stands between %ci and %cp`},
		{`%ST%B`, `position 4: nothing stands between %ST and %B`},
	} {
		_, err := Compile(tc.format, Options{})
		var ce *CompileError
		if !errors.As(err, &ce) {
			t.Errorf("%q compiled, want %q", tc.format, tc.want)
			continue
		}
		if want := "log-format: " + tc.want; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %s\nwant %s", tc.format, err, want)
		}
	}
}

func TestDiagnostics(t *testing.T) {
	for _, tc := range []struct {
		format string
		want   []string // beginnings
	}{
		{tcplog, nil},
		{Haptrail, nil},
		{`%ci [%tr] %{+Q,+E}[var(txn.sub)] %{+Q}r %[var(txn.job),url_enc] "%[var(txn.sha),json]" %[sc0_http_req_rate] %ST`, nil},
		{`%ci [%tr] sub=%[var(txn.sub)] %ST`, []string{
			`warning: position 15: a blank may be part of %[var(txn.sub)], so the value can't be told from the literal " " that follows: quote and escape it (%{+Q,+E}[var(txn.sub)]) or end it with url_enc or, in quotes, json`}},
		{`%ci [%tr] %{+Q}[var(txn.sub)] %ST`, []string{`warning: position 11: a quote may be part of %{+Q}[var(txn.sub)]`}},
		{`%ci "%[var(txn.sub)]"`, nil}, // the last one: its end is the line's end
		{`%ci {"a":"%[var(txn.sub)]","b":%ST}`, []string{`warning: position 11: a quote may be part of %[var(txn.sub)]`}},
		{`%ci %[path]|%ST`, []string{`warning: position 5: '|' may be part of %[path]`}},
		{`%f:%b %ST`, []string{`note: position 1: ':' may be part of %f`}},
		{`%CC %ST`, []string{`note: position 1: a blank may be part of %CC`}},
		{`%ST %ST`, []string{`note: position 5: an item before %ST fills status already`}},
		{`%ST %,x %{Q,+Z}B`, []string{`warning: position 5: HAProxy drops the "%" before ','`,
			`warning: position 9: HAProxy ignores the flag "Q" without a sign`, `warning: position 9: HAProxy ignores the unknown flag "+Z"`}},
		{`%hr %hs {%sslv/%sslc} %{+Q}r`, []string{`note: position 1: HAProxy writes nothing for %hr where nothing was captured, and a literal behind it begins with "{" too`,
			`note: position 5: HAProxy writes nothing for %hs`}},
		{`%hr %hs <%sslv/%sslc> %{+Q}r`, nil},
		{`%{+Q}hr "{%sslv}" %hs "%sslc"`, []string{`note: position 1: HAProxy writes nothing for %{+Q}hr where nothing was captured, and a literal behind it begins with "\"{" too`}},
		{`%[date,ltime(%Y-%m-%dT%H:%M:%S)] %ci [%[date,utime("%d/%b/%Y:%H:%M:%S%z")]] %ST`, nil},
		{`%{+json}o %(a)ST %B`, []string{`warning: position 18: %B has no %(name)`}},
	} {
		f := mustCompile(t, tc.format, Options{})
		var got []string
		for _, d := range f.Diagnostics() {
			got = append(got, d.String())
		}
		ok := len(got) == len(tc.want)
		for i := 0; ok && i < len(got); i++ {
			ok = strings.HasPrefix(got[i], tc.want[i])
		}
		if !ok {
			t.Errorf("%q:\n got %s\nwant %s", tc.format, strings.Join(got, "\n     "), strings.Join(tc.want, "\n     "))
		}
	}
}

func TestExplain(t *testing.T) {
	f := mustCompile(t, `%ci [%tr] %rc %ft %{+Q}r %[ssl_fc_sni] %(n)[var(txn.zz),lower]`, Options{})
	const want = `position 1	%ci	-> client_addr
position 6	%tr	-> request_time
position 11	%rc	-> retries, redispatched
position 15	%ft	-> frontend, tls
position 19	%{+Q}r	-> method, uri, http_version
position 26	%[ssl_fc_sni]	-> extra:ssl_fc_sni
position 40	%(n)[var(txn.zz),lower]	-> extra:n
`
	if got := f.Explain(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if f.String() != f.source || len(f.ExtraNames()) != 2 || len(f.Items()) != 7 {
		t.Errorf("String %q, extras %q, %d items", f, f.ExtraNames(), len(f.Items()))
	}
}

func TestSampleName(t *testing.T) {
	for expr, want := range map[string]string{
		"ssl_fc_sni":                        "ssl_fc_sni",
		"ssl_fc_err,hex":                    "ssl_fc_err",
		"var(txn.foo),json(utf8s)":          "foo",
		"var(txn.foo),map_str(/a/b.map)":    "var_txn_foo_map_str_a_b_map",
		"req.hdr(User-Agent)":               "req_hdr_User_Agent",
		`str("a,b)]"),upper`:                "str_a_b_upper",
		"capture.res.hdr(0)":                "capture_res_hdr_0",
		"sc_http_req_rate(0)":               "sc_http_req_rate_0",
		"be_name":                           "be_name",
		"unique-id":                         "unique_id",
		"req.cook(SID),sha2(256),hex,lower": "req_cook_SID_sha2_256_lower",
	} {
		if got := sampleName(expr); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

func TestFieldNames(t *testing.T) {
	seen := make(map[string]bool)
	for f := Field(0); f < NumFields; f++ {
		name := f.String()
		back, ok := FieldByName(name)
		if name == "" || seen[name] || !ok || back != f {
			t.Errorf("field %d: name %q, seen before %v, found again %v", f, name, seen[name], back)
		}
		seen[name] = true
	}
	if _, ok := FieldByName("nope"); ok || NumFields.String() != "none" {
		t.Error("a name for no field")
	}
	for name, f := range DefaultVars() {
		if f >= NumFields {
			t.Errorf("variable %s fills no field", name)
		}
	}
	if AcceptTime.Kind() != KindTime || ClientAddr.Kind() != KindAddr || TimerTu.Kind() != KindInt ||
		SrvConn.Kind() != KindInt || Subject.Kind() != KindText || ExpiresAt.Kind() != KindTime || TerminationState.Kind() != KindText {
		t.Error("a field is of the wrong kind")
	}
}

func TestBuiltin(t *testing.T) {
	for _, b := range builtins {
		if s, ok := Builtin(b.name); !ok || s != b.format {
			t.Errorf("%s: %v", b.name, ok)
		}
	}
	if _, ok := Builtin("nope"); ok {
		t.Error("nope is a built-in format")
	}
}
