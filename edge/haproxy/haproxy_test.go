package haproxy

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haptrail/haptrail/runtimeapi"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("HAPTRAIL_HAPROXY", "")
	if path, err := Find(); err != nil {
		if !strings.Contains(err.Error(), "apt-get install haproxy") {
			t.Errorf("the error does not say the command: %v", err)
		}
	} else if strings.HasPrefix(path, dir) {
		t.Errorf("found %s in an empty directory", path)
	}
	own := filepath.Join(dir, "haproxy")
	if err := os.WriteFile(own, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := Find(); err != nil || path != own {
		t.Errorf("want %s, have %s, %v", own, path, err)
	}
	t.Setenv("HAPTRAIL_HAPROXY", "/opt/haproxy/bin/haproxy")
	if path, err := Find(); err != nil || path != "/opt/haproxy/bin/haproxy" {
		t.Errorf("have %s, %v", path, err)
	}
}

// options are those of a HAProxy with this configuration after its stats socket.
func options(t *testing.T, config string) Options {
	t.Helper()
	binary, err := Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "ha")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := Options{
		Binary: binary, Configs: []string{filepath.Join(dir, "haproxy.cfg")},
		Socket: filepath.Join(dir, "stats.sock"), Output: filepath.Join(dir, "haproxy.log"),
	}
	text := fmt.Sprintf("global\n    stats socket %s mode 600 level admin\n%s\n", o.Socket, config)
	if err := os.WriteFile(o.Configs[0], []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return o
}

// It is ready when Start returns, alone or with a master, and gone after Stop,
// sockets and all.
func TestStartAndStop(t *testing.T) {
	for _, master := range []bool{false, true} {
		o := options(t, "")
		if master {
			o.Master = filepath.Join(filepath.Dir(o.Socket), "master.sock")
		}
		p, err := Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		client, err := runtimeapi.New(o.Socket, runtimeapi.Options{})
		if err != nil {
			t.Fatal(err)
		}
		info, err := client.Info(t.Context())
		if err != nil || (info.PID == p.PID()) == master {
			t.Errorf("master %t: worker %d, child %d, %v", master, info.PID, p.PID(), err)
		}
		for range 2 {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
		if _, err := net.Dial("unix", o.Socket); err == nil {
			t.Error("somebody still answers")
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(o.Socket), "*.sock*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// One that does not start says why in the error.
func TestStartTellsWhy(t *testing.T) {
	if _, err := Start(t.Context(), options(t, "nonsense here")); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("have %v", err)
	}
	o := options(t, "")
	o.Socket = "/" + strings.Repeat("long", 30)
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "directory with a shorter name") {
		t.Errorf("have %v", err)
	}
	o = options(t, "")
	o.Binary = filepath.Join(t.TempDir(), "none")
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("have %v", err)
	}
}
