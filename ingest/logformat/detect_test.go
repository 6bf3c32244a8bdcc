package logformat

import (
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	http, https := benchLines[0].line, benchLines[0].line+` 0/0000000000000000/0/0/0 h/TLSv1.3/X`
	const tcp = `127.0.0.1:40546 [23/Nov/2026:11:10:11.031] tcp tcp/s1 1/0/0 119 -- 2/1/0/0/0 0/0`
	const tls = `127.0.0.1:1 [23/Nov/2026:11:10:11.029] https/1: SSL handshake failure`
	for _, tc := range []struct {
		name, want string
		matched    int
		lines      []string
	}{
		{"httplog", "httplog", 1, []string{http, "", tls}},
		{"mixed", "tcplog httpslog httplog", 3, []string{https, tcp, http, tcp, tcp, https, tls}},
		{"haptrail", "haptrail", 1, []string{benchLines[2].line}},
		{"a cut line says less than a whole one", "httpslog httplog", 2, []string{http[:150], http[:140], https}},
		{"some lines unknown", "tcplog", 1, []string{"hello", tcp}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, matched, err := Detect(byteLines(tc.lines), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(set.Names()[:matched], " "); got != tc.want || matched != tc.matched {
				t.Errorf("%d: %s, want %s", matched, got, tc.want)
			}
			if len(set.Names()) != len(builtins) {
				t.Errorf("the set lacks siblings: %s", set.Names())
			}
		})
	}
}

func TestDetectFails(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  string
	}{
		{nil, "there are no log lines"},
		{[]string{"Connect from 1.2.3.4:5 to 1.2.3.4:6 (a/HTTP)"}, "there are no log lines"},
		{[]string{"x", "1.2.3.4:5 [23/Nov/2026:11:10:11.031] fe be/s 1/2/x", "y"},
			"tried httplog, httpslog, tcplog, clf, haptrail, tcpclf on 3 lines; httplog came nearest: bad_number at byte 49 of the line, in %Tc (position 33 of the format); the line was \"1.2.3.4:5"},
	} {
		_, _, err := Detect(byteLines(tc.lines), Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q:\n got %v\nwant %s", tc.lines, err, tc.want)
		}
	}
}

func byteLines(lines []string) [][]byte {
	out := make([][]byte, len(lines))
	for i, l := range lines {
		out[i] = []byte(l)
	}
	return out
}

// A line of the user's own format is not taken for a cut one of a built-in.
func TestDetectDoesNotTakeLongerLinesForCutOnes(t *testing.T) {
	line := `10.0.0.1:1 [23/Nov/2026:10:00:01.000] fe be/s1 0/0/0/1/1 200 9 - - ---- 1/1/0/0/0 0/0 "POST /releases/1 HTTP/1.1" "deployer" "space"`
	set, _, err := Detect([][]byte{[]byte(line)}, Options{})
	if err == nil {
		t.Errorf("taken for %v", set.Names())
	}
}
