package logformat

import (
	"bytes"
	"testing"
)

// fuzzFormats are those that FuzzParse reads any line with.
func fuzzFormats(t testing.TB) []*Format {
	formats := []*Format{
		mustCompile(t, `%{+json}o %(a)ci %(t)tr %(h)hr %(r)r %(s)[var(txn.sub)] %(n)rc`, Options{}),
		mustCompile(t, `%{+X}o %ci:%cp [%t] %Ts %ms %rt %{+Q,+E}[var(txn.sub)] %{+E}r`, Options{}),
		mustCompile(t, `%ci:%cp [%T] %CC %CS %[var(txn.sub)] %[var(txn.iat)] %hrl %hsl`, Options{}),
		mustCompile(t, `%hr %hs %{+Q}hrl %Ts%ms %HM %HP%HQ %HV %[src] %f:%b`, Options{RequestHeaders: []string{"host", "x-ci-run"}}),
	}
	for _, format := range trapFormats {
		formats = append(formats, mustCompile(t, format, Options{}),
			mustCompile(t, format, Options{RequestHeaders: []string{"host", "x"}, ResponseHeaders: []string{"y"}}))
	}
	for _, b := range benchLines {
		formats = append(formats, mustCompile(t, b.format, Options{}))
	}
	for _, b := range builtins {
		formats = append(formats, mustCompile(t, b.format, Options{}))
	}
	return formats
}

// FuzzParse: whatever the line, Parse does not panic, reads it twice the same
// way, and where it reads it whole, the raw values and the literals between
// them are the line again, byte by byte.
func FuzzParse(f *testing.F) {
	formats := fuzzFormats(f)
	for i := range formats {
		for _, b := range benchLines {
			f.Add(uint8(i), []byte(b.line))
		}
	}
	// Read whole, though no reading that resolve tries is plausible.
	f.Add(uint8(61), []byte(`00.00.000.0:0 [01/Nov/0000:00:00:00.000] 00000 000000/0000 0/0/0/0/0 0 0 0 0 AAAA 0/0/0/0/0 0/0 "000" "" "" "" "" "" """ "" "" "00"`))
	for i := range 2 * len(trapFormats) {
		for _, line := range trapLines {
			f.Add(uint8(4+i), []byte(line))
		}
	}
	f.Add(uint8(0), []byte(`{"a": "::1", "t": "23/Nov/2026:11:10:03.499", "h": ["a", null], "r": "GET /x HTTP/1.1", "s": "a\"b", "n": "+1"}`))
	f.Add(uint8(1), []byte(`7F000001:0050 [23/Nov/2026:11:10:03.499] 6B043639 7C 0000 "a\"b" GET /a\]b HTTP/1.1`))
	f.Add(uint8(2), []byte(`unix:1 [23/Nov/2026:11:10:03 +0000] A=b c - sub 17 x y`))
	f.Add(uint8(3), []byte(`{h|r} "a" "b" 1795438137124 GET /a?b HTTP/1.1 ::ffff:1.2.3.4 fe:be`))
	f.Fuzz(func(t *testing.T, n uint8, line []byte) {
		format := formats[int(n)%len(formats)]
		var rec, again Record
		before := bytes.Clone(line)
		fault := format.Parse(line, &rec)
		if !bytes.Equal(before, line) {
			t.Fatalf("the line was changed: %q, was %q", line, before)
		}
		if second := format.Parse(line, &again); second != fault {
			t.Fatalf("%q: %v, then %v", line, fault, second)
		}
		if fault.Reason != OK {
			if fault.Pos > len(line) || fault.Item >= len(format.items) {
				t.Fatalf("%q: %v", line, fault)
			}
			return
		}
		if d := diff(values(&rec), values(&again)); d != "" {
			t.Fatalf("%q, read again: %s", line, d)
		}
		if !rec.Truncated {
			checkRejoin(t, format, line)
		}
	})
}

// checkRejoin steps through the ops one by one: each value and the literal
// behind it begin where the one before ended, and together they are the line.
func checkRejoin(t *testing.T, f *Format, line []byte) {
	t.Helper()
	line = trimEnd(line)
	var rec Record
	rec.begin(f)
	if f.resolve(line, &rec) == 1 {
		rec.forced = rec.ends[len(f.choices) : 2*len(f.choices)]
	} else {
		rec.begin(f)
	}
	joined := []byte(f.lead)
	pos := len(f.lead)
	for i := range f.ops {
		o := &f.ops[i]
		end, _, why := f.exec(line, &rec, i, i+1, pos)
		if why != OK {
			t.Fatalf("%q: op %d alone fails at %d", line, i, pos)
		}
		part := line[pos:end]
		lit := o.lit
		if o.mayBeAbsent() && !bytes.HasSuffix(part, []byte(lit)) && len(lit) > 0 && lit[0] == ' ' {
			lit = lit[1:] // merged with the blank before it
		}
		if end == len(line) && o.tail && !bytes.HasSuffix(part, []byte(lit)) {
			lit = o.closing()
		}
		if !bytes.HasSuffix(part, []byte(lit)) {
			t.Fatalf("%q: behind op %d stands %q, not %q", line, i, part, lit)
		}
		value := part[:len(part)-len(lit)]
		joined = append(append(joined, value...), lit...)
		pos = end
	}
	joined = append(joined, line[pos:]...)
	if !onlyBlanks(line[pos:]) || !bytes.Equal(joined, line) {
		t.Fatalf("%q joins to %q", line, joined)
	}
}

// FuzzCompile: whatever the format and the line, nothing panics, and an error
// names a place in the format.
func FuzzCompile(f *testing.F) {
	for _, b := range builtins {
		f.Add(b.format, b.format)
	}
	for _, s := range []string{`%{+json}o %(a:int)ST`, `%[str("]"),json] x`, `%%%{-M,+Q}[var(txn.a),url_enc]%hr%hs`, `%(`, `%{+E}[x(\`} {
		f.Add(s, "200 x")
	}
	f.Fuzz(func(t *testing.T, format, line string) {
		c, err := Compile(format, Options{})
		if err != nil {
			ce, ok := err.(*CompileError)
			if !ok || ce.Pos < 1 || ce.Pos > len(format)+1 {
				t.Fatalf("%q: %v", format, err)
			}
			return
		}
		for _, d := range c.Diagnostics() {
			if d.Pos < 1 || d.Pos > len(format) {
				t.Fatalf("%q: %v", format, d)
			}
		}
		var rec Record
		fault := c.Parse([]byte(line), &rec)
		_ = c.Describe(fault)
		_ = values(&rec)
	})
}

// FuzzConfig: no configuration makes the reader panic; a format that it finds
// can be handed to Compile.
func FuzzConfig(f *testing.F) {
	f.Add(testConfig)
	f.Add("frontend a\n log-format \"%ci ${X[*]} ${Y-z} \\x41\" # c\n.if x\nlisten b from c")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ConfigFormats(bytes.NewReader([]byte(text)), "haproxy.cfg", func(name string) (string, bool) { return name, name != "NO" })
		if err != nil {
			return
		}
		for _, c := range all {
			if c.Format != "" {
				_, _ = Compile(c.Format, c.Options(Options{}))
			}
		}
	})
}

// FuzzClassify: no line makes it panic, and an event has a kind.
func FuzzClassify(f *testing.F) {
	for _, tc := range classifyCases {
		f.Add([]byte(tc.line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, ok := Classify(line); ok && e.Kind == "" {
			t.Fatalf("%q: an event without a kind", line)
		}
	})
}
