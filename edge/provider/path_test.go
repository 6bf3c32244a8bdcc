package provider_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/edge/provider"
)

func TestParsePathRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                `begin with $`,
		`project`:         `begin with $`,
		`.project`:        `begin with $`,
		`$`:               `name a claim`,
		`$[0]`:            `name a claim`,
		`$project`:        `begins neither with`,
		`$.`:              `a name is empty`,
		`$..a`:            `a name is empty`,
		`$.a.`:            `a name is empty`,
		`$.a..b`:          `a name is empty`,
		`$.[0]`:           `a name is empty`,
		`$.a[`:            `write "\[" for a bracket in a name`,
		`$.a[]`:           `a number of 0 to 99`,
		`$.a[0`:           `a number of 0 to 99`,
		`$.a[00]`:         `a number of 0 to 99`,
		`$.a[01]`:         `a number of 0 to 99`,
		`$.a[-1]`:         `a number of 0 to 99`,
		`$.a[+1]`:         `a number of 0 to 99`,
		`$.a[1.5]`:        `a number of 0 to 99`,
		`$.a[1e1]`:        `a number of 0 to 99`,
		`$.a[100]`:        `a number of 0 to 99`,
		`$.a[*]`:          `a number of 0 to 99`,
		`$.a["b"]`:        `a number of 0 to 99`,
		`$.a[0]b`:         `begins neither with`,
		`$.a\`:            `a backslash stands only before`,
		`$.a\\b`:          `a backslash stands only before`,
		`$.a\/b`:          `a backslash stands only before`,
		`$.a'b`:           `a quote`,
		`$.a"b`:           `a quote`,
		"$.a\nb":          `a control character`,
		"$.a\x00":         `a control character`,
		"$.a\x7f":         `a control character`,
		`$.größe`:         `outside ASCII`,
		`$.a.b'),bool #`:  `a quote`,
		"$.a','int')\n b": `a quote`,
	} {
		path, err := provider.ParsePath(text)
		if err == nil {
			t.Errorf("%q: want an error with %q, have %s", text, want, path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, have %q", text, want, err)
		}
		if path.String() != "" {
			t.Errorf("%q: an error and a path, %s", text, path)
		}
	}
}

func TestPathSpellings(t *testing.T) {
	for text, want := range map[string]string{
		`$.repository`:                               `$.repository`,
		`$.vcs_roots[0].revision`:                    `$.vcs_roots[0].revision`,
		`$.oidc\.circleci\.com/project-id`:           `$.oidc\\.circleci\\.com/project-id`,
		`$.https://sts\.amazonaws\.com/.aws_account`: `$.https://sts\\.amazonaws\\.com/.aws_account`,
		`$.a\[0]`:   `$.a\\[0]`,
		`$.a b`:     `$.a b`,
		`$.a\.b,c`:  `"$.a\\.b,c"`,
		`$.f(x)[2]`: `"$.f(x)[2]"`,
	} {
		path := parse(t, text)[0]
		if path.String() != text {
			t.Errorf("%s: String gives %s", text, path)
		}
		if have := path.HAProxy(); have != want {
			t.Errorf("%s: HAProxy: want %s, have %s", text, want, have)
		}
	}
	var none provider.Path
	if _, ok := none.Lookup(map[string]any{"": "x"}); ok || none.String() != "" || none.HAProxy() != "" {
		t.Error("the zero Path addresses something")
	}
}

func TestPathWithin(t *testing.T) {
	for _, c := range []struct {
		path, outer string
		want        bool
	}{
		{`$.a.b`, `$.a`, true},
		{`$.a`, `$.a`, true},
		{`$.a[0]`, `$.a`, true},
		{`$.a`, `$.a.b`, false},
		{`$.ab`, `$.a`, false},
		{`$.a\.b`, `$.a`, false},
		{`$.a[0].b`, `$.a[1]`, false},
	} {
		if have := parse(t, c.path)[0].Within(parse(t, c.outer)[0]); have != c.want {
			t.Errorf("%s within %s: want %t, have %t", c.path, c.outer, c.want, have)
		}
	}
	if parse(t, `$.a`)[0].Within(provider.Path{}) {
		t.Error("$.a is within nothing")
	}
}

// What Go programs put into claims, beside what a decoder does.
func TestLookupOfGoValues(t *testing.T) {
	path := parse(t, `$.x`)[0]
	for _, c := range []struct {
		value any
		want  string
		ok    bool
	}{
		{"text", "text", true},
		{"", "", true},
		{7, "7", true},
		{int64(-7), "-7", true},
		{int64(1) << 53, "", false},
		{int64(math.MinInt64), "", false},
		{48211903317.0, "48211903317", true},
		{1.9, "1", true},
		{-1.9, "-1", true},
		{math.Copysign(0, -1), "0", true},
		{float64(1<<53 - 1), "9007199254740991", true},
		{float64(1 << 53), "", false},
		{math.NaN(), "", false},
		{math.Inf(1), "", false},
		{json.Number("12"), "12", true},
		{json.Number("12E2"), "12", true},
		{json.Number("-9223372036854775809"), "", false},
		{json.Number("x"), "", false},
		{json.Number(""), "", false},
		{true, "", false},
		{nil, "", false},
		{[]any{"a"}, "", false},
		{map[string]any{"a": "b"}, "", false},
		{[]string{"a"}, "", false},
	} {
		have, ok := path.Lookup(map[string]any{"x": c.value})
		if have != c.want || ok != c.ok {
			t.Errorf("%v (%T): want %q (%t), have %q (%t)", c.value, c.value, c.want, c.ok, have, ok)
		}
	}
	if have, ok := path.Lookup(nil); ok {
		t.Errorf("no claims: %q", have)
	}
}

// A path that is accepted is spelt as it was given, finds the value that it is
// built for, and cannot leave the single quotes it is written in.
func FuzzParsePath(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.path)
	}
	for _, text := range []string{`$.a'`, `$.a\`, `$[`, `$.a[1`, "$.\x00", `$.a[0][1].b`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := provider.ParsePath(text)
		if err != nil {
			return
		}
		if path.String() != text {
			t.Fatalf("%q is spelt %q", text, path)
		}
		if strings.ContainsAny(path.HAProxy(), "'\n\r\x00") {
			t.Fatalf("%q leaves its quotes: %s", text, path.HAProxy())
		}
		again, err := provider.ParsePath(path.String())
		if err != nil || !again.Within(path) || !path.Within(again) {
			t.Fatalf("%q: parsed again it is %q, %v", text, again, err)
		}
		if value, ok := path.Lookup(map[string]any{}); ok {
			t.Fatalf("%q finds %q in nothing", text, value)
		}
	})
}
