// Package traffic makes log lines for benchmarks: the same seed, the same
// lines. They are HAProxy's httplog with captured headers and eight quoted
// identity fields, or the gate's own JSON (logformat.Haptrail); 525 and about
// 760 bytes on average.
//
// What varies: 300 identities by a Zipf law, one job in 50 lines, 5,000 paths by
// Zipf for each of 12 backends, timers with a long tail, 8 % IPv6 clients, 6 %
// denials (401, 403) and 503 with -1 timers and <NOSRV>. Jobs are scattered over
// the lines, which compresses worse than the bursts of real ones.
package traffic

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Format is the log-format of Line.
const Format = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r ` +
	`%{+Q}[var(txn.sub)] %{+Q}[var(txn.iss)] %{+Q}[var(txn.jti)] %{+Q}[var(txn.role)] %{+Q}[var(txn.job)] %{+Q}[var(txn.sha)] %{+Q}[var(txn.decision)] %{+Q}[var(txn.reason)]`

const (
	identities = 300
	backends   = 12
	paths      = 5000
)

type identity struct{ subject, issuer, role, project, ref string }

type job struct{ id, token, sha string }

// Generator makes lines one after another.
type Generator struct {
	random   *rand.Rand
	whoZipf  *rand.Zipf
	pathZipf *rand.Zipf
	who      []identity
	jobs     []job
	path     [backends][]string
	agents   []string
	clients  []string
	at       time.Time
	step     time.Duration
	counter  int
}

// New makes a generator of about n lines that span an hour from start.
func New(seed uint64, n int, start time.Time) *Generator {
	r := rand.New(rand.NewPCG(seed, 0x6861707472)) // the second half is "haptr"
	g := &Generator{
		random:   r,
		whoZipf:  rand.NewZipf(r, 1.2, 4, identities-1),
		pathZipf: rand.NewZipf(r, 1.15, 8, paths-1),
		at:       start,
		step:     time.Hour / time.Duration(max(n, 1)),
	}
	issuers := []string{"https://token.actions.githubusercontent.com", "https://gitlab.example.com", "https://teamcity.example.com/app/oidc-jwt", "https://space.example.com"}
	for i := range identities {
		project := fmt.Sprintf("%s/%s-%s", pick(r, "payments", "platform", "web", "mobile", "data"), pick(r, "api", "worker", "frontend", "gateway", "batch"), pick(r, "core", "edge", "eu", "us", "lab"))
		ref := pick(r, "refs/heads/main", "refs/heads/main", "refs/heads/release", fmt.Sprintf("refs/heads/feature-%d", i))
		g.who = append(g.who, identity{
			subject: fmt.Sprintf("repo:%s-%d:ref:%s", project, i, ref), issuer: issuers[i%len(issuers)],
			role: pick(r, "reader", "deployer", "publisher", "release-manager"), project: project, ref: ref,
		})
	}
	for range max(n/50, 1) {
		g.jobs = append(g.jobs, job{
			id:    strconv.Itoa(10_000_000 + r.IntN(90_000_000)),
			token: fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48)),
			sha:   randomHex(r, 20),
		})
	}
	for b := range backends {
		for p := range paths {
			g.path[b] = append(g.path[b], makePath(r, b, p))
		}
	}
	for i := range 40 {
		g.agents = append(g.agents, fmt.Sprintf("%s/%d.%d.%d (Linux; 6.1.0; amd64) (Eclipse Adoptium; OpenJDK; 21.0.%d; build-agent)", pick(r, "curl", "gradle", "maven", "npm", "docker", "terraform"), 1+i%9, r.IntN(30), r.IntN(10), r.IntN(10)))
	}
	for i := range 2000 {
		if i%100 < 8 {
			g.clients = append(g.clients, fmt.Sprintf("2001:db8:%x:%x::%x", r.IntN(1<<16), r.IntN(1<<16), 1+r.IntN(1<<16-1)))
		} else {
			g.clients = append(g.clients, fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)))
		}
	}
	return g
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

func randomHex(r *rand.Rand, bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)
}

func makePath(r *rand.Rand, backend, i int) string {
	switch backend % 4 {
	case 0:
		return fmt.Sprintf("/artifacts/com/example/%s/%d.%d.%d/app-%d.jar", pick(r, "payments-api", "web-shop", "infra"), r.IntN(9), r.IntN(40), r.IntN(20), i)
	case 1:
		return fmt.Sprintf("/api/v%d/%s/%d/%s", 1+r.IntN(3), pick(r, "builds", "projects", "releases", "tests"), r.IntN(100_000), pick(r, "log", "status", "report", "attachments"))
	case 2:
		return fmt.Sprintf("/v2/%s/blobs/sha256:%s", pick(r, "base", "service", "tools"), randomHex(r, 16))
	}
	name := pick(r, "core", "utils", "client", "server")
	return fmt.Sprintf("/packages/%s/@example/%s/-/%s-%d.tgz", pick(r, "npm", "maven", "pypi"), name, name, i)
}

// request is what a line is about.
type request struct {
	who                  *identity
	job                  *job
	backend              int
	path, method, client string
	agent                string
	port                 int
	status               int
	bytes                int
	timers               [5]int
	decision, reason     string
	termination          string
	server               string
	conns                [5]int
}

func (g *Generator) next() request {
	r := g.random
	g.at = g.at.Add(time.Duration(r.Int64N(int64(2*g.step) + 1)))
	g.counter++
	q := request{
		who: &g.who[g.whoZipf.Uint64()], job: &g.jobs[r.IntN(len(g.jobs))], backend: r.IntN(backends),
		client: g.clients[r.IntN(len(g.clients))], port: 1024 + r.IntN(64000), agent: g.agents[r.IntN(len(g.agents))],
		status: 200, method: "GET", decision: "allow", reason: "ok", termination: "----",
	}
	q.path = g.path[q.backend][g.pathZipf.Uint64()]
	q.server = "srv" + strconv.Itoa(1+r.IntN(4))
	if r.IntN(4) == 0 {
		q.method = pick(r, "POST", "PUT", "HEAD", "DELETE")
	}
	busy := 50 + r.IntN(40)
	q.conns = [5]int{busy + 3, busy, r.IntN(30), r.IntN(10), 0}
	response := int(math.Exp(2 + 1.5*r.NormFloat64()))
	q.timers = [5]int{r.IntN(3), 0, r.IntN(2), response, response + r.IntN(20)}
	q.bytes = 200 + int(math.Exp(6+2*r.NormFloat64()))
	switch r.IntN(100) {
	case 0, 1, 2, 3:
		q.deny(403, pick(r, "grant_denied", "no_role"))
	case 4, 5:
		q.deny(401, pick(r, "exp_bad", "aud_bad", "no_token"))
	case 6:
		q.status, q.timers, q.termination, q.bytes = 503, [5]int{0, 0, -1, -1, 2003}, "SC--", 217
	case 7, 8:
		q.status = 404
	}
	return q
}

func (q *request) deny(status int, reason string) {
	q.status, q.bytes, q.server, q.termination = status, 192, "<NOSRV>", "PR--"
	q.timers = [5]int{0, -1, -1, -1, 0}
	q.decision, q.reason = "deny", reason
}

// Line appends the next line's text, without syslog header or line feed.
func (g *Generator) Line(dst []byte) []byte {
	q := g.next()
	dst = append(dst, q.client...)
	dst = append(append(dst, ':'), strconv.Itoa(q.port)...)
	dst = g.at.UTC().AppendFormat(append(dst, " ["...), "02/Jan/2006:15:04:05.000")
	dst = fmt.Appendf(dst, "] gate~ be_%02d/%s %d/%d/%d/%d/%d %d %d - - %s %d/%d/%d/%d/%d 0/0 {%s.example.com|%s} {application/json} \"%s %s HTTP/1.1\"",
		q.backend, q.server, q.timers[0], q.timers[1], q.timers[2], q.timers[3], q.timers[4], q.status, q.bytes, q.termination,
		q.conns[0], q.conns[1], q.conns[2], q.conns[3], q.conns[4], pick(g.random, "artifacts", "packages", "deploy"), q.agent, q.method, q.path)
	return fmt.Appendf(dst, " %q %q %q %q %q %q %q %q", q.who.subject, q.who.issuer, q.job.token, q.who.role, q.job.id, q.job.sha, q.decision, q.reason)
}

// Header appends the RFC 5424 header that HAProxy writes in front of a line.
func (g *Generator) Header(dst []byte) []byte {
	dst = append(dst, "<134>1 "...)
	dst = g.at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000-07:00")
	return append(dst, " edge1 haproxy 10586 - - "...)
}
