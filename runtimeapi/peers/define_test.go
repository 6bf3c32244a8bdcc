package peers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// TestDefinition: what a table's columns are.
func TestDefinition(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		want    string
	}{
		"string":  {stick(3, "st"), "3 st string/32 1m0s http_req_cnt http_req_rate(10000) bytes_in_cnt+"},
		"integer": {number(1) + prefixed("a") + number(2) + number(4) + number(1) + number(0), "1 a integer/4 0s server_id"},
		"ip":      {number(1) + prefixed("a") + number(4) + number(4) + number(1<<6) + number(0), "1 a ip/4 0s conn_cur"},
		"ipv6":    {number(1) + prefixed("a") + number(5) + number(16) + number(0) + number(1), "1 a ipv6/16 1ms"},
		"binary":  {number(1<<40) + prefixed("a") + number(7) + number(8) + number(1<<19) + number(0), "1099511627776 a binary/8 0s server_key"},
		"arrays": {
			number(1) + prefixed("a") + number(6) + number(9) + number(1<<22|1<<23|1<<24) + number(0) + number(22) + number(1) + number(23) + number(3) + number(24) + number(2) + number(60_000),
			"1 a string/9 0s gpt0 gpc0 gpc1 gpc2 gpc0_rate(60000) gpc1_rate(60000)",
		},
		"without time to live":     {number(1) + prefixed("a") + number(2) + number(4) + number(1<<9), "1 a integer/4 0s http_req_cnt"},
		"unknown type of keys":     {number(1) + prefixed("a") + number(9) + number(4) + number(1<<9), "type number 9"},
		"unknown data type":        {number(1) + prefixed("a") + number(2) + number(4) + number(1<<9|1<<27|1<<63) + "??", "(number 27, number 63)"},
		"no name":                  {number(1) + number(0) + number(2) + number(4) + number(1<<9), "malformed"},
		"keys of no length":        {number(1) + prefixed("a") + number(6) + number(0) + number(1<<9), "length of 0"},
		"keys of 2^40":             {number(1) + prefixed("a") + number(6) + number(1<<40) + number(1<<9), "length of 1099511627776"},
		"ip of 16 bytes":           {number(1) + prefixed("a") + number(4) + number(16) + number(1<<9), "length of 16"},
		"wrong parameters":         {number(1) + prefixed("a") + number(2) + number(4) + number(1<<10) + number(0) + number(5) + number(1000), "data type number 5 are where those of http_req_rate"},
		"no parameters":            {number(1) + prefixed("a") + number(2) + number(4) + number(1<<10), "ends before the parameters of http_req_rate"},
		"period of 0":              {number(1) + prefixed("a") + number(2) + number(4) + number(1<<10) + number(0) + number(10) + number(0), "period of 0 ms"},
		"period of 2^32":           {number(1) + prefixed("a") + number(2) + number(4) + number(1<<10) + number(0) + number(10) + number(1<<32), "period of 4294967296 ms"},
		"array of 0":               {number(1) + prefixed("a") + number(2) + number(4) + number(1<<23) + number(0) + number(23) + number(0), "0 elements"},
		"array of 2^62":            {number(1) + prefixed("a") + number(2) + number(4) + number(1<<23) + number(0) + number(23) + number(1<<62), "4611686018427387904 elements"},
		"something after the end":  {stick(3, "st") + "x", "1 bytes follow"},
		"name longer than message": {number(1) + number(1<<60) + "a", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := parseDefinition([]byte(tc.content), dataTypes())
			have := fmt.Sprintf("%d %s %s/%d %v", d.id, d.name, d.keyType, d.keyLen, d.expire)
			for _, f := range d.fields {
				have += " " + f.String()
				if f.Wide {
					have += "+"
				}
			}
			switch {
			case err != nil:
				if have = err.Error(); !errors.Is(err, errMalformed) {
					t.Errorf("%v is not errMalformed", err)
				}
			case d.unread != "":
				have = d.unread
			}
			if (err == nil && d.unread == "") && have != tc.want || !strings.Contains(have, tc.want) {
				t.Errorf("have %s\nwant %s", have, tc.want)
			}
		})
	}
}

// TestDefinitionCut: no beginning of a definition with a rate is one.
func TestDefinitionCut(t *testing.T) {
	whole := stick(300, "a table")
	for i := range whole {
		if d, err := parseDefinition([]byte(whole[:i]), dataTypes()); err == nil {
			t.Errorf("%d of %d bytes: %+v", i, len(whole), d)
		}
	}
}

// TestRatePairs: each rate knows its counter, but those of bytes.
func TestRatePairs(t *testing.T) {
	var bits uint64
	var parameters string
	types := dataTypes()
	for i, dt := range types {
		if dt.name == "gpc0" || dt.name == "gpc0_rate" || dt.name == "gpc1" || dt.name == "gpc1_rate" {
			continue // HAProxy allows these or the arrays
		}
		bits |= 1 << i
		if dt.array || dt.form == rate {
			parameters += number(uint64(i))
		}
		if dt.array {
			parameters += number(2)
		}
		if dt.form == rate {
			parameters += number(1000)
		}
	}
	d, err := parseDefinition([]byte(number(1)+prefixed("a")+number(6)+number(9)+number(bits)+number(0)+parameters), types)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range d.fields {
		if f.counts >= 0 {
			have = append(have, f.Name+"="+d.fields[f.counts].Name)
		}
	}
	want := []string{
		"conn_rate=conn_cnt", "sess_rate=sess_cnt", "http_req_rate=http_req_cnt", "http_err_rate=http_err_cnt", "http_fail_rate=http_fail_cnt",
		"gpc0_rate=gpc0", "gpc1_rate=gpc1", "glitch_rate=glitch_cnt",
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %v\nwant %v", have, want)
	}
}

// TestPerPeriod: HAProxy's estimate, held against the same in whole numbers of any
// size, and against a counter that is fed event by event.
func TestPerPeriod(t *testing.T) {
	for _, tc := range []struct {
		age, curr, prev, period uint32
		want                    uint64
	}{
		{0, 1, 0, 1000, 1}, {999, 1, 0, 1000, 1},
		{1000, 1, 0, 1000, 1}, {1999, 1, 0, 1000, 1}, {2000, 1, 0, 1000, 1}, // one event does not fade within two periods
		{2001, 1, 0, 1000, 0},
		{500, 0, 10, 1000, 5}, {0, 0, 10, 1000, 10}, {250, 4, 10, 1000, 11},
		{1500, 10, 99, 1000, 5}, {3000, 10, 99, 1000, 0},
		{4294947296, 0, 0, 1000, 0}, // never used: its beginning is HAProxy's zero
		{0, 4294967295, 4294967295, 1 << 30, 4294967294},
	} {
		if have := perPeriod(tc.age, tc.curr, tc.prev, tc.period); have != tc.want {
			t.Errorf("%+v: %d", tc, have)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		period := uint32(1 + r.IntN(5000))
		var start, curr, prev uint32 // as HAProxy keeps them
		var events []uint32
		for now := uint32(10 * period); now < 16*period; now += uint32(1 + r.IntN(int(period))) {
			if now-start >= period { // update_freq_ctr_period
				prev, curr = curr, 0
				if start += period; now-start >= period {
					prev, start = 0, now
				}
			}
			curr++
			events = append(events, now)
			read := now + uint32(r.IntN(int(3*period)))
			have, most := perPeriod(read-start, curr, prev, period), uint64(0)
			for _, at := range events {
				if read-at <= 2*period {
					most++ // it can only be of the last two
				}
			}
			if have > most || read == now && have == 0 {
				t.Fatalf("period %d: %d events told, %d were within two periods", period, have, most)
			}
		}
	}
}

// TestElement: the names of an array's elements.
func TestElement(t *testing.T) {
	for want, have := range map[string]string{"gpc2": element("gpc", 2), "gpc12_rate": element("gpc_rate", 12), "gpt0": element("gpt", 0)} {
		if have != want {
			t.Errorf("%s, want %s", have, want)
		}
	}
	f := field{Column: runtimeapi.Column{Period: 90 * time.Second}}
	if milliseconds(f.Period) != 90_000 {
		t.Error(milliseconds(f.Period))
	}
}
