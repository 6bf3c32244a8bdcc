package ingest

import (
	"fmt"
	"testing"

	"github.com/haptrail/haptrail/ingest/syslog"
)

func TestSourcesAreBounded(t *testing.T) {
	var s sources
	for i := range 3 * maxSources {
		src := &syslog.Source{Transport: "udp", Listener: "edge", Peer: fmt.Sprintf("2001:db8::%x", i)}
		if have, want := string(s.label(src)), "udp/"+src.Peer; have != want {
			t.Fatalf("have %q, want %q", have, want)
		}
	}
	kept := 0
	s.labels.Range(func(any, any) bool { kept++; return true })
	if kept > maxSources {
		t.Errorf("%d sources are remembered, want at most %d", kept, maxSources)
	}
	if have := string(s.label(&syslog.Source{Transport: "unix", Listener: "local"})); have != "unix/local" {
		t.Errorf("have %q", have)
	}
}
