package peers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// keysOf a type, as they travel and as they are told.
var keysOf = map[string]struct {
	kind, length uint64
	keys         [][2]string
}{
	"integer": {2, 4, [][2]string{{four(0), "0"}, {four(4294967295), "4294967295"}}},
	"ip":      {4, 4, [][2]string{{"\x7f\x00\x00\x01", "127.0.0.1"}, {"\x00\x00\x00\x00", "0.0.0.0"}}},
	"ipv6": {5, 16, [][2]string{
		{strings.Repeat("\x00", 16), "::"}, {strings.Repeat("\x00", 15) + "\x01", "::1"},
		{"\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01", "2001:db8::1"},
		{strings.Repeat("\x00", 10) + "\xff\xff\x0a\x00\x00\x01", "::ffff:10.0.0.1"},
		{strings.Repeat("\x00", 12) + "\x01\x02\x03\x04", "::1.2.3.4"},
		{strings.Repeat("\x00", 12) + "\x00\x00\x03\x04", "::304"},
	}},
	"string": {6, 9, [][2]string{{prefixed(""), ""}, {prefixed("12345678"), "12345678"}, {prefixed("a\xff\n "), "a\xff\n "}}},
	"binary": {7, 3, [][2]string{{"\x00\x01\xff", "\x00\x01\xff"}}},
}

// TestKeys: each type's keys, and each cut one.
func TestKeys(t *testing.T) {
	for kind, tc := range keysOf {
		d, err := parseDefinition([]byte(number(1)+prefixed("t")+number(tc.kind)+number(tc.length)+number(1<<9)+number(0)), dataTypes())
		if err != nil || d.keyType != kind {
			t.Fatalf("%s: %v, %+v", kind, err, d)
		}
		for _, key := range tc.keys {
			content := key[0] + number(77)
			var u update
			if err := u.parse(cursor{rest: []byte(content)}, &d); err != nil || string(u.key) != key[1] || u.values[0] != 77 {
				t.Errorf("%s %q: %v, %q, %v", kind, key[1], err, u.key, u.values)
			}
			for i := range content {
				if err := u.parse(cursor{rest: []byte(content[:i])}, &d); !errors.Is(err, errMalformed) {
					t.Errorf("%s %q, %d bytes: %v", kind, key[1], i, err)
				}
			}
		}
	}
}

// sampleOf is a value of a form, as it travels and as it is told.
func sampleOf(r *rand.Rand, f field) (wire string, value uint64, last recent) {
	n := r.Uint64() >> r.IntN(64)
	switch f.form {
	case number64:
		return number(n), n, recent{}
	case rate:
		age, curr, prev := uint32(r.IntN(3*int(f.Period.Milliseconds()))), uint32(n), uint32(r.IntN(3))
		within := time.Duration(age) * time.Millisecond
		if n%5 == 0 {
			age, within = -uint32(r.IntN(skew)), 0 // of another thread's clock
		}
		if prev > 0 {
			within += f.Period
		}
		return number(uint64(age)) + number(uint64(curr)) + number(uint64(prev)), perPeriod(age, curr, prev, milliseconds(f.Period)), recent{uint64(curr) + uint64(prev), within}
	case word:
		switch r.IntN(3) {
		case 0:
			return number(0), 0, recent{}
		case 1:
			return prefixed(number(1 + n%128)), 0, recent{}
		}
		return prefixed(number(1+n%128) + prefixed(strings.Repeat("w", r.IntN(300)))), 0, recent{}
	}
	if n%3 == 0 {
		return number(-(n % 1000)), uint64(uint32(-(n % 1000))), recent{} // a signed one
	}
	return number(n % (1 << 32)), n % (1 << 32), recent{}
}

// TestValues: tables of any data types, written by hand and read back; every cut and
// every longer one is refused.
func TestValues(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	types := dataTypes()
	for range 300 {
		bits := r.Uint64() & (1<<len(types) - 1)
		var parameters string
		for i, dt := range types {
			if bits&(1<<i) == 0 {
				continue
			}
			if dt.array || dt.form == rate {
				parameters += number(uint64(i))
			}
			if dt.array {
				parameters += number(1 + r.Uint64N(5))
			}
			if dt.form == rate {
				parameters += number(1 + r.Uint64N(100_000))
			}
		}
		d, err := parseDefinition([]byte(number(1)+prefixed("t")+number(6)+number(20)+number(bits)+number(1000)+parameters), types)
		if err != nil {
			t.Fatal(err)
		}
		content := prefixed("a key")
		var values []uint64
		var last []recent
		for _, f := range d.fields {
			wire, value, l := sampleOf(r, f)
			content += wire
			values = append(values, value)
			last = append(last, l)
		}
		var u update
		if err := u.parse(cursor{rest: []byte(content)}, &d); err != nil || !slices.Equal(u.values, values) || !slices.Equal(u.recent, last) {
			t.Fatalf("%v\nhave %v %v\nwant %v %v", err, u.values, u.recent, values, last)
		}
		for i := range content {
			if err := u.parse(cursor{rest: []byte(content[:i])}, &d); !errors.Is(err, errMalformed) {
				t.Fatalf("%d of %d bytes: %v", i, len(content), err)
			}
		}
		if err := u.parse(cursor{rest: []byte(content + "\x00")}, &d); !errors.Is(err, errMalformed) {
			t.Fatalf("a byte more: %v", err)
		}
	}
}

// TestWords: a dictionary's entry that is none.
func TestWords(t *testing.T) {
	d, err := parseDefinition([]byte(number(1)+prefixed("t")+number(2)+number(4)+number(1<<19)+number(0)), dataTypes())
	if err != nil {
		t.Fatal(err)
	}
	for name, word := range map[string]string{
		"index 0":          prefixed(number(0)),
		"longer inside":    prefixed(number(1) + number(50) + "abc"),
		"longer than all":  number(1<<60) + "abc",
		"something behind": prefixed(number(1) + prefixed("abc") + "x"),
		"endless":          prefixed("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	} {
		var u update
		if err := u.parse(cursor{rest: []byte(four(1) + word)}, &d); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeads: an update's number, its own or the next one, and the time that is left.
func TestHeads(t *testing.T) {
	for name, tc := range map[string]struct {
		m    message
		want string
	}{
		"own":         {message{classTable, tableUpdate, []byte(four(7) + "rest")}, "7 false 0s"},
		"next":        {message{classTable, tableNext, []byte("rest")}, "100 false 0s"},
		"own, timed":  {message{classTable, tableUpdateTimed, []byte(four(8) + four(1500) + "rest")}, "8 true 1.5s"},
		"next, timed": {message{classTable, tableNextTimed, []byte(four(20) + "rest")}, "100 true 20ms"},
	} {
		var u update
		c, err := u.parseHead(tc.m, 99)
		if have := fmt.Sprint(u.id, u.timed, u.expire); err != nil || have != tc.want || string(c.rest) != "rest" {
			t.Errorf("%s: %v, %s, want %s, rest %q", name, err, have, tc.want, c.rest)
		}
	}
	var u update
	if _, err := u.parseHead(message{classTable, tableNext, nil}, 4294967295); err != nil || u.id != 0 {
		t.Errorf("%v, %d after the last number", err, u.id)
	}
}

// FuzzUpdate: any definition and any update of it: an error or values for every field,
// in memory that the message pays for.
func FuzzUpdate(f *testing.F) {
	f.Add([]byte(stick(1, "st")), []byte(entry("a", 7)))
	f.Add([]byte(number(1)+prefixed("t")+number(2)+number(4)+number(1<<19)+number(0)), []byte(four(1)+prefixed(number(1)+prefixed("web1"))))
	f.Fuzz(func(t *testing.T, define, content []byte) {
		d, err := parseDefinition(define, dataTypes())
		if err != nil || d.unread != "" {
			return
		}
		if len(d.fields) > len(dataTypes())+3*maxElements {
			t.Fatalf("%d columns", len(d.fields))
		}
		var u update
		if err := u.parse(cursor{rest: content}, &d); err != nil {
			if !errors.Is(err, errMalformed) {
				t.Error(err)
			}
			return
		}
		if len(u.values) != len(d.fields) || len(u.recent) != len(d.fields) || len(u.key) > max(len(content), 45) {
			t.Errorf("%d values, %d fields, a key of %d bytes", len(u.values), len(d.fields), len(u.key))
		}
	})
}
