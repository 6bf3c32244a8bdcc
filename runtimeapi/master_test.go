package runtimeapi

import (
	"reflect"
	"testing"
	"time"
)

const procs26 = `#<PID>          <type>          <reloads>       <uptime>        <version>      
1805            master          2 [failed: 1]   0d00h00m28s     2.6.12-1+deb12u4
# workers
1976            worker          1               1d02h03m10s     2.6.12-1+deb12u4
# programs
77              mailer          0               0d00h00m28s     -              
`

const procs33 = `#<PID>          <type>          <reloads>       <uptime>        <version>      
3078            master          2 [failed: 0]   0d00h00m28s     3.3.0-7832fb21f
# workers
3207            worker          0               0d00h00m10s     3.3.0-7832fb21f
# old workers
3081            worker          1               0d00h00m27s     3.3.0-7832fb21f
`

func TestParseProcs(t *testing.T) {
	for reply, want := range map[string][]Proc{
		procs26: {
			{1805, "master", 2, 1, 28 * time.Second, false, "2.6.12-1+deb12u4"},
			{1976, "worker", 1, 0, 26*time.Hour + 3*time.Minute + 10*time.Second, false, "2.6.12-1+deb12u4"},
			{77, "mailer", 0, 0, 28 * time.Second, false, "-"},
		},
		procs33: {
			{3078, "master", 2, 0, 28 * time.Second, false, "3.3.0-7832fb21f"},
			{3207, "worker", 0, 0, 10 * time.Second, false, "3.3.0-7832fb21f"},
			{3081, "worker", 1, 0, 27 * time.Second, true, "3.3.0-7832fb21f"},
		},
	} {
		have, err := parseProcs(reply)
		if err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%v\n have %+v\n want %+v", err, have, want)
		}
		for i := range len(reply) { // cut anywhere: an error or a part, never something else
			part, err := parseProcs(reply[:i])
			if err == nil && !reflect.DeepEqual(part[:len(part)-1], want[:len(part)-1]) {
				t.Errorf("cut at %d: %+v", i, part)
			}
		}
	}
	for _, bad := range []string{"", "# workers\n", "1 master 0 [failed: 0] 0d00h00m28s 2.6\n", "#<PID>\nx\n",
		"#<PID>\n99999999999999999999 master 0 [failed: 0] 0d00h00m28s 2.6\n", "#<PID>\n# workers\n1 worker 0 0d00h00m28s 2.6\n"} {
		if have, err := parseProcs(bad); err == nil {
			t.Errorf("%q: %+v", bad, have)
		}
	}
}
