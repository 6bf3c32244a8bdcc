package bench

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"
)

// What a benchmark takes out of the rendered gate, or puts into it.
var (
	withoutSignature = edit{regexp.MustCompile(`(?m)(^    http-request set-var\(req\.verified\) .*\n)+`),
		"    http-request set-var(req.verified) int(1)\n"}
	withoutDuplicate = edit{deniedFor("claim_duplicate"), ""}
	withoutType      = edit{deniedFor("claim_type"), ""}
)

// deniedFor finds the two rules that turn a request away for the reason.
func deniedFor(reason string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)(^    http-request set-var\(txn\.reason\) str\(` + reason + `\)\n.*deny_status.*\n)`)
}

// What finds a token that its connection has shown before, and what remembers it.
var (
	lookUp   = regexp.MustCompile(`(?m)^    http-request set-var\(req\.again\) .*\n`)
	remember = regexp.MustCompile(`(?m)^    http-request set-var\(sess\.haptrail_verified\) .*\n`)
)

// withoutCache verifies each time.
var withoutCache = []edit{{lookUp, ""}, {remember, ""}}

// tableCache remembers tokens for all connections. It needs a fourth sticky
// counter, which HAProxy 2.8 and newer can have.
var tableCache = []edit{
	{regexp.MustCompile(`(?m)^global\n`), "global\n    tune.stick-counters 4\n"},
	{regexp.MustCompile(`(?m)^backend haptrail_identity\n`), "backend haptrail_token\n    stick-table type binary len 32 size 10k expire 1h store gpt0\nbackend haptrail_identity\n"},
	{lookUp, `    http-request set-var(req.digest) var(req.bearer),concat(|,req.keyfile),sha2(256)
    http-request set-var(req.again) bool(true) if { var(req.digest),table_gpt0(haptrail_token) -m int 1 }
`},
	{remember, `    http-request track-sc3 var(req.digest) table haptrail_token if { var(req.verified) -m int 1 } !{ var(req.again) -m bool }
    http-request sc-set-gpt0(3) 1 if { var(req.verified) -m int 1 } !{ var(req.again) -m bool }
`},
}

// BenchmarkGate splits what the gate costs into its parts: the same HAProxy
// without it, its rules where no token is wanted, all but the signature's check,
// and all, with two tokens by turns on each connection: it remembers one.
func BenchmarkGate(b *testing.B) {
	g := newGateBench(b)
	gate, trusting := g.start(1), g.start(1, withoutSignature)
	signed, fresh := g.tokens("RS256", 1), everNewJobs(b, g.signers["ES256"].KID, 0)
	contenders := []*contender{
		{name: "none", front: g.plain(), requests: bearers(signed, "/artifacts", 1000)},
		{name: "public", front: gate, requests: bearers(signed, "/assets", 1000)},
		{name: "unsigned", front: trusting, requests: bearers(signed, place(0), 1000)},
		{name: "unsigned/new-jobs", front: trusting, requests: fresh},
		{name: "unsigned/new-jobs/no-claim_type", front: g.start(1, withoutSignature, withoutType), requests: fresh},
		{name: "unsigned/new-jobs/no-claim_duplicate", front: g.start(1, withoutSignature, withoutDuplicate), requests: fresh},
	}
	for _, name := range slices.Sorted(maps.Keys(g.signers)) {
		contenders = append(contenders, &contender{name: name, front: gate, requests: bearers(g.tokens(name, 2), place(0), 1000)})
	}
	g.race(contenders)
}

// BenchmarkGateCache measures what a verified token costs when it comes again.
func BenchmarkGateCache(b *testing.B) {
	g := newGateBench(b)
	gates := map[string]front{"none": g.start(1, withoutCache...), "connection": g.start(1)}
	if g.version.AtLeast(2, 8) {
		gates["table"] = g.start(1, tableCache...)
	}
	var contenders []*contender
	for _, cache := range slices.Sorted(maps.Keys(gates)) {
		for _, name := range []string{"RS256", "ES256"} {
			contenders = append(contenders,
				&contender{name: "cache=" + cache + "/" + name + "/same", front: gates[cache], requests: bearers(g.tokens(name, 1), place(0), 1000)},
				&contender{name: "cache=" + cache + "/" + name + "/two-by-turns", front: gates[cache], requests: bearers(g.tokens(name, 2), place(0), 1000)})
		}
	}
	g.race(contenders)
}

// BenchmarkGateMaps measures the look-ups in the maps of roles and grants, which
// HAProxy searches from the top, without the signature's check.
func BenchmarkGateMaps(b *testing.B) {
	g := newGateBench(b)
	kid := g.signers["ES256"].KID
	var contenders []*contender
	for _, lines := range []int{10, 100, 1000} {
		gate := g.start(lines, withoutSignature)
		for _, at := range []struct {
			name    string
			project int
		}{{"first", 0}, {"last", lines - 1}} {
			tokens := make([][]string, clients)
			for i := range tokens {
				tokens[i] = []string{unsigned(b, kid, identity{project: at.project, client: i}.claims())}
			}
			name := fmt.Sprintf("lines=%d/%s/", lines, at.name)
			contenders = append(contenders,
				&contender{name: name + "same-paths", front: gate, requests: bearers(tokens, place(at.project), 10)},
				&contender{name: name + "new-paths", front: gate, requests: bearers(tokens, place(at.project), math.MaxInt)},
				&contender{name: name + "new-jobs", front: gate, requests: everNewJobs(b, kid, at.project)})
		}
	}
	g.race(contenders)
}

// place is below what a project's grant opens.
func place(project int) string { return "/artifacts/acme/" + projectName(project) }

// tokens are so many tokens for each client.
func (g *gateBench) tokens(signer string, each int) [][]string {
	tokens := make([][]string, clients)
	for i := range tokens {
		for n := range each {
			tokens[i] = append(tokens[i], g.signers[signer].Token(g, identity{client: i + n*clients}.claims()))
		}
	}
	return tokens
}

// slice is how long each contender is asked in turn, and turns how often: the
// machine's slow moments fall on all of them alike, and the median forgets them.
const (
	slice = 100 * time.Millisecond
	turns = 15
)

// contender is one way to answer, and what it is asked.
type contender struct {
	name string
	front
	requests requester
	crowd    crowd // connected at the first turn

	micros, rates []float64 // HAProxy's processor time a request, and requests a second, by slice
}

// race asks the contenders by turns and reports each one's medians, as
// sub-benchmarks of g.
func (g *gateBench) race(contenders []*contender) {
	g.Helper()
	long := max(time.Duration(float64(slice)*min(float64(*lineCount)/1e6, 1)), 20*time.Millisecond)
	defer func() {
		for _, c := range contenders {
			c.crowd.close()
		}
	}()
	for turn := range turns + 1 {
		for _, i := range rand.Perm(len(contenders)) {
			c := contenders[i]
			if err := c.ask(long, turn > 0); err != nil { // the first turn warms caches up
				g.Fatalf("%s: %v\n%s", c.name, err, c.process.Tail())
			}
		}
	}
	for _, c := range contenders {
		g.Run(c.name, func(b *testing.B) {
			for b.Loop() { // measured above, all of them together
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(c.micros), "cpu-µs/req")
			b.ReportMetric(slices.Min(c.micros), "best-µs/req")
			b.ReportMetric(math.Round(median(c.rates)), "req/s")
		})
	}
}

func (c *contender) ask(long time.Duration, count bool) (err error) {
	if c.crowd == nil {
		if c.crowd, err = dialClients(c.address, c.requests); err != nil {
			return err
		}
	}
	before, err := c.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := c.crowd.ask(long, 1)
	took := time.Since(began)
	if err != nil {
		return err
	}
	after, err := c.cpu()
	if err != nil {
		return err
	}
	if count {
		c.micros = append(c.micros, float64((after-before).Nanoseconds())/1e3/float64(n))
		c.rates = append(c.rates, float64(n)/took.Seconds())
	}
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
