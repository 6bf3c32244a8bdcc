package embedded

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// insertBuffer is how much of an INSERT's body is handed to the engine at once.
const insertBuffer = 1 << 20

// handler is ClickHouse's HTTP interface on an engine.
type handler struct {
	engine  *Engine
	access  Access
	outside bool // serves an endpoint, not this process
}

// ServeHTTP answers /ping and /replicas_status for anyone, with status 503 when
// the data directory is gone, and statements at /.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		if h.engine.Check() != nil { // whose text names the directory
			http.Error(w, ErrGone.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "Ok.\n")
		return
	case "", "/":
	default:
		http.Error(w, "There is no handle "+r.URL.Path+": statements go to /, a test of life to /ping.", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "use GET to read, POST for everything", http.StatusMethodNotAllowed)
		return
	}
	if r.Method == http.MethodGet && r.URL.RawQuery == "" {
		io.WriteString(w, "Ok.\n") // as ClickHouse says to a browser
		return
	}
	out := newReply(w, h.engine)
	if r.Body != nil {
		r.Body = deadlineReader{r.Body, out.control}
	}
	if err := h.answer(r, out); err != nil {
		out.fail(err)
	}
}

func (h *handler) answer(r *http.Request, out *reply) error {
	rights, err := h.access.admit(r)
	if err != nil {
		return err
	}
	q, err := parseRequest(r, rights)
	if err != nil {
		return err
	}
	out.w.Header().Set("X-ClickHouse-Query-Id", q.id)
	st, err := q.readStatement()
	if err != nil {
		return err
	}
	if h.engine.isHello(q, st.sql) {
		out.start(q, "Native", progress{})
		return h.engine.writeHello(out, q)
	}
	ctx, end, err := h.engine.begin(r.Context(), q.id, h.outside)
	if err != nil {
		return err
	}
	defer end()
	err = h.run(ctx, q, st, out)
	if err != nil {
		h.engine.logger.Debug("statement failed", "query_id", q.id, "after", time.Since(out.begun), "err", err)
		if ctx.Err() != nil {
			return cancelled(ctx, err)
		}
	}
	return err
}

// cancelled gives the error of a statement that ended because ctx did.
func cancelled(ctx context.Context, err error) error {
	var ex *exception
	if errors.As(err, &ex) && ex.code == codeCancelled {
		return err
	}
	return refuse(codeCancelled, "QUERY_WAS_CANCELLED", "Query was cancelled: %v", context.Cause(ctx))
}

// run executes the statement in a session of its own.
func (h *handler) run(ctx context.Context, q *request, st statement, out *reply) error {
	s, err := h.engine.session("--log_comment=" + q.id)
	if err != nil {
		return err
	}
	defer s.close()
	defer h.engine.watch(ctx, q.id)()
	if st.insert != nil {
		return h.insert(ctx, s, q, st, out)
	}
	return h.query(ctx, s, q, st.sql, out)
}

// query runs a statement that brings no data.
func (h *handler) query(ctx context.Context, s *session, q *request, sql string, out *reply) error {
	sql, readOnly, err := h.admitStatement(s, q, sql)
	if err != nil {
		return err
	}
	named, body, clear := formatClause(sql)
	format := cmp.Or(named, q.format, "TabSeparated")
	streamed := readOnly && clear && !q.whole && streamable(format, sql, q)
	if _, limited := q.settings["max_result_bytes"]; !streamed && !limited && readOnly {
		q.settings["max_result_bytes"] = maxWholeResult
	}
	if err := q.prepare(s); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if streamed {
		st, err := s.stream(sql, format, q.params)
		if err != nil {
			return err
		}
		if st != nil {
			return copyStream(ctx, st, q, format, sql[:body], out)
		}
	}
	r, err := h.whole(s, sql, format, q, readOnly)
	if err != nil {
		return explainLimit(err, format)
	}
	defer r.free()
	if err := ctx.Err(); err != nil {
		return err
	}
	out.start(q, format, r.progress())
	if data := r.bytes(); len(data) > 0 {
		if _, err := out.out.Write(data); err != nil {
			return err
		}
	}
	return out.finish()
}

// whole runs a statement whose result is not streamed. One that may write is not
// begun in a directory that is not the engine's, and not confirmed there.
func (h *handler) whole(s *session, sql, format string, q *request, readOnly bool) (*result, error) {
	if readOnly {
		return s.query(sql, format, q.params)
	}
	if err := h.engine.confirm(); err != nil {
		return nil, err
	}
	r, err := s.query(sql, format, q.params)
	if gone := h.engine.confirm(); gone != nil {
		if err == nil {
			r.free()
		}
		return nil, gone
	}
	return r, err
}

// admitStatement checks that the request may run sql and gives the form to run.
func (h *handler) admitStatement(s *session, q *request, sql string) (string, bool, error) {
	what := s.analyze(sql)
	readOnly := what.statements == 1 && what.class == classReadOnly
	if t := (&lexer{sql: sql}).next(); t.kind == tokenEnd {
		return "", false, refuse(codeSyntax, "SYNTAX_ERROR", "Syntax error: Empty query")
	}
	if what.statements > 1 {
		return "", false, refuse(codeSyntax, "SYNTAX_ERROR", "Multi-statements are not allowed: send one statement per request")
	}
	// What does not parse (no statement) may run where it can do no harm: it
	// gives the engine's own error.
	if q.rights != rightsAll && what.statements == 1 && !readOnly {
		return "", false, readonlyError()
	}
	switch {
	case q.rights == rightsRead:
		vetted, err := h.engine.gate.vet(s, q, sql)
		if err != nil {
			return "", false, err
		}
		again := s.analyze(vetted)
		if again.statements != 1 || again.class != classReadOnly {
			return "", false, readonlyError()
		}
		return vetted, true, nil
	case what.statements == 1 && firstWord(sql) == "KILL":
		rewritten, err := rewriteKill(s, sql)
		return rewritten, false, err
	}
	return sql, readOnly, nil
}

func readonlyError() error {
	return refuse(codeReadonly, "READONLY", "Cannot execute query in readonly mode: GET and read-only users may only read.")
}

// copyStream sends a SELECT's chunks as the engine makes them, without copying.
func copyStream(ctx context.Context, st *stream, q *request, format, body string, out *reply) error {
	defer st.close()
	for {
		chunk, err := st.next()
		if err != nil {
			return err
		}
		if chunk == nil {
			break
		}
		out.start(q, format, chunk.progress())
		_, err = out.out.Write(chunk.bytes())
		chunk.free()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			// The client is gone. The statement has to be killed before st.close.
			st.session.engine.kill(q.id)
			return err
		}
	}
	if !out.started && format == "Native" {
		header := emptyBlock(st.session, body, q.params)
		out.start(q, format, progress{})
		if _, err := out.out.Write(header); err != nil {
			return err
		}
	}
	out.start(q, format, progress{})
	return out.finish()
}

// insert runs an INSERT on its data.
func (h *handler) insert(ctx context.Context, s *session, q *request, st statement, out *reply) error {
	if q.rights != rightsAll {
		return readonlyError()
	}
	if err := q.prepare(s); err != nil {
		return err
	}
	// Before, so that nothing is written to another directory of that name, and
	// after, so that nothing is confirmed that is gone.
	if err := h.engine.confirm(); err != nil {
		return err
	}
	in, err := s.insert(st.insert.sql, st.insert.format, q.params)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(in, struct{ io.Reader }{st.data}, make([]byte, insertBuffer))
	switch {
	case err == errInsertFailed: // commit tells why
	case err == nil && n == 0 && strings.EqualFold(st.insert.format, "Native"):
		// clickhouse-go sends this when it failed to encode a block, and takes a
		// success for the block's.
		in.cancel()
		return refuse(codeIncorrectData, "INCORRECT_DATA", "INSERT FORMAT Native without data")
	case err == nil:
		err = ctx.Err()
		fallthrough
	default:
		if err != nil {
			in.cancel()
			return err
		}
	}
	done, err := in.commit()
	if gone := h.engine.confirm(); gone != nil {
		return gone
	}
	if err != nil {
		return err
	}
	out.start(q, st.insert.format, done)
	return out.finish()
}
