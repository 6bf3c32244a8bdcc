package syslog

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestConfigFaults(t *testing.T) {
	ok := Config{Name: "edge", Address: "tcp://127.0.0.1:0"}
	tests := []struct {
		change func(*Config)
		want   []string
	}{
		{func(c *Config) { c.Name = "" }, []string{"name: is missing"}},
		{func(c *Config) { c.Address = "" }, []string{`"edge"`, "address: is missing", "tcp://127.0.0.1:5514"}},
		{func(c *Config) { c.Address = "127.0.0.1:514" }, []string{"address", "udp://"}},
		{func(c *Config) { c.Address = "http://127.0.0.1:514" }, []string{"address", "unixgram://"}},
		{func(c *Config) { c.Address = "udp://" }, []string{"address", "nothing behind"}},
		{func(c *Config) { c.Framing = "lines" }, []string{"framing", `"octet-counted"`}},
		{func(c *Config) { c.MaxLine = 10 }, []string{"max_line: 10 must be 64"}},
		{func(c *Config) { c.MaxLine = 1 << 30 }, []string{"max_line"}},
		{func(c *Config) { c.MaxConnections = -1 }, []string{"max_connections"}},
		{func(c *Config) { c.BufferMemory = -1 }, []string{"buffer_memory"}},
		{func(c *Config) { c.IdleTimeout = -1 }, []string{"idle_timeout"}},
		{func(c *Config) { c.FrameTimeout = -1 }, []string{"frame_timeout"}},
		{func(c *Config) { c.DrainTimeout = -1 }, []string{"drain_timeout"}},
		{func(c *Config) { c.ReceiveBuffer = -1 }, []string{"receive_buffer"}},
		{func(c *Config) { c.SocketMode = 0o10660 }, []string{"socket_mode"}},
		{func(c *Config) { c.AllowedPeers = []netip.Prefix{{}} }, []string{"allowed_peers", "10.0.0.0/8"}},
		{func(c *Config) { c.TLS.CertFile = "x" }, []string{"tls", "not tls://"}},
		{func(c *Config) { c.Address = "tls://:0" }, []string{"tls: cert and key"}},
		{func(c *Config) {
			c.Address = "tls://:0"
			c.TLS = TLSConfig{CertFile: "a", KeyFile: "b", ClientAuth: "required"}
		}, []string{"client_auth", "needs client_ca"}},
		{func(c *Config) {
			c.Address = "tls://:0"
			c.TLS = TLSConfig{CertFile: "a", KeyFile: "b", ClientCAFile: "c", ClientAuth: "maybe"}
		}, []string{"client_auth", `"optional"`}},
		{func(c *Config) { c.Framing, c.MaxLine = "x", 1 }, []string{"framing", "max_line"}}, // all at once
	}
	for _, tt := range tests {
		cfg := ok
		tt.change(&cfg)
		err := cfg.Validate()
		if err == nil {
			t.Errorf("%+v is accepted, want an error with %q", cfg, tt.want)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		if _, err := Listen(cfg, Deps{}); err == nil {
			t.Errorf("Listen accepts %+v", cfg)
		}
	}
	if err := ok.Validate(); err != nil || ok.MaxLine != 0 {
		t.Errorf("Validate = %v, and it changed %+v", err, ok)
	}
}

func TestBindFaults(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	tcp := start(t, Config{Address: "tcp://127.0.0.1:0"}, newRecorder()).Addr().String()
	udp := start(t, Config{Address: "udp://127.0.0.1:0"}, newRecorder()).Addr().String()
	for _, tt := range []struct {
		address string
		want    []string
	}{
		{"tcp://" + tcp, []string{`listener "edge": address`, "in use", "another process"}},
		{"udp://" + udp, []string{"in use", "another process"}},
		{"tcp://192.0.2.1:0", []string{"no interface"}},
		{"tcp://127.0.0.1:99999", []string{"address", "99999"}},
		{"udp://127.0.0.1", []string{"address", "missing port"}},
		{"unix://" + dir + "/no/such.sock", []string{"folder"}},
		{"unixgram://" + dir + "/no/such.sock", []string{"folder"}},
		{"unix://" + dir + "/" + strings.Repeat("x", 120), []string{"107 bytes"}},
		{"unix://" + plain, []string{"no socket"}},
		{"unixgram://" + plain, []string{"no socket"}},
	} {
		_, err := Listen(Config{Name: "edge", Address: tt.address}, Deps{})
		if err == nil {
			t.Errorf("%s: Listen succeeds", tt.address)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", tt.address, err, want)
			}
		}
	}
	if b, err := os.ReadFile(plain); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

// TestSocketFiles covers the life of a unix socket's file.
func TestSocketFiles(t *testing.T) {
	for _, scheme := range []string{"unix", "unixgram"} {
		t.Run(scheme, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.sock")
			cfg := Config{Name: "edge", Address: scheme + "://" + path, SocketMode: 0o600}
			rec := newRecorder()
			r := start(t, cfg, rec)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("mode %v, %v", info.Mode(), err)
			}
			for _, other := range []string{"unix", "unixgram"} {
				_, err := Listen(Config{Name: "b", Address: other + "://" + path}, Deps{})
				if err == nil || !strings.Contains(err.Error(), "another process listens") {
					t.Errorf("a second %s listener: %v", other, err)
				}
			}
			send(t, r.dial(t), "<1>x\n") // the first one is unharmed
			eventually(t, "a message", func() bool { m, _ := rec.counts(); return m == 1 })
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the file is left: %v", err)
			}

			leaveStaleSocket(t, scheme, path)
			r = start(t, cfg, rec)
			send(t, r.dial(t), "<1>x\n")
			eventually(t, "a message behind the stale file", func() bool { m, _ := rec.counts(); return m == 2 })
		})
	}
}

// leaveStaleSocket makes the file that a killed process leaves.
func leaveStaleSocket(t *testing.T, scheme, path string) {
	t.Helper()
	addr := &net.UnixAddr{Name: path, Net: scheme}
	if scheme == "unix" {
		l, err := net.ListenUnix(scheme, addr)
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
	} else {
		c, err := net.ListenUnixgram(scheme, addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("no stale file to test with: ", err)
	}
}

// TestMetricsLint holds names and help to Prometheus' rules, and the label
// sets to two listeners of one process.
func TestMetricsLint(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	for _, cfg := range []Config{{Name: "a", Address: "tcp://127.0.0.1:0"}, {Name: "b", Address: "udp://127.0.0.1:0"}} {
		l, err := Listen(cfg, Deps{Metrics: m})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 6 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
