package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
)

// patience is how long a job reads an answer that it abandons (step.hangUp).
const patience = 300 * time.Millisecond

// errImpatient is why such an answer is not read to its end.
var errImpatient = errors.New("the job hung up")

// requestTimeout bounds any other request; the gate's own timeouts are shorter.
const requestTimeout = 30 * time.Second

// idlePause lies between two requests of Idle.
const idlePause = 1500 * time.Millisecond

// Summary tells what the script did: one JobResult for each job, in a fixed order.
type Summary struct {
	Jobs     []JobResult
	Requests int           // in all
	Allowed  int           // of them, by the gate's decision
	Denied   int           // of them
	Elapsed  time.Duration // from the first job's start to the last one's end
	Rotation *Rotation     // nil without Options.Rotate, or when it failed
	Webhooks Webhooks      // of the jobs' runs; nothing without Options.CI and Options.Webhooks
}

// JobResult is one job's part of a Summary. Provider, Project, Run and Commit
// are empty where the caller is nobody's job.
type JobResult struct {
	Name       string // such as "payments release"
	Provider   string
	Project    string
	Run        string // the run behind the job, whether or not its token says so
	ClaimedRun string // the run that the job named in X-CI-Run
	Commit     string
	Subject    string
	Status     string    // of the run, when the script is over: succeeded, failed or running
	Told       bool      // haptrail took a webhook about the run
	Requests   []Request // in the order of sending
}

// Request is one request and what the gate must have logged of it.
type Request struct {
	Method, Host, Path string
	Status             int // as the job read it
	Decision, Reason   string
	Burst              bool // one of a burst

	began, ended time.Time
	lost         bool // no answer, or another than that
}

// Burst is when the job's burst began and how many requests it had; 0 for none.
func (r JobResult) Burst() (began time.Time, requests int) {
	for _, q := range r.Requests {
		if q.Burst {
			if requests++; requests == 1 {
				began = q.began
			}
		}
	}
	return began, requests
}

// Count returns how many of the job's requests came to that decision and reason.
func (r JobResult) Count(decision, reason string) int {
	n := 0
	for _, q := range r.Requests {
		if q.Decision == decision && q.Reason == reason {
			n++
		}
	}
	return n
}

// Run plays the script once: all jobs at the same time, their requests one after
// another, their runs in the CI servers, and meanwhile the rotation of a key. The
// error joins every answer that was not the expected one, each with its job and
// request, of the gate and of haptrail to webhooks; the Summary is what was done
// until then. Webhooks that are late wait for TellLate.
func (w *World) Run(ctx context.Context) (Summary, error) {
	w.say("traffic: %d jobs of four CI providers, for about %s", len(cast), w.options.Duration)
	begin := time.Now()
	results := make([]JobResult, len(cast))
	hooks := make([]Webhooks, len(cast))
	couriers := make([]*courier, len(cast))
	faults := make([]error, len(cast))
	var jobs sync.WaitGroup
	for i, j := range cast {
		jobs.Go(func() {
			p := w.player(j, i, 0)
			p.courier = w.courier(j)
			err := p.play(ctx)
			results[i], hooks[i], faults[i] = p.done(err)
			couriers[i] = p.courier
		})
	}
	rotation, err := w.rotate(ctx)
	jobs.Wait()
	summary := Summary{Jobs: results, Elapsed: time.Since(begin), Rotation: rotation}
	for i, r := range results {
		summary.Webhooks.add(hooks[i])
		for _, q := range r.Requests {
			summary.Requests++
			if q.Decision == "allow" {
				summary.Allowed++
			} else {
				summary.Denied++
			}
			if rotation != nil {
				rotation.count(q)
			}
		}
	}
	w.couriers = couriers
	return summary, errors.Join(append(faults, err)...)
}

// TellLate sends the webhooks that were held back while Run played, and adds what
// came of them to its Summary. Call it after Run, once.
func (w *World) TellLate(ctx context.Context, summary *Summary) error {
	var faults []error
	for i, c := range w.couriers {
		if c == nil || c.kind != late {
			continue
		}
		c.release(ctx)
		hooks, told, err := c.wait()
		summary.Webhooks.add(hooks)
		summary.Jobs[i].Told = told
		if err != nil {
			faults = append(faults, fmt.Errorf("job %q: %w", summary.Jobs[i].Name, err))
		}
	}
	return errors.Join(faults...)
}

// Idle sends one harmless request after another, of the jobs that still run,
// until ctx ends. A request that fails is left out: Idle shows, it proves nothing.
func (w *World) Idle(ctx context.Context) {
	var running []*player
	for i, j := range cast {
		if j.status == "running" {
			running = append(running, w.player(j, i, 1))
		}
	}
	for n := 0; pause(ctx, idlePause) == nil; n++ {
		p := running[n%len(running)]
		if token, err := w.issuer.token(p.job, p.newID(), time.Now()); err == nil {
			_, _ = p.send(ctx, token, p.job.steps[0])
		}
	}
}

// player plays one job.
type player struct {
	world  *World
	job    job
	random *rand.Rand // its own, so that the order in which jobs run changes nothing
	client *http.Client
	away   *http.Client // of another network
	result JobResult

	courier *courier // nil where no CI server is told of the run
	run     ciRun    // as the CI server knows it
}

// player prepares the job at that place of the cast; act 0 is the script, act 1
// what comes after it, with token ids of its own.
func (w *World) player(j job, index int, act uint64) *player {
	result := JobResult{
		Name: j.name, Provider: j.provider, Project: j.project, Run: j.run, ClaimedRun: j.header,
		Commit: history[j.change].sha, Subject: j.subject, Status: j.status,
	}
	return &player{
		world: w, job: j, result: result, run: ciRun{job: j},
		random: rand.New(rand.NewPCG(w.options.Seed+act<<32, uint64(index+1))),
		// Each job on an address of its own, as from an agent of its own.
		client: w.client(net.IPv4(127, 0, 0, byte(11+index))),
		away:   w.client(net.IPv4(127, 0, 99, byte(11+index))),
	}
}

// client sends each request on a connection of its own, as a job's steps are
// processes of their own. On Linux it sends them from an address: all of 127.0.0.0/8
// is loopback there.
func (w *World) client(from net.IP) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if runtime.GOOS == "linux" && w.options.Gate == "" {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

func (p *player) newID() string { return uuid(p.random.Uint64(), p.random.Uint64()) }

// play has the job's run begin and end in its CI server, and sends its requests
// between.
func (p *player) play(ctx context.Context) error {
	duration := p.world.options.Duration
	p.tell(ctx, &p.run.queued)
	if err := pause(ctx, p.upTo(duration/4)); err != nil {
		return err
	}
	p.tell(ctx, &p.run.started)
	err := p.steps(ctx)
	if p.job.status != "running" {
		p.tell(ctx, &p.run.finished)
	}
	return err
}

// tell lets a time of the run come, and its CI server send what there is to say.
func (p *player) tell(ctx context.Context, step *time.Time) {
	if p.courier == nil {
		return
	}
	*step = time.Now().UTC()
	p.courier.tell(ctx, p.run)
}

// done is the player's part of the Summary, and what went wrong in it.
func (p *player) done(err error) (JobResult, Webhooks, error) {
	if p.courier == nil {
		return p.result, Webhooks{}, err
	}
	hooks, told, undelivered := p.courier.wait()
	p.result.Told = told
	if undelivered != nil {
		err = errors.Join(err, fmt.Errorf("job %q: %w", p.job.name, undelivered))
	}
	return p.result, hooks, err
}

// steps sends the job's requests, with pauses that spread them over the script's
// duration.
func (p *player) steps(ctx context.Context) error {
	token, err := p.world.issuer.token(p.job, p.newID(), time.Now())
	if err != nil {
		return err
	}
	total := 0
	for _, s := range p.job.steps {
		if !s.burst {
			total += s.times
		}
	}
	duration := p.world.options.Duration
	var faults []error
	for _, s := range p.job.steps {
		if s.after {
			if token, err = p.anew(ctx); err != nil {
				return errors.Join(append(faults, err)...)
			}
		}
		times, wait := s.times, duration/time.Duration(total)
		if s.burst {
			times = p.world.options.Burst
			wait = duration / 2 / time.Duration(times)
		}
		for range times {
			if err := pause(ctx, p.upTo(wait)); err != nil {
				return errors.Join(append(faults, err)...)
			}
			if err := p.request(ctx, token, s); err != nil {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}

// anew waits until GitHub signs with its next key, and asks for a token again.
func (p *player) anew(ctx context.Context) (string, error) {
	select {
	case <-p.world.rotated:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return p.world.issuer.token(p.job, p.newID(), time.Now())
}

// request sends one request, notes it, and compares the answer.
func (p *player) request(ctx context.Context, token string, s step) error {
	began := time.Now()
	status, err := p.send(ctx, token, s)
	p.result.Requests = append(p.result.Requests, Request{
		Method: s.method, Host: hostOf(s.path), Path: s.path,
		Status: status, Decision: s.want.decision, Reason: s.want.reason, Burst: s.burst,
		began: began, ended: time.Now(), lost: err != nil || status != s.want.status,
	})
	switch {
	case err != nil:
		return fmt.Errorf("job %q: %s %s: %w", p.job.name, s.method, s.path, err)
	case status != s.want.status:
		return fmt.Errorf("job %q: %s %s: want status %d, have %d", p.job.name, s.method, s.path, s.want.status, status)
	}
	return nil
}

// send returns the answer's status, once it was read or abandoned as the step wants.
func (p *player) send(ctx context.Context, token string, s step) (int, error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	r, err := http.NewRequestWithContext(ctx, s.method, p.world.Gate()+s.path, bytes.NewReader(make([]byte, s.size)))
	if err != nil {
		return 0, err
	}
	r.Host = hostOf(s.path)
	r.Header.Set("User-Agent", "ci-job/1.0")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if p.job.header != "" {
		r.Header.Set("X-CI-Run", p.job.header)
	}
	client := p.client
	if s.away {
		client = p.away
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if s.hangUp { // in the middle of the answer: however long that took to begin
		defer time.AfterFunc(patience, func() { hangUp(errImpatient) }).Stop()
	}
	_, err = io.Copy(io.Discard, response.Body)
	switch {
	case s.hangUp && err == nil:
		return response.StatusCode, errors.New("the answer came before the job hung up")
	case s.hangUp && errors.Is(context.Cause(ctx), errImpatient):
		err = nil
	}
	return response.StatusCode, err
}

// upTo returns a pause of up to d.
func (p *player) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(p.random.Int64N(int64(d)))
}

// pause waits for d, or until ctx ends and returns its error.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// hostOf is the name under which a path is asked for.
func hostOf(path string) string {
	switch {
	case strings.HasPrefix(path, "/deployments/"):
		return "deploy.example.test"
	case strings.HasPrefix(path, "/secrets/"):
		return "vault.example.test"
	}
	return "registry.example.test"
}
