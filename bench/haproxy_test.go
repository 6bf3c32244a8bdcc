package bench

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/edge/edgetest"
	"github.com/haptrail/haptrail/edge/haproxy"
	"github.com/haptrail/haptrail/schema/schematest"
)

// gateConfig is a HAProxy that answers itself and logs through a ring of 16 MB.
// Its lines have traffic.Format; what a token would say is written out.
const gateConfig = `global
  log ring@audit len 8192 format rfc5424 local0 info
  log-send-hostname edge1
  stats socket %s mode 600 level user
  maxconn 1000
ring audit
  format rfc5424
  maxlen 8192
  size 16777216
  timeout connect 2s
  timeout server 30s
  server haptrail %s log-proto octet-count
defaults
  mode http
  log global
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend gate
  bind fd@3
  capture request header Host len 64
  capture request header User-Agent len 128
  capture response header Content-Type len 32
  log-format '%%ci:%%cp [%%tr] %%ft %%b/%%s %%TR/%%Tw/%%Tc/%%Tr/%%Ta %%ST %%B %%CC %%CS %%tsc %%ac/%%fc/%%bc/%%sc/%%rc %%sq/%%bq %%hr %%hs %%{+Q}r "repo:payments/api-core-17:ref:refs/heads/main" "https://token.actions.githubusercontent.com" "f698e338-fb38-4cca-8496-a773c0f86702" "deployer" "24963667" "6720c750091939ac8e983bc25bdbe36509a7d3b5" "allow" "ok"'
  http-request return status 200
`

// burst is how long BenchmarkHAProxyBurst sends requests; with fewer lines than
// usual it is shorter.
const burst = 10 * time.Second

// BenchmarkHAProxyBurst has a real HAProxy write as many lines as it can, with
// load generator, HAProxy and receiver on the same processors. Every request
// that HAProxy counted must be stored.
func BenchmarkHAProxyBurst(b *testing.B) {
	binary := edgetest.Binary(b)
	store := schematest.Open(b)
	sending := time.Duration(float64(burst) * min(float64(*lineCount)/1e6, 1))
	var lost, dropped, requests, answered int
	var seconds float64
	m := newMeter(b)
	for m.again() {
		empty(b, store)
		sink := &countingSink{Sink: store}
		d := startDaemon(b, anyPort, sink)
		gate := startGate(b, binary, d.addr())
		s := startSender(b, "http", gate.address, sending)
		m.start()
		s.start()
		n, err := strconv.Atoi(s.wait())
		if err != nil {
			b.Fatal("the load generator's count: ", err)
		}
		offered := time.Since(m.began)
		counted := gate.requests(b)
		awaitRows(sink, counted)
		m.arrived()
		dropped += gate.ringDrops(b)
		gate.stop(b)
		d.drain()
		m.stop(counted)
		answered, requests = answered+n, requests+counted
		seconds += offered.Seconds()
		if missing := counted - stored(b, store); missing != 0 {
			lost += missing
			b.Logf("%d lines are missing: %.0f messages on %.0f connections, %.0f rejects", missing, d.metric("haptrail_syslog_messages_total"),
				d.metric("haptrail_syslog_connections_total"), d.metric("haptrail_syslog_rejects_total")+d.metric("haptrail_ingest_rejects_total"))
		}
	}
	m.reportRate()
	m.reportMemory()
	b.ReportMetric(float64(requests)/seconds, "offered/s")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(dropped), "ring-drops")
	if requests != answered {
		b.Errorf("HAProxy counted %d requests, its clients %d answers", requests, answered)
	}
}

// awaitRows waits until so many rows are stored, or none came for so long that
// none will.
func awaitRows(sink *countingSink, want int) {
	last, since := int64(-1), time.Now()
	for last < int64(want) && time.Since(since) < 20*time.Second {
		time.Sleep(5 * time.Millisecond)
		if now := sink.rows.Load(); now != last {
			last, since = now, time.Now()
		}
	}
}

// gate is a running HAProxy.
type gate struct {
	address string // of its frontend
	socket  string // its stats socket
	process *haproxy.Process
}

func startGate(b *testing.B, binary, logTo string) *gate {
	b.Helper()
	dir := edgetest.Root(b)
	g := &gate{socket: filepath.Join(dir, "stats")}
	config := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, gateConfig, g.socket, logTo), 0o600); err != nil {
		b.Fatal(err)
	}
	g.address, g.process = listening(b, haproxy.Options{
		Binary: binary, Configs: []string{config}, Socket: g.socket, Env: []string{"TZ=UTC"}, Output: filepath.Join(dir, "output"),
	})
	return g
}

// listening runs a HAProxy until the benchmark ends, with a bound listener as its
// descriptor 3, and returns that one's address.
func listening(b *testing.B, o haproxy.Options) (string, *haproxy.Process) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close() // the child has a copy of its own
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	o.Files = []*os.File{file}
	process, err := haproxy.Start(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := process.Stop(); err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String(), process
}

func (g *gate) ask(command string) ([]byte, error) {
	conn, err := net.DialTimeout("unix", g.socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// requests is how many requests HAProxy counted.
func (g *gate) requests(b *testing.B) (n int) {
	b.Helper()
	reply, err := g.ask("show stat\n")
	if err != nil {
		b.Fatal("show stat: ", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(reply)).ReadAll()
	if err != nil {
		b.Fatal("show stat: ", err)
	}
	column := slices.Index(rows[0], "req_tot")
	for _, row := range rows[1:] {
		if row[1] != "FRONTEND" {
			continue
		}
		requests, err := strconv.Atoi(row[column])
		if err != nil {
			b.Fatal("show stat: req_tot: ", err)
		}
		n += requests
	}
	return n
}

// ringDrops is how many lines found the ring full: HAProxy's part of what is lost.
func (g *gate) ringDrops(b *testing.B) (n int) {
	b.Helper()
	reply, err := g.ask("show events\n")
	if err != nil {
		b.Fatal("show events: ", err)
	}
	_, line, found := strings.Cut(string(reply), "audit ")
	if _, err := fmt.Sscanf(strings.TrimSpace(line), ": type=buffer, %d dropped", &n); !found || err != nil {
		b.Fatalf("show events: no drops of the ring in %q: %v", reply, err)
	}
	return n
}

func (g *gate) stop(b *testing.B) {
	if err := g.process.Stop(); err != nil {
		b.Error(err)
	}
}
