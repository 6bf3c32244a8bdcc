package embedded

import (
	"context"
	"strings"
	"time"
)

// begin waits for a slot, within ctx, and enters a statement as running. end
// must be called when it is over; the context ends with the client's, and when
// the engine is closed.
func (e *Engine) begin(ctx context.Context, id string, outside bool) (run context.Context, end func(), err error) {
	releaseOutside := func() {}
	if outside {
		if err := acquire(ctx, e.outside); err != nil {
			return nil, nil, err
		}
		releaseOutside = func() { <-e.outside }
	}
	if err := acquire(ctx, e.slots); err != nil {
		releaseOutside()
		return nil, nil, err
	}
	release := func() { <-e.slots; releaseOutside() }
	run, cancel := context.WithCancelCause(ctx)
	if err := e.enter(id, cancel); err != nil {
		cancel(nil)
		release()
		return nil, nil, err
	}
	return run, func() {
		cancel(nil)
		e.leave(id)
		release()
	}, nil
}

func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuse(codeTooMany, "TOO_MANY_SIMULTANEOUS_QUERIES",
			"%d statements run already, and the client gave up waiting", cap(slots))
	}
}

func (e *Engine) enter(id string, cancel context.CancelCauseFunc) error {
	e.running.Lock()
	defer e.running.Unlock()
	if e.running.closed {
		return refuse(codeAborted, "ABORTED", "%v", ErrClosed)
	}
	if _, ok := e.running.cancels[id]; ok {
		return refuse(codeSameQueryID, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = %s is already running.", id)
	}
	e.running.cancels[id] = cancel
	return nil
}

func (e *Engine) leave(id string) {
	e.running.Lock()
	defer e.running.Unlock()
	delete(e.running.cancels, id)
	if e.running.closed && len(e.running.cancels) == 0 {
		close(e.running.idle)
	}
}

// watch kills the session's statement when ctx ends. stop must be called before
// the session is closed; no kill comes after it.
func (e *Engine) watch(ctx context.Context, id string) (stop func()) {
	done, killed := make(chan struct{}), make(chan struct{})
	prevent := context.AfterFunc(ctx, func() {
		defer close(killed)
		// Again and again: the statement may not have begun yet, or the session
		// may run several.
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			e.kill(id)
			select {
			case <-done:
				return
			case <-time.After(wait):
			}
		}
	})
	return func() {
		close(done)
		if !prevent() {
			<-killed
		}
	}
}

// kill cancels the running statement of the session that carries id as its
// log_comment. ASYNC: with SYNC libchdb was seen to wait for ever.
func (e *Engine) kill(id string) {
	e.control.Lock()
	defer e.control.Unlock()
	if e.control.session == nil {
		return
	}
	if err := e.control.session.exec("KILL QUERY WHERE " + sessionID + " = " + quote(id) + " ASYNC"); err != nil {
		e.logger.Warn("cannot cancel a statement", "query_id", id, "err", err)
	}
}

// sessionID is, in system.processes, the query id as clients know it: libchdb
// gives statements ids of its own.
const sessionID = "Settings['log_comment']"

// rewriteKill lets KILL QUERY WHERE query_id = … see the ids that clients gave,
// and makes it ASYNC.
func rewriteKill(s *session, sql string) (string, error) {
	canonical, err := canonicalForm(s, sql)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	tokens := lexer{sql: canonical}
	at := 0
	for t := tokens.next(); t.kind != tokenEnd && t.kind != tokenCut; t = tokens.next() {
		replacement := ""
		switch {
		case t.identifier() && t.text == "query_id":
			replacement = "if(" + sessionID + " = '', query_id, " + sessionID + ")"
		case t.is("SYNC"):
			replacement = "ASYNC"
		default:
			continue
		}
		out.WriteString(canonical[at:t.start] + replacement)
		at = t.end
	}
	out.WriteString(canonical[at:])
	return out.String(), nil
}
