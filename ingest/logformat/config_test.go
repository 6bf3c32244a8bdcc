package logformat

import (
	"strings"
	"testing"
)

const testConfig = `# a comment
global
    setenv IDENT "sub=%[var(txn.sub),url_enc]"
    presetenv FROM_OUTSIDE nothing
    log 127.0.0.1 local0

defaults base
    mode http
    option httplog
    unique-id-format %{+X}o\ %ci:%cp_%rt

frontend plain
    bind :80
    capture request header Host len 64
    http-request capture req.hdr(X-CI-Run) len 40
    declare capture request len 8
    capture response header Content-Type len 20
    capture cookie SID len 16

frontend quoted
    log-format "%ci \"$IDENT\" ${FROM_OUTSIDE} ${NOT_THERE-none} # %ST" # the real comment
    error-log-format '%ci $IDENT'
    log-format-sd "[x y=%{+Q,+E}[var(txn.sub)]]"

frontend blanks
    log-format %ci\ [%tr]\ %ST
    no option httplog

defaults tcp
    mode tcp
    option tcplog

listen db
    bind :5432

listen web
    mode http
    option httpslog
    no option httplog
    no option httpslog

listen list
    log-format "%ci ${HAPROXY_TCP_LOG_FMT}"

frontend back from base
    option httplog clf

frontend wrong from tcp
    option httplog

frontend conditional
    .if streq("$X",1)
    log-format "%ST"
    .else
    log-format "%B"
    .endif

backend app
    log-format "never"
`

func testEnv(name string) (string, bool) {
	v, ok := map[string]string{"FROM_OUTSIDE": "outside", "X": "1"}[name]
	return v, ok
}

func TestFromConfig(t *testing.T) {
	for _, tc := range []struct{ frontend, format, named, mode, source string }{
		{"plain", httplog, "httplog", "http", "haproxy.cfg:9"},
		{"quoted", `%ci "sub=%[var(txn.sub),url_enc]" outside none # %ST`, "", "http", "haproxy.cfg:21"},
		{"blanks", `%ci [%tr] %ST`, "", "http", "haproxy.cfg:26"},
		{"db", tcplog, "tcplog", "tcp", "haproxy.cfg:31"},
		{"list", `%ci ` + tcplog, "", "tcp", "haproxy.cfg:43"},
		{"back", clf, "clf", "http", "haproxy.cfg:46"},
		{"wrong", tcplog, "tcplog", "tcp", "haproxy.cfg:49"},
		{"conditional", tcplog, "tcplog", "tcp", "haproxy.cfg:31"},
	} {
		t.Run(tc.frontend, func(t *testing.T) {
			c, err := FromConfig(strings.NewReader(testConfig), "haproxy.cfg", tc.frontend, testEnv)
			if err != nil {
				t.Fatal(err)
			}
			if c.Format != tc.format || c.Named != tc.named || c.Mode != tc.mode || c.Source != tc.source {
				t.Errorf("got %q %s %s %s\nwant %q %s %s %s", c.Format, c.Named, c.Mode, c.Source, tc.format, tc.named, tc.mode, tc.source)
			}
			mustCompile(t, c.Format, c.Options(Options{}))
		})
	}
}

func TestFromConfigDetails(t *testing.T) {
	c, err := FromConfig(strings.NewReader(testConfig), "haproxy.cfg", "plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.RequestHeaders, ",") + " " + strings.Join(c.ResponseHeaders, ",") + " " + c.Cookie; got != "Host,X-CI-Run, Content-Type SID" {
		t.Error(got)
	}
	if c.UniqueID != "%{+X}o %ci:%cp_%rt" || c.Section != "frontend" {
		t.Errorf("%q %q", c.UniqueID, c.Section)
	}
	c, err = FromConfig(strings.NewReader(testConfig), "haproxy.cfg", "quoted", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.ErrorFormat != "%ci $IDENT" || c.StructuredData != "[x y=%{+Q,+E}[var(txn.sub)]]" || c.RequestHeaders == nil || len(c.RequestHeaders) > 0 {
		t.Errorf("%q %q %q", c.ErrorFormat, c.StructuredData, c.RequestHeaders)
	}
	if !strings.Contains(c.Format, `" nothing none`) {
		t.Errorf("presetenv without an outer value: %q", c.Format)
	}
	c, err = FromConfig(strings.NewReader(testConfig), "haproxy.cfg", "conditional", nil)
	if err != nil || len(c.Warnings) != 1 || c.Warnings[0] != "haproxy.cfg:52: what is between .if and .endif is not read" {
		t.Errorf("%v %q", err, c.Warnings)
	}
}

func TestFromConfigErrors(t *testing.T) {
	for _, tc := range []struct{ text, frontend, want string }{
		{testConfig, "", "haproxy.cfg: several frontends, name one of: plain, quoted, blanks, db, web, list, back, wrong, conditional"},
		{testConfig, "nope", `haproxy.cfg: no frontend "nope", there are: plain, quoted`},
		{testConfig, "web", `haproxy.cfg:40: listen web has no log-format: add "option httplog" or a log-format to it`},
		{"global\n", "", "haproxy.cfg: no frontend or listen section"},
		{"frontend a\n log-format \"x\n", "", `haproxy.cfg:2: the quote " is not closed`},
		{"frontend a\n log-format 'x\n", "", `haproxy.cfg:2: the quote ' is not closed`},
		{"frontend a\n log-format \"${x\"\n", "", `haproxy.cfg:2: the ${ is not closed with }`},
		{"frontend a\n log-format \"$ x\"\n", "", `haproxy.cfg:2: no variable name after the $: write \$ for a dollar sign`},
		{"frontend a\n log-format \"${x.y}\"\n", "", `haproxy.cfg:2: ${x.y}: a variable's name holds letters, digits and _ only`},
		{"frontend a\n log-format \\xzz\n", "", `haproxy.cfg:2: \x needs two hexadecimal digits`},
		{"frontend a\n log-format %ci %ST\n", "", "haproxy.cfg:2: log-format takes one word: put it in quotes"},
		{"frontend a from b\n", "", `haproxy.cfg:1: there is no defaults section "b" before this one`},
		{"frontend a from\n", "", `haproxy.cfg:1: "from" is not followed by the name`},
		{"frontend\n", "", "haproxy.cfg:1: the frontend section has no name"},
		{"frontend a\n.if x\n", "", "haproxy.cfg: a .if has no .endif"},
		{"frontend a\n", "", `haproxy.cfg:1: frontend a has no log-format: add "option tcplog"`},
	} {
		_, err := FromConfig(strings.NewReader(tc.text), "haproxy.cfg", tc.frontend, nil)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%.40q %s:\n got %v\nwant %s", tc.text, tc.frontend, err, tc.want)
		}
	}
}
