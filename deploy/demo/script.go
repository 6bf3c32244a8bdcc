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
	Requests   []Request // in the order of sending
}

// Request is one request and what the gate must have logged of it.
type Request struct {
	Method, Host, Path string
	Status             int // as the job read it
	Decision, Reason   string

	began, ended time.Time
	lost         bool // no answer, or another than that
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
// another, and meanwhile the rotation of a key. The error joins every answer that was not the expected one, each with
// its job and request; the Summary is what was done until then.
func (w *World) Run(ctx context.Context) (Summary, error) {
	w.say("traffic: %d jobs of four CI providers, for about %s", len(cast), w.options.Duration)
	begin := time.Now()
	results := make([]JobResult, len(cast))
	faults := make([]error, len(cast))
	var jobs sync.WaitGroup
	for i, j := range cast {
		jobs.Go(func() {
			p := w.player(j, i, 0)
			faults[i] = p.play(ctx)
			results[i] = p.result
		})
	}
	rotation, err := w.rotate(ctx)
	jobs.Wait()
	summary := Summary{Jobs: results, Elapsed: time.Since(begin), Rotation: rotation}
	for _, r := range results {
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
	w.mu.Lock()
	w.ended = time.Now()
	w.mu.Unlock()
	return summary, errors.Join(append(faults, err, w.writeHistory())...)
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
	result JobResult
}

// player prepares the job at that place of the cast; act 0 is the script, act 1
// what comes after it, with token ids of its own.
func (w *World) player(j job, index int, act uint64) *player {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if runtime.GOOS == "linux" && w.options.Gate == "" {
		// Each job on an address of its own, as from an agent of its own: Linux
		// takes all of 127.0.0.0/8 for loopback.
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(11+index))}
	}
	result := JobResult{Name: j.name, Provider: j.provider, Project: j.project, Run: j.run, Subject: j.subject, Commit: history[j.change].sha}
	if j.claims {
		result.ClaimedRun = j.run
	}
	return &player{
		world: w, job: j, result: result,
		random: rand.New(rand.NewPCG(w.options.Seed+act<<32, uint64(index+1))),
		// Each request on a connection of its own, as a job's steps are processes of
		// their own.
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}},
	}
}

func (p *player) newID() string { return uuid(p.random.Uint64(), p.random.Uint64()) }

// play sends the job's requests, with pauses that spread them over the
// script's duration.
func (p *player) play(ctx context.Context) error {
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
	if err := pause(ctx, p.upTo(duration/4)); err != nil {
		return err
	}
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
		Status: status, Decision: s.want.decision, Reason: s.want.reason,
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
	if p.job.claims {
		r.Header.Set("X-CI-Run", p.job.run)
	}
	response, err := p.client.Do(r)
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
