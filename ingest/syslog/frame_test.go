package syslog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// frames cuts stream into reads by the sizes that next gives and returns what
// came out of it: messages, and "reason!bytes" for rejects.
func frames(f framer, stream []byte, next func() int) []string {
	var out []string
	var held []byte
	for len(stream) > 0 {
		n := min(max(next(), 1), len(stream))
		held = append(held, stream[:n]...)
		stream = stream[n:]
		for more := true; more; {
			frame, used, v := f.next(held)
			switch v {
			case gotMessage:
				out = append(out, string(frame))
			case gotReject:
				out = append(out, f.reason+"!"+string(frame))
			case outOfStep:
				return append(out, f.reason+"!")
			case wantMore:
				more = false
			}
			held = held[used:]
		}
	}
	if f.begun(len(held)) && !f.skippingOver() {
		out = append(out, "half!"+string(trimEnd(held)))
	}
	return out
}

func whole() int { return 1 << 30 }

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := []struct {
		name, in string
		want     []string
	}{
		{"octet count", "5 <1>ab5 <1>cd", []string{"<1>ab", "<1>cd"}},
		{"octet count, LF between", "5 <1>ab\n5 <1>cd\n", []string{"<1>ab", "<1>cd"}},
		{"octet count, LF and NUL inside are data", "8 <1>a\nb\x00c3 <1>", []string{"<1>a\nb\x00c", "<1>"}},
		{"octet count, ends in NUL", "6 <1>ab\x006 <1>cd\n", []string{"<1>ab", "<1>cd"}},
		{"octet count of nothing but NUL", "1 \x005 <1>ab", []string{"<1>ab"}},
		{"octet count, raw text", "8 n=16 /x08 n=17 /x1", []string{"n=16 /x0", "n=17 /x1"}},
		{"octet count, out of step", "5 <1>abc5 <1>cd", []string{"<1>ab", "bad_frame!"}},
		{"octet count without blank", "5 <1>ab5<1>cd", []string{"<1>ab", "bad_frame!"}},
		{"octet count with leading zero", "5 <1>ab05 <1>cd", []string{"<1>ab", "bad_frame!"}},
		{"octet count that is huge", "9999999999 <1>ab", []string{"bad_frame!"}},
		{"octet count of 11 digits", "12345678901 <1>ab", []string{"bad_frame!"}},
		{"octet count of 11 digits, no blank", "12345678901", []string{"bad_frame!"}},
		{"octet count over max_line", "65 " + long + "5 <1>ab", []string{"too_long!" + long[:64], "<1>ab"}},
		{"octet count of max_line", "64 " + long[:64] + "5 <1>ab", []string{long[:64], "<1>ab"}},
		{"octet count cut", "5 <1>ab9 <1>", []string{"<1>ab", "half!<1>"}},
		{"octet count cut after the count", "5 <1>ab9 ", []string{"<1>ab", "half!"}},
		{"octet count cut in the count", "5 <1>ab12", []string{"<1>ab", "half!12"}},
		{"octet count cut in an over-long one", "900 " + long, []string{"too_long!" + long[:64]}},

		{"lines", "<1>ab\n<1>cd\n", []string{"<1>ab", "<1>cd"}},
		{"lines, CR LF", "<1>ab\r\n<1>cd\r\n", []string{"<1>ab", "<1>cd"}},
		{"lines, empty ones", "\n\n<1>ab\n\r\n\n<1>cd\n", []string{"<1>ab", "<1>cd"}},
		{"lines, CR inside is data", "<1>a\rb\n", []string{"<1>a\rb"}},
		{"lines, NUL after LF is data", "<1>ab\n<1>c\x00d\n", []string{"<1>ab", "<1>c\x00d"}},
		{"lines, NUL before each LF", "<1>ab\x00\n<1>c\x00d\n<1>ef\x00\n", []string{"<1>ab", "<1>c\x00d", "<1>ef"}},
		{"NUL ends", "<1>ab\x00<1>cd\x00<1>ef\n<1>gh\x00", []string{"<1>ab", "<1>cd", "<1>ef", "<1>gh"}},
		{"lines that begin with an address", "10.0.0.1:42 [x]\n::1:42 [x]\n", []string{"10.0.0.1:42 [x]", "::1:42 [x]"}},
		{"lines that begin with a date", "2026-11-23T1 x\n2026-11-23T2 x\n", []string{"2026-11-23T1 x", "2026-11-23T2 x"}},
		{"lines that begin with a zero", "0 a\n0 b\n", []string{"0 a", "0 b"}},
		{"lines, digits later", "<1>ab\n5 <1>cd\n", []string{"<1>ab", "5 <1>cd"}},
		{"line over max_line", "<1>ab\n" + long + "\n<1>cd\n", []string{"<1>ab", "too_long!" + long[:64], "<1>cd"}},
		{"line of max_line", long[:64] + "\n<1>cd\n", []string{long[:64], "<1>cd"}},
		{"line far over max_line", strings.Repeat(long, 40) + "\n<1>cd\n", []string{"too_long!" + long[:64], "<1>cd"}},
		{"line cut", "<1>ab\n<1>c", []string{"<1>ab", "half!<1>c"}},
		{"over-long line cut", "<1>ab\n" + long, []string{"<1>ab", "too_long!" + long[:64]}},

		{"nothing", "", nil},
		{"only terminators", "\r\n\x00\n", nil},
		{"digits only", "123", []string{"half!123"}},
		{"TLS handshake", "\x16\x03\x01\x02\x00", []string{"garbage!"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := framer{maxLine: 64}
			if got := frames(f, []byte(tt.in), whole); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("whole: got %q, want %q", got, tt.want)
			}
			for size := 1; size <= len(tt.in); size++ {
				if got := frames(f, []byte(tt.in), func() int { return size }); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("in reads of %d: got %q, want %q", size, got, tt.want)
				}
			}
		})
	}
}

// TestFramesAbandoned gives a message up at every byte and looks for the next.
func TestFramesAbandoned(t *testing.T) {
	for _, in := range []string{"20 <1>aaaaaaaaaaaaaaaaa5 <1>cd", "<1>aaaaaaaaaaaaaaaaa\n<1>cd\n"} {
		for cut := 4; cut < 20; cut++ {
			f := framer{maxLine: 64}
			held, rest := []byte(in)[:cut], []byte(in)[cut:]
			for v := gotNothing; v != wantMore; {
				var n int
				_, n, v = f.next(held)
				held = held[n:]
			}
			f.abandon(held)
			if got := frames(f, rest, whole); !reflect.DeepEqual(got, []string{"<1>cd"}) {
				t.Errorf("%q abandoned with %d bytes: got %q", in, cut, got)
			}
		}
	}
}

// FuzzFrames holds the framer to two properties: it never reads or returns
// what is not there, and how a stream is cut into reads does not show.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"5 <1>ab5 <1>cd", "<1>ab\n<1>cd\n", "<1>ab\x00<1>cd\x00\n", "9999999999 x", "70 " + strings.Repeat("x", 70) + "3 abc",
		strings.Repeat("y", 80) + "\nz\n", "10.0.0.1:2 x\n", "\x16\x03\x01", "5 <1>abx", "\n\n\x00", "12", "a\x00\nb\x00c\n",
	} {
		for style := range uint8(3) {
			f.Add([]byte(s), style, uint64(1))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, styles uint8, seed uint64) {
		fr := framer{style: style(styles % 3), maxLine: 64}
		want := frames(fr, in, whole)
		random := rand.New(rand.NewPCG(seed, 0))
		got := frames(fr, in, func() int { return 1 + random.IntN(9) })
		if !reflect.DeepEqual(got, want) {
			t.Errorf("in pieces %q\nwhole     %q", got, want)
		}
		total := 0
		for _, s := range want {
			total += len(s)
		}
		if most := len(in) + len(want)*len(ReasonBadFrame+"!"); total > most {
			t.Errorf("%d bytes came out of %d", total, len(in))
		}
	})
}

// FuzzFramesRoundTrip writes messages in either framing and reads them back.
func FuzzFramesRoundTrip(f *testing.F) {
	f.Add([]byte("<1>ab|<1>c\nd|5 x|"), uint64(1))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		var counted, lines bytes.Buffer
		var wantCounted, wantLines []string
		for m := range bytes.SplitSeq(in, []byte("|")) {
			m = trimEnd(m)
			if len(m) == 0 || len(m) > 64 {
				continue
			}
			fmt.Fprintf(&counted, "%d %s", len(m), m)
			wantCounted = append(wantCounted, string(m))
			if !bytes.ContainsRune(m, '\n') {
				lines.Write(append(m[:len(m):len(m)], '\n'))
				wantLines = append(wantLines, string(m))
			}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		chunk := func() int { return 1 + random.IntN(9) }
		if got := frames(framer{style: styleCounted, maxLine: 64}, counted.Bytes(), chunk); !reflect.DeepEqual(got, wantCounted) {
			t.Errorf("octet-counted: got %q, want %q", got, wantCounted)
		}
		if got := frames(framer{style: styleLines, nul: nulIsData, maxLine: 64}, lines.Bytes(), chunk); !reflect.DeepEqual(got, wantLines) {
			t.Errorf("lines: got %q, want %q", got, wantLines)
		}
	})
}
