package logformat

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// values renders what a record holds: "field=value" in the order of the fields,
// then the extras.
func values(r *Record) map[string]string {
	m := make(map[string]string)
	for f := Field(0); f < NumFields; f++ {
		if !r.Has(f) {
			continue
		}
		switch f.Kind() {
		case KindText:
			m[f.String()] = string(r.Text[f])
		case KindInt:
			m[f.String()] = fmt.Sprint(r.Int[f])
		case KindTime:
			m[f.String()] = time.UnixMicro(r.Int[f]).UTC().Format("2006-01-02T15:04:05.000Z")
		case KindAddr:
			m[f.String()] = netip.AddrFrom16(r.Addr).Unmap().String()
		}
	}
	for _, e := range r.Extra {
		if e.Value != nil {
			m["extra:"+e.Name] = string(e.Value)
		}
	}
	if r.Truncated {
		m["truncated"] = r.Cut.String()
	}
	return m
}

// diff lists what is different, one line each.
func diff(got, want map[string]string) string {
	var b strings.Builder
	keys := slices.Collect(maps.Keys(want))
	for k := range got {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		g, okG := got[k]
		w, okW := want[k]
		if okG != okW || g != w {
			fmt.Fprintf(&b, "  %s: got %q (%v), want %q (%v)\n", k, g, okG, w, okW)
		}
	}
	return b.String()
}

// pairs reads "a=1; b=x y" into a map.
func pairs(s string) map[string]string {
	m := make(map[string]string)
	for p := range strings.SplitSeq(s, "; ") {
		if k, v, ok := strings.Cut(p, "="); ok {
			m[strings.TrimSpace(k)] = v
		}
	}
	return m
}

func mustCompile(t testing.TB, format string, opts Options) *Format {
	t.Helper()
	f, err := Compile(format, opts)
	if err != nil {
		t.Fatalf("Compile(%q): %v", format, err)
	}
	return f
}

// parse compiles and parses, and returns the values or the fault.
func parse(t testing.TB, format, line string, opts Options) (map[string]string, Fault) {
	t.Helper()
	f := mustCompile(t, format, opts)
	var r Record
	fault := f.Parse([]byte(line), &r)
	if fault.Reason != OK {
		return map[string]string{"fault": f.Describe(fault)}, fault
	}
	return values(&r), fault
}
