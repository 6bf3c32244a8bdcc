package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestEverythingOfBursts: each field of the section reaches its place.
func TestEverythingOfBursts(t *testing.T) {
	t.Setenv("HAPTRAIL_DSN", "")
	c, err := Load("testdata/good.everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Bursts{
		Off: true, Budget: 0.05, Calibrate: "@every 12h", History: Duration(30 * 24 * time.Hour), MaxKeys: 50_000,
		Interval: Duration(500 * time.Millisecond), Load: 0.1,
		Proxies: []BurstProxy{
			{
				Name: "edge-1", Socket: "unix:/run/haproxy/a.sock",
				Tables: []BurstTable{
					{Name: "haptrail_identity", Key: KeyIdentity}, {Name: "haptrail_group", Key: KeyGroup, Counter: "http_req_cnt"},
					{Name: "own/st", Key: KeySubject, Counter: "gpc2"}, {Name: "www", Key: KeyAddress, Counter: "conn_cnt"},
					{Name: "tenants", Key: KeyOther, Counter: "bytes_out_cnt"},
				},
				Peers: &BurstPeers{Address: "10.0.0.7:10000", Local: "haptrail", Remote: "edge-1"},
			},
			{Name: "edge-2", Socket: "tcp:10.0.0.8:9999"},
		},
	}
	if !reflect.DeepEqual(c.Bursts, want) {
		t.Errorf("have %+v\nwant %+v", c.Bursts, want)
	}
	if have := c.StateDir(); have != "testdata/state" {
		t.Errorf("state: have %s", have)
	}
}

// TestPartOfASection leaves the other defaults of it.
func TestPartOfASection(t *testing.T) {
	c, err := Parse([]byte("bursts: {interval: 5s}\nalerts: {bursts: medium}\n"))
	want := Default()
	want.Bursts.Interval, want.Alerts.Bursts = Duration(5*time.Second), "medium"
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("have %+v, error %v, want %+v", c, err, want)
	}
}

// TestStateDir: beside the embedded tables, or where services keep such things.
func TestStateDir(t *testing.T) {
	for _, c := range []struct{ state, dsn, want string }{
		{"", "embedded:/srv/trail", "/srv/trail/state"},
		{"", "clickhouse://u@h:9000/db", "/var/lib/haptrail/state"},
		{"", "https://u@h:8443/db", "/var/lib/haptrail/state"},
		{"", "unix:/run/haptrail.sock", "/var/lib/haptrail/state"},
		{"", "nonsense", "/var/lib/haptrail/state"},
		{"/srv/state", "embedded:/srv/trail", "/srv/state"},
		{"/srv/state", "clickhouse://u@h:9000/db", "/srv/state"},
	} {
		config := Config{State: c.state, DSN: c.dsn}
		if have := config.StateDir(); have != c.want {
			t.Errorf("%q and %q: have %s, want %s", c.state, c.dsn, have, c.want)
		}
	}
	relative := Config{DSN: "embedded:data"} // as --dsn may have it
	if have, want := relative.StateDir(), "data/state"; !filepath.IsAbs(have) || !strings.HasSuffix(have, want) {
		t.Errorf("have %s, want an absolute path to %s", have, want)
	}
	d := Default()
	if have := d.StateDir(); have != stateFolder {
		t.Errorf("the default: have %s, want %s", have, stateFolder)
	}
}

// TestBurstProxies: the gate's sockets where none are named, the gate's tables where
// none are, and the counter that every table of the gate has.
func TestBurstProxies(t *testing.T) {
	gate := []BurstTable{{"haptrail_identity", KeyIdentity, "http_req_cnt"}, {"haptrail_source", KeyAddress, "http_err_cnt"}}
	for text, want := range map[string][]BurstProxy{
		"":                          nil,
		"edge: {policy: p, dir: d}": nil,
		"bursts: {proxies: []}":     {},
		"edge: {policy: p, dir: d, sockets: [\"unix:/a\", \"tcp:h:1\"]}": {
			{Name: "haproxy-1", Socket: "unix:/a", Tables: gate}, {Name: "haproxy-2", Socket: "tcp:h:1", Tables: gate},
		},
		"edge: {policy: p, dir: d, sockets: [\"unix:/a\"]}\nbursts: {proxies: []}": {},
		"edge: {policy: p, dir: d, sockets: [\"unix:/a\"]}\nbursts: {proxies: [{name: own, socket: /b}]}": {
			{Name: "own", Socket: "/b", Tables: gate},
		},
		"bursts: {proxies: [{name: own, socket: /b, tables: [{name: t, key: subject}, {name: u, key: other, counter: gpc0}], peers: {address: \"h:1\", local: l, remote: r}}]}": {
			{Name: "own", Socket: "/b", Tables: []BurstTable{{"t", KeySubject, "http_req_cnt"}, {"u", KeyOther, "gpc0"}}, Peers: &BurstPeers{"h:1", "l", "r"}},
		},
	} {
		c, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		before := fmt.Sprintf("%+v", c.Bursts.Proxies)
		have := c.BurstProxies()
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s:\nhave %+v\nwant %+v", text, have, want)
		}
		for i := range have { // what a caller does to them is its own business
			have[i].Tables[0].Name, have[i].Name = "changed", "changed"
			if have[i].Peers != nil {
				have[i].Peers.Local = "changed"
			}
		}
		if after := fmt.Sprintf("%+v", c.Bursts.Proxies); after != before || !reflect.DeepEqual(c.BurstProxies(), want) {
			t.Errorf("%s: the configuration has changed", text)
		}
	}
}

// TestCounters: what only grows is a counter, and of a rate the error says which one
// it is the rate of.
func TestCounters(t *testing.T) {
	for counter, want := range map[string]string{
		"": "", "http_req_cnt": "", "http_err_cnt": "", "http_fail_cnt": "", "conn_cnt": "", "sess_cnt": "", "glitch_cnt": "",
		"bytes_in_cnt": "", "bytes_out_cnt": "", "gpc0": "", "gpc1": "", "gpc2": "", "gpc99": "",
		"http_req_rate": "such as http_req_cnt", "bytes_in_rate": "such as bytes_in_cnt", "gpc0_rate": "such as gpc0", "gpc1_rate": "such as gpc1",
		"conn_cur": "such as http_req_cnt", "server_id": "such as http_req_cnt", "server_key": "does not only grow", "gpt0": "does not only grow",
		"gpc": "does not only grow", "gpc_rate": "does not only grow",
		"HTTP_REQ_CNT": "is no counter that HAProxy has", "http_req_cnt ": "is no counter", "gpc100": "is no counter", "gpc[0]": "no",
		"x_cnt": "is no counter that HAProxy has", "_cnt": "is no counter that HAProxy has",
	} {
		var faults []string
		table := BurstTable{Name: "t", Key: KeyOther, Counter: counter}
		table.validate(func(key, format string, args ...any) {
			faults = append(faults, key+": "+fmt.Sprintf(format, args...))
		})
		have := strings.Join(faults, "\n")
		if (want == "") != (have == "") || !strings.Contains(have, want) || have != "" && !strings.HasPrefix(have, "counter: ") {
			t.Errorf("%q: have %q, want %q", counter, have, want)
		}
	}
}

// TestBoundsOfBursts: the first and the last value that are taken, and their
// neighbours that are not.
func TestBoundsOfBursts(t *testing.T) {
	for key, values := range map[string]struct{ good, bad []string }{
		"budget":    {good: []string{"1e-9", "0.01", "1"}, bad: []string{"0", "-0.01", "1.0001", ".inf", ".nan"}},
		"load":      {good: []string{"0.001", "1"}, bad: []string{"0", "-1", "1.1", "-.inf", ".nan"}},
		"history":   {good: []string{"9d", "216h", "90d"}, bad: []string{"0", "8d", "217h", "91d"}},
		"interval":  {good: []string{"200ms", "5m"}, bad: []string{"0", "199ms", "5m1s"}},
		"max_keys":  {good: []string{"1", "10000000"}, bad: []string{"0", "-1", "10000001"}},
		"calibrate": {good: []string{"off", "\"off\"", "\"@every 1h\"", "\"@daily\"", "\"0 5 * * 1\""}, bad: []string{"\"\"", "never", "\"* * * *\"", "\"99 4 * * *\""}},
	} {
		for _, value := range values.good {
			if _, err := Parse([]byte("bursts: {" + key + ": " + value + "}\n")); err != nil {
				t.Errorf("%s: %s: %v", key, value, err)
			}
		}
		for _, value := range values.bad {
			if _, err := Parse([]byte("bursts: {" + key + ": " + value + "}\n")); err == nil || !strings.Contains(err.Error(), ": bursts."+key+": ") {
				t.Errorf("%s: %s: have error %v", key, value, err)
			}
		}
	}
}
