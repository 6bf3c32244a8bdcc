// Package citest has fake CI servers, one file a provider, built from the shapes
// that the vendors document. A fake holds a small world, checks what its client
// sends, signs and delivers its webhooks, and fails on demand. It is an
// http.Handler: tests and the demo put it behind a loopback listener. It does not
// import package ci, whose own tests import it.
package citest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Fault is what a fake does wrong, instead of or after the right answer.
type Fault struct {
	// Path selects the requests whose path contains it; "" is every request.
	Path string
	// After lets so many of them through first; Times is how many fail then, 0: all.
	After, Times int
	// Status answers with it, RetryAfter with that header beside it, and Body with
	// that body. 0 is the right answer, to be spoilt by what follows.
	Status     int
	RetryAfter string
	Body       string
	// Header is added to the answer.
	Header http.Header
	// Truncate sends half of the right answer as if it were whole: JSON that breaks
	// off, as behind a proxy that cuts.
	Truncate bool
	// Hang holds the answer back until it is closed or the client has gone.
	Hang <-chan struct{}
}

// Fake is what all fake servers share: what their clients did wrong, what they
// asked for, and the faults to come. Embed it. Its zero value is ready.
type Fake struct {
	mu         sync.Mutex
	violations []string
	requests   []string
	faults     []*Fault
}

// Fail adds a fault. The first one that selects a request decides.
func (f *Fake) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal takes all faults away.
func (f *Fake) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Violate records that the client sent what the documentation forbids.
func (f *Fake) Violate(format string, arguments ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violations = append(f.violations, fmt.Sprintf(format, arguments...))
}

// Violations are what the clients did wrong so far.
func (f *Fake) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// Requests are those so far, as "GET /path?query", that contain a text.
func (f *Fake) Requests(containing string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.requests), func(r string) bool { return !strings.Contains(r, containing) })
}

// Serve records a request and answers it with next, or with a fault.
func (f *Fake) Serve(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	fault := f.enter(r)
	if fault == nil {
		next(w, r)
		return
	}
	if fault.Hang != nil {
		select {
		case <-fault.Hang:
		case <-r.Context().Done():
			return
		}
	}
	for name, values := range fault.Header {
		w.Header()[name] = values
	}
	if fault.RetryAfter != "" {
		w.Header().Set("Retry-After", fault.RetryAfter)
	}
	switch {
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
		fmt.Fprint(w, fault.Body)
	case fault.Truncate:
		truncate(w, r, next)
	default:
		next(w, r)
	}
}

// enter records a request and finds the fault that it meets, if any.
func (f *Fake) enter(r *http.Request) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	for i, fault := range f.faults {
		if !strings.Contains(r.URL.Path, fault.Path) {
			continue
		}
		if fault.After > 0 {
			fault.After--
			continue
		}
		if fault.Times == 1 {
			f.faults = slices.Delete(f.faults, i, i+1)
		} else if fault.Times > 1 {
			fault.Times--
		}
		return fault
	}
	return nil
}

// truncate answers with the first half of what next would have answered.
func truncate(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	whole := &recorder{ResponseWriter: w, status: http.StatusOK}
	next(whole, r)
	w.WriteHeader(whole.status)
	_, _ = w.Write(whole.body.Bytes()[:whole.body.Len()/2])
}

// recorder keeps a body back. net/http/httptest has one too, and a flag that a
// program which serves a fake would show.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int)         { r.status = status }
func (r *recorder) Write(text []byte) (int, error) { return r.body.Write(text) }
