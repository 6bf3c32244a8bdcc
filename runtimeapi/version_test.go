package runtimeapi

import (
	"testing"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"3.0":                      {3, 0, 0, ""},
		"2.6.12-1+deb12u4":         {2, 6, 12, "-1+deb12u4"},
		"3.3.0-7832fb21f":          {3, 3, 0, "-7832fb21f"},
		"3.4-dev9-64a335366":       {3, 4, 0, "-dev9-64a335366"},
		"2.8.5~bpo1":               {2, 8, 5, "~bpo1"},
		"3.10.2":                   {3, 10, 2, ""},
		"3.0.0-5590ada47\n":        {3, 0, 0, "-5590ada47"},
		"HA-Proxy version 1.8.4-1": {1, 8, 4, "-1"},
		"HAProxy version 3.3.0-7832fb21f 2025/11/26 - https://haproxy.org/\nStatus: stable": {3, 3, 0, "-7832fb21f"},
	} {
		if have, err := ParseVersion(text); err != nil || have != want {
			t.Errorf("%q: %+v, %v; want %+v", text, have, err, want)
		}
	}
	for _, text := range []string{"", "3", "3.", ".3", "v3.0", "3.0x", "3.0.x", "three", "99999.1", " 3.0", "-3.0", "3.0.0.0", "HAProxy version"} {
		if have, err := ParseVersion(text); err == nil {
			t.Errorf("%q is %+v", text, have)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	rising := []string{"1.9.16", "2.0", "2.6.12-1+deb12u4", "2.6.13", "2.8", "3.0.0", "3.0.11", "3.2", "3.10"}
	for i, low := range rising {
		for j, high := range rising {
			a, _ := ParseVersion(low)
			b, _ := ParseVersion(high)
			want := map[bool]int{i < j: -1, i > j: 1}[true]
			if have := a.Compare(b); have != want {
				t.Errorf("%s to %s: %d, want %d", low, high, have, want)
			}
		}
	}
	dev, _ := ParseVersion("3.3-dev9")
	old, _ := ParseVersion("3.2.99")
	if !dev.AtLeast(3, 3) || !dev.AtLeast(2, 8) || dev.AtLeast(3, 4) || old.AtLeast(3, 3) || (Version{}).AtLeast(2, 6) {
		t.Error("AtLeast is wrong")
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"2.6.12-1+deb12u4", "HAProxy version 3.3.0-x 2025", "3.4-dev9", "1.2.3~4", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVersion(text)
		if err != nil {
			if v != (Version{}) {
				t.Fatalf("%q: an error and %+v", text, v)
			}
			return
		}
		if again, err := ParseVersion(v.String()); err != nil || again != v {
			t.Fatalf("%q is %+v, its text %q is %+v, %v", text, v, v.String(), again, err)
		}
	})
}
