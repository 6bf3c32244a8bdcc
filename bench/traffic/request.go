package traffic

import (
	"math"
	"strconv"
	"time"
)

// request is what a line is about.
type request struct {
	at                   time.Time
	counter              int
	who                  *identity
	job                  *job
	backend              int
	path, method, client string
	host                 string
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

// jobOf is the job that an identity is running: another one after 50 lines on
// average, as jobs come in life. Scattered jobs are anybody's at any time.
func (g *Generator) jobOf(who *identity) *job {
	if g.Scattered {
		return &g.jobs[g.random.IntN(len(g.jobs))]
	}
	if who.running == nil || g.random.IntN(linesPerJob) == 0 {
		who.running = &g.jobs[g.begun%len(g.jobs)]
		g.begun++
	}
	return who.running
}

func (g *Generator) next() request {
	r := g.random
	g.at = g.at.Add(time.Duration(r.Int64N(int64(2*g.step) + 1)))
	g.counter++
	who := &g.who[g.whoZipf.Uint64()]
	q := request{
		who: who, job: g.jobOf(who), backend: r.IntN(backends),
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
	q.host = pick(r, "artifacts", "packages", "deploy") + ".example.com"
	q.at, q.counter = g.at, g.counter
	return q
}

func (q *request) deny(status int, reason string) {
	q.status, q.bytes, q.server, q.termination = status, 192, "<NOSRV>", "PR--"
	q.timers = [5]int{0, -1, -1, -1, 0}
	q.decision, q.reason = "deny", reason
}

// sent is how many bytes the client sent.
func (q *request) sent() int { return 180 + len(q.agent) + len(q.path) }
