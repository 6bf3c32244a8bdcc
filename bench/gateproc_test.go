package bench

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/haptrail/haptrail/edge"
	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// edit changes the rendered gate: a benchmark takes out what it wants to know the
// cost of.
type edit struct {
	pattern *regexp.Regexp // over all of the file; must be found
	text    string         // in its place; $1 is its first group
}

// gateBench is what the gates of one benchmark share.
type gateBench struct {
	*testing.B
	binary  string
	version runtimeapi.Version
	signers map[string]edgetest.Signer
	jwks    string // its URL
	log     string // host:port that takes and forgets what is logged
}

func newGateBench(b *testing.B) *gateBench {
	b.Helper()
	g := &gateBench{B: b, binary: edgetest.Binary(b), log: forget(b)}
	var err error
	if g.version, err = edge.BinaryVersion(b.Context(), g.binary); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("haproxy: %s\n", g.version) // as benchstat reads it, beside goos and cpu
	g.signers = gateSigners(b, g.version.AtLeast(2, 8))
	var all []edgetest.Signer
	for _, s := range g.signers {
		all = append(all, s)
	}
	g.jwks = edgetest.WriteJWKS(b, filepath.Join(edgetest.Root(b), "hub.json"), all...)
	return g
}

// forget listens until the benchmark ends and reads what comes.
func forget(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// front is a running HAProxy that answers 200 itself.
type front struct {
	address string
	process *haproxy.Process
}

// start renders a gate for so many projects, edits it, and runs it.
func (g *gateBench) start(projects int, edits ...edit) front {
	g.Helper()
	root := edgetest.Root(g)
	dir := filepath.Join(root, "gate")
	algorithms := "RS256, ES256"
	if g.version.AtLeast(2, 8) {
		algorithms += ", PS256"
	}
	p, err := policy.Parse([]byte(gatePolicy(g.log, g.jwks, algorithms, projects)), root)
	if err != nil {
		g.Fatal(err)
	}
	store, err := keys.Open(dir)
	if err != nil {
		g.Fatal(err)
	}
	if _, err := store.Refresh(g.Context(), edge.KeySource(&p.Issuers[0])); err != nil {
		g.Fatal(err)
	}
	files, err := edge.Render(p, store, edge.Options{Version: g.version, Base: dir, Source: "policy.yaml"})
	if err != nil {
		g.Fatal(err)
	}
	for _, e := range edits {
		if !e.pattern.Match(files[edge.GateFile]) {
			g.Fatalf("the rendered gate has nothing like %s any more: mend this benchmark", e.pattern)
		}
		files[edge.GateFile] = e.pattern.ReplaceAll(files[edge.GateFile], []byte(e.text))
	}
	if _, err := files.Write(dir); err != nil {
		g.Fatal(err)
	}
	return g.run(root, "from haptrail", dir)
}

// plain runs a HAProxy without a gate, which logs as HAProxy does by itself.
func (g *gateBench) plain() front {
	root := edgetest.Root(g)
	config := filepath.Join(root, "plain.cfg")
	g.write(config, fmt.Sprintf(plainConfig, g.log))
	return g.run(root, "", config)
}

const plainConfig = `global
    log ring@audit len 32768 format rfc5424 local0 info
ring audit
    format rfc5424
    maxlen 32768
    size 1048576
    timeout connect 2s
    timeout server 5s
    server haptrail %s log-proto octet-count
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
`

// One thread, so that requests a second are what one processor does and the
// load generator has the other. HAProxy wants to know before anything else.
const threadConfig = "global\n    nbthread 1\n"

const frontConfig = `global
    stats socket %s mode 600 level admin
frontend www %s
    bind fd@3
    http-request return status 200
`

func (g *gateBench) write(name, text string) {
	g.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		g.Fatal(err)
	}
}

// run starts HAProxy with a configuration before the frontend's.
func (g *gateBench) run(root, from, config string) front {
	g.Helper()
	socket, frontend, threads := filepath.Join(root, "stats.sock"), filepath.Join(root, "www.cfg"), filepath.Join(root, "threads.cfg")
	g.write(threads, threadConfig)
	g.write(frontend, fmt.Sprintf(frontConfig, socket, from))
	address, process := listening(g.B, haproxy.Options{
		Binary: g.binary, Configs: []string{threads, config, frontend}, Socket: socket, Output: filepath.Join(root, "haproxy.log"),
	})
	return front{address, process}
}

// cpu is what the process has used, user and system: the load generator cannot
// blur it.
func (f front) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h: all threads, in nanoseconds
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^f.process.PID()<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("processor time of HAProxy: %w", err)
	}
	return time.Duration(used.Nano()), nil
}
