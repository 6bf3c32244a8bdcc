// Package traffic makes log lines for benchmarks: the same seed, the same
// lines. They are HAProxy's httplog with captured headers and eight quoted
// identity fields, or the gate's own JSON (logformat.Haptrail); 525 and 955 bytes
// on average. Line and JSONLine of two generators with one seed tell of the same
// requests.
//
// What varies: 300 identities by a Zipf law, one job in 50 lines, 5,000 paths by
// Zipf for each of 12 backends, timers with a long tail, 8 % IPv6 clients, 6 %
// denials (401, 403) and 503 with -1 timers and <NOSRV>. An identity runs one job
// at a time, about 50 lines long; Scattered spreads the jobs over all lines, as no
// CI does, for comparison with figures that were measured so.
package traffic

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	identities = 300
	backends   = 12
	paths      = 5000
	pid        = 10586 // HAProxy's, of every line

	audience  = "edge.example.com"
	tokenLife = 10 * time.Minute
)

var issuers = [...]struct{ provider, url string }{
	{"github", "https://token.actions.githubusercontent.com"},
	{"gitlab", "https://gitlab.example.com"},
	{"teamcity", "https://teamcity.example.com/app/oidc-jwt"},
	{"space", "https://space.example.com"},
}

var definitions = [...]string{"build.yml", "test.yml", "release.yml", "deploy.yml"}

type identity struct {
	subject, issuer, role, project, ref string
	provider, keyID, tenant             string
	definition, actor                   string // of the job; who triggers it
	running                             *job
}

type job struct {
	id, token, sha string
	issued         time.Time
	runner         string
}

// linesPerJob is how long a job is on average.
const linesPerJob = 50

// Generator makes lines one after another.
type Generator struct {
	// Scattered gives every line anybody's job. Set before the first line.
	Scattered bool
	begun     int // jobs so far

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
	g.addIdentities()
	g.addJobs(n/linesPerJob+2*identities, start) // more than are begun, so that no two identities share one
	for b := range backends {
		for p := range paths {
			g.path[b] = append(g.path[b], makePath(r, b, p))
		}
	}
	g.addClients()
	return g
}

func (g *Generator) addIdentities() {
	r := g.random
	for i := range identities {
		project := fmt.Sprintf("%s/%s-%s", pick(r, "payments", "platform", "web", "mobile", "data"), pick(r, "api", "worker", "frontend", "gateway", "batch"), pick(r, "core", "edge", "eu", "us", "lab"))
		ref := pick(r, "refs/heads/main", "refs/heads/main", "refs/heads/release", fmt.Sprintf("refs/heads/feature-%d", i))
		g.who = append(g.who, identity{
			subject: fmt.Sprintf("repo:%s-%d:ref:%s", project, i, ref), issuer: issuers[i%len(issuers)].url,
			role: pick(r, "reader", "deployer", "publisher", "release-manager"), project: project, ref: ref,
			provider: issuers[i%len(issuers)].provider, keyID: fmt.Sprintf("key-2026%c", 'a'+i%3), tenant: project[:strings.IndexByte(project, '/')],
			definition: definitions[i%len(definitions)], actor: fmt.Sprintf("dev-%d", i%90),
		})
	}
}

func (g *Generator) addJobs(n int, start time.Time) {
	r := g.random
	for i := range n {
		g.jobs = append(g.jobs, job{
			id:     strconv.Itoa(10_000_000 + r.IntN(90_000_000)),
			token:  fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48)),
			sha:    randomHex(r, 20),
			issued: start.Add(-time.Duration(i%600) * time.Second), runner: fmt.Sprintf("agent-%02d", i%40),
		})
	}
}

func (g *Generator) addClients() {
	r := g.random
	for i := range 40 {
		g.agents = append(g.agents, fmt.Sprintf("%s/%d.%d.%d (Linux; 6.1.0; amd64) (Eclipse Adoptium; OpenJDK; 21.0.%d; build-agent) CI/2026.11 (ephemeral)", pick(r, "curl", "gradle", "maven", "npm", "docker", "terraform"), 1+i%9, r.IntN(30), r.IntN(10), r.IntN(10)))
	}
	for i := range 2000 {
		if i%100 < 8 {
			g.clients = append(g.clients, fmt.Sprintf("2001:db8:%x:%x::%x", r.IntN(1<<16), r.IntN(1<<16), 1+r.IntN(1<<16-1)))
		} else {
			g.clients = append(g.clients, fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)))
		}
	}
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
