package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type file struct {
	Name  string            `yaml:"name"`
	Wait  Duration          `yaml:"wait"`
	Parts []part            `yaml:"parts"`
	Words map[string]string `yaml:"words"`
	Sub   *part             `yaml:"sub"`

	Line   int `yaml:"-"`
	hidden int
}

type part struct {
	Size int    `yaml:"size"`
	Kind string `yaml:"kind"`
}

func TestDecode(t *testing.T) {
	v := file{Wait: Duration(time.Second), hidden: 1}
	err := Decode([]byte("\ufeffname: a\nparts: [{size: 1}, {kind: b}]\n"), &v)
	want := file{Name: "a", Wait: Duration(time.Second), Parts: []part{{Size: 1}, {Kind: "b"}}, hidden: 1}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("have %+v, error %v", v, err)
	}
	for _, text := range []string{"", "# a comment\n", "\n\n"} {
		if err := Decode([]byte(text), &file{}); !errors.Is(err, ErrEmpty) {
			t.Errorf("%q: error %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"nme: a":                       `line 1, column 1: unknown key "nme": did you mean "name"?`,
		"name: a\nparts: [{siez: 1}]":  `line 2, column 10: unknown key "siez": did you mean "size"?`,
		"entirely_else: a":             `line 1, column 1: unknown key "entirely_else"`,
		"line: 1":                      `line 1, column 1: unknown key "line"`,
		"wait: soon":                   `line 1, column 7: "soon" is not a duration`,
		"parts: [{size: x}]":           "line 1, column 16: expected a whole number, not text",
		"name: a\n---\nname: b":        "a second document follows",
		"name: a\nname: b":             `line 2, column 1: mapping key "name" already defined`,
		"name: [SECRET, text":          "line 1",
		"name: a\n!!binary <<: *x\n\t": "",
	} {
		err := Decode([]byte(text), &file{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: have %v, want %s", text, err, want)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: the error shows the text: %v", text, err)
		}
	}
}

func TestKeys(t *testing.T) {
	want := []string{"name", "wait", "parts", "size", "kind", "words", "sub", "size", "kind"}
	if have := Keys(reflect.TypeFor[*file]()); !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}

func TestUnknown(t *testing.T) {
	for word, want := range map[string]string{"githb": `unknown x "githb": did you mean "github"?`, "zzzz": `unknown x "zzzz"`, "": `unknown x ""`} {
		if have := Unknown("x", word, []string{"gitlab", "github"}); have != want {
			t.Errorf("have %s, want %s", have, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, time.Hour: 3600, 1500 * time.Millisecond: 1} {
		if have := Duration(d).Seconds(); have != want {
			t.Errorf("%s: have %d", d, have)
		}
	}
}

func TestLocate(t *testing.T) {
	const text = `# comment
name: a
wait: &w 1s
parts:
- size: 1
  kind: b
- {size: 2, kind: null}
- <<: {kind: m, size: 9}
  size: 3
words:
  x: y
sub: *w
"quoted": 1
`
	places, err := Locate([]byte("\ufeff" + text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Place{
		"name": {2, 7}, "wait": {3, 10}, "parts": {5, 1}, "parts[0]": {5, 3}, "parts[0].size": {5, 9}, "parts[0].kind": {6, 9}, "parts[1]": {7, 3},
		"parts[1].size": {7, 10}, "parts[2].size": {9, 9}, "parts[2].kind": {8, 14}, "words": {11, 3}, "words.x": {11, 6}, "sub": {3, 10}, "quoted": {13, 11},
	} {
		if have := places.Find(path); have != want || !places.Has(path) {
			t.Errorf("%s: have %v, want %v", path, have, want)
		}
	}
	for path, want := range map[string]Place{
		"parts[1].kind": {7, 3}, "parts[0].other": {5, 3}, "parts[7]": {5, 1}, "parts[7].size": {5, 1}, "nothing": {1, 1}, "": {1, 1}, "words.z": {11, 3},
	} {
		if have := places.Find(path); have != want || places.Has(path) {
			t.Errorf("%s, which is not set: have %v, want that of what is around it, %v", path, have, want)
		}
	}
}

// TestLocateIsBounded: aliases of aliases, which unfold to more than any file
// holds, and an alias of itself.
func TestLocateIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d]\n", i+1, i+1, i)
	}
	start := time.Now()
	if places, err := Locate([]byte(b.String())); err == nil || places != nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("have %d places, error %v", len(places), err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := Locate([]byte("a: &a [*a]\n")); err == nil {
		t.Error("an alias of itself: no error")
	}
}

// FuzzLocate: never a panic, and what Decode reads has places.
func FuzzLocate(f *testing.F) {
	for _, text := range []string{"name: a\n", "parts: [{size: 1}]\n", "a: &a {b: 1}\nc: *a\n", "<<: {a: 1}\n", "- a\n", "a: !!str b\n", "? a\n: b\n", "a: |\n  b\n", "&a a: 1\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		places, err := Locate(text)
		var v file
		if Decode(text, &v) == nil && err == nil && v.Name != "" && !places.Has("name") {
			t.Errorf("name is %q, and nowhere in %v", v.Name, places)
		}
	})
}
