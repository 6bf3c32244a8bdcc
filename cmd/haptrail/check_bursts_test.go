package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/edge/haproxy"
)

// countingConfig is a HAProxy with tables that fit and tables that do not. DIR is its
// folder, PEER an address of its own.
const countingConfig = `
global
    stats socket DIR/s mode 600 level operator
    stats socket DIR/u mode 600 level user
    stats socket ipv4@TCP level operator
    localpeer edge
peers mesh
    peer edge PEER
    peer haptrail 127.0.0.1:9
    table own type string len 20 size 1k store http_req_cnt
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
backend haptrail_identity
    stick-table type string len 300 size 100k expire 10m peers mesh store gpc0,http_req_cnt,http_req_rate(10s)
backend haptrail_source
    stick-table type ipv6 size 100k expire 10m store http_req_cnt,http_err_cnt
backend four
    stick-table type ip size 1k store http_req_cnt
backend numbers
    stick-table type integer size 1k store conn_cnt
backend arrays
    stick-table type string len 20 size 1k store gpc(3)
backend big
    stick-table type string len 20 size 200k store http_req_cnt
`

// counting is that HAProxy, running.
type counting struct{ dir, tcp, peer string }

func startCounting(t *testing.T) counting {
	t.Helper()
	binary, err := haproxy.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := counting{dir, "127.0.0.1:" + freePort(t), "127.0.0.1:" + freePort(t)}
	text := strings.NewReplacer("DIR", dir, "TCP", c.tcp, "PEER", c.peer).Replace(countingConfig)
	path := filepath.Join(dir, "h.cfg")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := haproxy.Start(t.Context(), haproxy.Options{Binary: binary, Configs: []string{path}, Socket: filepath.Join(dir, "s"), Output: filepath.Join(dir, "out")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// reportedBursts is what the check says of proxies.
func reportedBursts(t *testing.T, proxies ...config.BurstProxy) (text string, faults int) {
	t.Helper()
	cfg := config.Default()
	cfg.Bursts.Proxies = proxies
	var b strings.Builder
	r := &report{w: &b}
	checkBursts(t.Context(), r, cfg)
	return b.String(), r.faults
}

// holds compares a report with what it has to say, and with nothing else that is bad.
func holds(t *testing.T, text string, faults, wantFaults int, want ...string) {
	t.Helper()
	if faults != wantFaults || strings.Count(text, "FAULT") != faults {
		t.Errorf("%d faults, want %d", faults, wantFaults)
	}
	for _, want := range want {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestCheckTables: a real HAProxy's tables, as they should be and in each way in which
// they are not, with what mends it.
func TestCheckTables(t *testing.T) {
	h := startCounting(t)
	socket := "unix:" + h.dir + "/s"
	table := func(name, key, counter string) config.BurstProxy {
		return config.BurstProxy{Name: "edge", Socket: socket, Tables: []config.BurstTable{{Name: name, Key: key, Counter: counter}}}
	}
	for name, c := range map[string]struct {
		proxy  config.BurstProxy
		faults int
		want   []string
	}{
		"the gate's": {
			proxy: config.BurstProxy{Name: "edge", Socket: socket},
			want: []string{
				"ok     bursts proxy edge: HAProxy ", ", by a socket of level operator\n",
				"ok     bursts proxy edge table haptrail_identity: keys of type string, http_req_cnt, 0 of 102400 entries\n",
				"ok     bursts proxy edge table haptrail_identity: it is shared with haptrail",
				"ok     bursts proxy edge table haptrail_source: keys of type ipv6, http_err_cnt, 0 of 102400 entries\n",
			},
		},
		"over TCP": {
			proxy: config.BurstProxy{Name: "edge", Socket: "tcp:" + h.tcp},
			want:  []string{"by a socket of level operator", "table haptrail_source: keys of type ipv6"},
		},
		"level user": {
			proxy: config.BurstProxy{Name: "edge", Socket: "unix:" + h.dir + "/u"}, faults: 1,
			want: []string{"FAULT  bursts proxy edge: the socket unix:" + h.dir + "/u has the level user", `hint: write "level operator" at the end of its "stats socket" line`},
		},
		"unknown table": {
			proxy: table("nope", config.KeyOther, ""), faults: 1,
			want: []string{"FAULT  bursts proxy edge table nope: ", "unknown table", "haptrail_identity", "hint: name one of its tables"},
		},
		"the gate is not there": {
			proxy: table("haptrail_group", config.KeyGroup, ""), faults: 1,
			want: []string{"FAULT  bursts proxy edge table haptrail_group: ", "hint: it is the gate's: start HAProxy with the gate's folder"},
		},
		"in a peers section": {proxy: table("mesh/own", config.KeySubject, ""), want: []string{"ok     bursts proxy edge table mesh/own: keys of type string"}},
		"an identity in numbers": {
			proxy: table("numbers", config.KeySubject, ""), faults: 1,
			want: []string{"FAULT  bursts proxy edge table numbers: its keys are of type integer, and subject needs string", "hint: track the identity in a table of type string"},
		},
		"an address in strings": {
			proxy: table("big", config.KeyAddress, ""), faults: 1,
			want: []string{"FAULT  bursts proxy edge table big: its keys are of type string, and an address needs ipv6 (or ip, for IPv4 alone)", `hint: track "src"`},
		},
		"IPv4 alone": {proxy: table("four", config.KeyAddress, ""), want: []string{"ok     bursts", "warn   bursts proxy edge table four: keys of type ip are IPv4 addresses: IPv6 clients are not seen"}},
		"numbers":    {proxy: table("numbers", config.KeyOther, "conn_cnt"), want: []string{"ok     bursts proxy edge table numbers: keys of type integer, conn_cnt, 0 of 1024 entries"}},
		"not stored": {
			proxy: table("numbers", config.KeyOther, ""), faults: 1,
			want: []string{`FAULT  bursts proxy edge table numbers: table numbers does not store http_req_cnt; add http_req_cnt after "store" in its stick-table line and reload HAProxy`},
		},
		"gpc0":          {proxy: table("haptrail_identity", config.KeyIdentity, "gpc0"), want: []string{"keys of type string, gpc0,"}},
		"an element":    {proxy: table("arrays", config.KeyOther, "gpc2"), want: []string{"ok     bursts proxy edge table arrays: keys of type string, gpc2"}},
		"a large table": {proxy: table("big", config.KeyOther, ""), want: []string{"ok     bursts", "warn   bursts proxy edge table big: it may hold 204800 entries, and a dump of more than 102400 takes HAProxy longer than 0.2 s"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, faults := reportedBursts(t, c.proxy)
			holds(t, text, faults, c.faults, c.want...)
		})
	}
	// Before 3.2 HAProxy tells nothing of a table whose gpc1 may be an array's.
	text, faults := reportedBursts(t, table("haptrail_source", config.KeyAddress, "gpc1"))
	if before := strings.Contains(text, "warn   bursts proxy edge table haptrail_source: this HAProxy does not tell whether it stores gpc1"); before == (faults > 0) {
		t.Errorf("gpc1 is not stored: %d faults\n%s", faults, text)
	}
}

// TestCheckPeers: the port is open or not, the table told of or not; and two proxies
// that share a table are worth a word.
func TestCheckPeers(t *testing.T) {
	h := startCounting(t)
	proxy := func(address, table string) config.BurstProxy {
		return config.BurstProxy{
			Name: "edge", Socket: h.dir + "/s", Tables: []config.BurstTable{{Name: table, Key: config.KeyOther}},
			Peers: &config.BurstPeers{Address: address, Local: "haptrail", Remote: "edge"},
		}
	}
	text, faults := reportedBursts(t, proxy(h.peer, "haptrail_identity"))
	holds(t, text, faults, 0, "ok     bursts proxy edge peers: "+h.peer+" can be connected to; whether it knows a peer haptrail is seen when the daemon runs")
	nobody := "127.0.0.1:" + freePort(t)
	text, faults = reportedBursts(t, proxy(nobody, "haptrail_identity"))
	holds(t, text, faults, 1, "FAULT  bursts proxy edge peers: dial tcp "+nobody, `hint: write "peer edge `+nobody+`" and "peer haptrail ADDRESS"`, "until it can be reached, the tables are polled")
	text, faults = reportedBursts(t, proxy(h.peer, "big"))
	holds(t, text, faults, 1, "FAULT  bursts proxy edge table big: peers are configured, and the table is in no peers section", `hint: add "peers SECTION" to its stick-table line`)
	if strings.Contains(text, "warn") {
		t.Errorf("peers make no dumps, however large the table:\n%s", text)
	}
	text, faults = reportedBursts(t, config.BurstProxy{Name: "one", Socket: h.dir + "/s"}, config.BurstProxy{Name: "two", Socket: "tcp:" + h.tcp})
	holds(t, text, faults, 0, "ok     bursts proxy two table haptrail_identity: it is shared with haptrail, and so is that of one")
	if strings.Contains(text, "bursts proxy two table haptrail_source: it is shared") {
		t.Errorf("a table that nobody shares is each proxy's own:\n%s", text)
	}
}

// TestCheckProxySocket: each way in which a socket does not answer, with its mend.
func TestCheckProxySocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", path("left"))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	other, err := net.Listen("unix", path("other")) // some other program's
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("who are you?\n"))
			_ = conn.Close()
		}
	}()
	nobody := "127.0.0.1:" + freePort(t)
	for socket, want := range map[string]string{
		"unix:" + path("none"):  `hint: start HAProxy with "stats socket ` + path("none") + ` mode 600 level operator" in its global section, or correct the path`,
		"unix:" + path("file"):  "hint: " + path("file") + " is no socket: correct the path",
		path("left"):            "hint: HAProxy has ended and left the socket behind: start it",
		"unix:" + path("other"): "hint: is it a stats socket?",
		"tcp:" + nobody:         `hint: start HAProxy with "stats socket ipv4@` + nobody + ` level operator"`,
	} {
		text, faults := reportedBursts(t, config.BurstProxy{Name: "edge", Socket: socket})
		holds(t, text, faults, 1, "FAULT  bursts proxy edge: haproxy ", want)
	}
	if os.Geteuid() == 0 {
		return // root may open everything
	}
	if err := os.Chmod(path("other"), 0); err != nil {
		t.Fatal(err)
	}
	text, faults := reportedBursts(t, config.BurstProxy{Name: "edge", Socket: "unix:" + path("other")})
	holds(t, text, faults, 1, `hint: give its "stats socket" line a user, a group and a mode`)
}

// TestCheckWithoutProxies: nothing to read is worth a word, but not where bursts are
// off; and the gate's sockets stand in for proxies.
func TestCheckWithoutProxies(t *testing.T) {
	text, faults := reportedBursts(t)
	holds(t, text, faults, 0, "warn   bursts: no HAProxy's stick tables are read: bursts are found in the logs alone")
	for _, off := range []bool{true, false} {
		cfg := config.Default()
		cfg.Bursts.Off, cfg.Edge = off, &config.Edge{Sockets: []string{"unix:/nowhere.sock"}}
		var b strings.Builder
		r := &report{w: &b}
		checkBursts(t.Context(), r, cfg)
		if off {
			holds(t, b.String(), r.faults, 0, "ok     bursts: off: none are looked for\n")
		} else {
			holds(t, b.String(), r.faults, 1, "FAULT  bursts proxy haproxy-1: ", "/nowhere.sock")
		}
	}
}

// TestCheckState: a folder that is there, that serve can make, and that it cannot;
// nothing is made.
func TestCheckState(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	type state struct {
		dir, want string
		faults    int
	}
	all := []state{
		{dir, "ok     state: " + dir + "\n", 0},
		{filepath.Join(dir, "a", "b"), "ok     state: " + filepath.Join(dir, "a", "b") + " is made by serve\n", 0},
		{file, "FAULT  state: nothing can be kept in " + file + ": not a directory", 1},
		{filepath.Join(file, "x"), "FAULT  state: nothing can be kept in " + file + "/x: ", 1},
	}
	if os.Geteuid() != 0 { // root may write everywhere
		all = append(all, state{locked, "hint: let the daemon's user write there", 1}, state{filepath.Join(locked, "x"), "cannot be made in " + locked, 1})
	}
	for _, c := range all {
		var b strings.Builder
		r := &report{w: &b}
		checkState(r, config.Config{State: c.dir})
		if r.faults != c.faults || !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: have %d faults, %s, want %d, %s", c.dir, r.faults, b.String(), c.faults, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("something was made: %v, error %v", left, err)
	}
}
