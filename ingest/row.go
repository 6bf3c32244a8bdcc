package ingest

import (
	"bytes"
	"math"

	lf "github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/schema"
)

// arrival is what is known of a line beside its text.
type arrival struct {
	received int64  // microseconds since the epoch, UTC
	source   []byte // transport and peer, such as "tcp/10.0.0.5"
	proxy    []byte // the syslog header's host name
	pid      uint32 // the syslog header's process id
	sent     int64  // the syslog header's time, 0 where it has none
}

// Keep says which values that often hold secrets are stored all the same.
type Keep struct {
	Query   bool // query strings (credentials in them are still removed)
	Cookies bool // captured cookies, as extra['request_cookie'] and ['response_cookie']
}

// rowWriter appends a line's values to a block: the one place that knows which
// field of a log line goes into which column of requests.
type rowWriter struct {
	keep            Keep
	requestSecrets  []bool // which captured request headers hold a credential
	responseSecrets []bool
	extras          map[string]sensitivity // of items without a column, by name

	suspect               bool   // the line holds what begins a token
	path, endpoint, clean []byte // scratch

	seen memory
}

// write appends one row of the line. at is the request's time in microseconds
// and marks what is remarkable about the line, both already judged.
func (w *rowWriter) write(b *schema.RequestBlock, r *lf.Record, a *arrival, at int64, marks, line []byte) {
	w.suspect = mayHoldToken(line)
	w.origin(b, r, a, at)
	w.target(b, r)
	w.outcome(b, r)
	w.identity(b, r)
	w.rest(b, r)
	b.Marks.Append(marks)
	b.EndRow()
}

// redact removes tokens from a value that holds none as a rule.
func (w *rowWriter) redact(v []byte) []byte {
	if !w.suspect {
		return v
	}
	return redactToken(&w.clean, v)
}

// text is a text field without tokens.
func (w *rowWriter) text(r *lf.Record, f lf.Field) []byte { return w.redact(text(r, f)) }

// headers removes credentials from captured headers.
func (w *rowWriter) headers(v []byte, secrets []bool) []byte {
	if len(v) == 0 {
		return v
	}
	if len(secrets) == 0 {
		hash := hashOf(v)
		if w.seen.harmless(hash) {
			return v
		}
		if !w.suspect && !hasScheme(v) {
			w.seen.addHarmless(hash)
			return v
		}
	}
	return redactHeaders(&w.clean, v, secrets)
}

// origin: when, through which proxy, from where.
func (w *rowWriter) origin(b *schema.RequestBlock, r *lf.Record, a *arrival, at int64) {
	b.Time.Append(at)
	b.Received.Append(uint32(a.received / 1e6))
	proxy := a.proxy
	if r.Has(lf.Hostname) {
		proxy = r.Text[lf.Hostname]
	}
	b.Proxy.Append(proxy)
	b.Source.Append(a.source)
	b.PID.Append(uint32(number(r, lf.PID, int64(a.pid), math.MaxUint32)))
	b.RequestCounter.Append(uint32(number(r, lf.RequestCounter, 0, math.MaxUint32)))
	b.Frontend.Append(text(r, lf.Frontend))
	b.Backend.Append(text(r, lf.Backend))
	b.Server.Append(text(r, lf.Server))
	b.TLS.Append(uint8(number(r, lf.TLS, 0, 1)))
	if r.Has(lf.ClientAddr) {
		b.ClientIP.Append(&r.Addr)
	} else {
		b.ClientIP.Append(&[16]byte{})
	}
	b.ClientPort.Append(uint16(number(r, lf.ClientPort, 0, math.MaxUint16)))
}

// target: what was asked for.
func (w *rowWriter) target(b *schema.RequestBlock, r *lf.Record) {
	path, query := pathAndQuery(r)
	w.place(b, path)
	b.Method.Append(w.text(r, lf.Method))
	b.Host.Append(w.text(r, lf.Host))
	b.HTTPVersion.Append(text(r, lf.HTTPVersion))
	if w.keep.Query {
		b.Query.Append(redactWord(&w.clean, query))
	} else {
		b.Query.AppendEmpty()
	}
}

// place: the path and its endpoint. A path that this block has seen needs no
// second look.
func (w *rowWriter) place(b *schema.RequestBlock, path []byte) {
	hash := hashOf(path)
	if key, ok := w.seen.endpoint(hash); ok {
		b.Path.Append(path)
		b.Endpoint.AppendKey(key)
		return
	}
	clean := redactWord(&w.path, path)
	w.endpoint = appendEndpoint(w.endpoint[:0], clean)
	b.Path.Append(clean)
	b.Endpoint.Append(w.endpoint)
	if len(w.endpoint) > 0 && bytes.Equal(clean, path) {
		w.seen.addEndpoint(hash, b.Endpoint.LastKey())
	}
}

// outcome: what came of it, in HAProxy's numbers.
func (w *rowWriter) outcome(b *schema.RequestBlock, r *lf.Record) {
	b.Status.Append(int16(number(r, lf.Status, 0, math.MaxInt16)))
	b.BytesRead.Append(number(r, lf.BytesRead, 0, math.MaxInt64))
	b.BytesSent.Append(number(r, lf.BytesSent, 0, math.MaxInt64))
	b.RequestMs.Append(timer(r, lf.TimerTR, lf.TimerTq))
	b.QueueMs.Append(timer(r, lf.TimerTw, lf.TimerTw))
	b.ConnectMs.Append(timer(r, lf.TimerTc, lf.TimerTc))
	b.ResponseMs.Append(timer(r, lf.TimerTr, lf.TimerTr))
	b.ActiveMs.Append(timer(r, lf.TimerTa, lf.TimerTt))
	b.Termination.Append(text(r, lf.TerminationState))
	b.ActConn.Append(uint32(number(r, lf.ActConn, 0, math.MaxUint32)))
	b.FeConn.Append(uint32(number(r, lf.FeConn, 0, math.MaxUint32)))
	b.BeConn.Append(uint32(number(r, lf.BeConn, 0, math.MaxUint32)))
	b.SrvConn.Append(uint32(number(r, lf.SrvConn, 0, math.MaxUint32)))
	b.Retries.Append(uint16(number(r, lf.Retries, 0, math.MaxUint16)))
	b.Redispatched.Append(uint8(number(r, lf.Redispatched, 0, 1)))
	b.SrvQueue.Append(uint32(number(r, lf.SrvQueue, 0, math.MaxUint32)))
	b.BackendQueue.Append(uint32(number(r, lf.BackendQueue, 0, math.MaxUint32)))
	b.RequestHeaders.Append(w.headers(text(r, lf.RequestHeaders), w.requestSecrets))
	b.ResponseHeaders.Append(w.headers(text(r, lf.ResponseHeaders), w.responseSecrets))
	b.UniqueID.Append(w.text(r, lf.UniqueID))
}

// identity: who it was, as far as the gate verified it, and what it decided.
func (w *rowWriter) identity(b *schema.RequestBlock, r *lf.Record) {
	b.Provider.Append(w.text(r, lf.Provider))
	b.Issuer.Append(w.text(r, lf.Issuer))
	b.Subject.Append(w.text(r, lf.Subject))
	b.TokenID.Append(w.text(r, lf.TokenID))
	b.KeyID.Append(w.text(r, lf.KeyID))
	b.Audience.Append(w.text(r, lf.Audience))
	b.IssuedAt.Append(seconds(r, lf.IssuedAt))
	b.ExpiresAt.Append(seconds(r, lf.ExpiresAt))
	b.Tenant.Append(w.text(r, lf.Tenant))
	b.Project.Append(w.text(r, lf.Project))
	b.Job.Append(w.text(r, lf.Job))
	b.Run.Append(w.text(r, lf.Run))
	b.RunAttempt.Append(w.text(r, lf.RunAttempt))
	b.Ref.Append(w.text(r, lf.Ref))
	b.Commit.Append(w.text(r, lf.Commit))
	b.Actor.Append(w.text(r, lf.Actor))
	b.Runner.Append(w.text(r, lf.Runner))
	b.Role.Append(w.text(r, lf.Role))
	decision, reason := judge(r)
	b.Decision.Append(w.redact(decision))
	b.Reason.Append(w.redact(reason))
	b.ClaimedRun.Append(redactWord(&w.clean, text(r, lf.ClaimedRun)))
}

// rest: every item that has no column, by its own name.
func (w *rowWriter) rest(b *schema.RequestBlock, r *lf.Record) {
	for i := range r.Extra {
		if e := &r.Extra[i]; len(e.Value) > 0 {
			w.extra(b, e)
		}
	}
	for _, f := range extraFields {
		if r.Has(f.field) && (!f.cookie || w.keep.Cookies) {
			b.Extra.Put(f.name, redactWord(&w.clean, r.Text[f.field]))
		}
	}
	b.Extra.EndRow()
}

func (w *rowWriter) extra(b *schema.RequestBlock, e *lf.Extra) {
	value := e.Value
	switch w.extras[e.Name] {
	case secret:
		value = []byte(Redacted)
	case cookie:
		if !w.keep.Cookies {
			return
		}
	default:
		value = redactWord(&w.clean, value)
	}
	b.Extra.Put(e.Name, value)
}

// extraFields are fields of HAProxy's that have no column of their own.
var extraFields = [...]struct {
	field  lf.Field
	name   string
	cookie bool
}{
	{lf.RequestCookie, "request_cookie", true},
	{lf.ResponseCookie, "response_cookie", true},
	{lf.TLSCipher, "ssl_cipher", false},
	{lf.TLSVersion, "ssl_version", false},
	{lf.LogOrigin, "log_origin", false},
	{lf.FrontendAddr, "frontend_ip", false},
	{lf.BackendAddr, "backend_ip", false},
	{lf.ServerAddr, "server_ip", false},
}

// text is a text field. Of an identity, a value that the line's end cut does not
// count: the beginning of a subject can be somebody else's name.
func text(r *lf.Record, f lf.Field) []byte {
	if !r.Has(f) || (f >= lf.Provider && r.Truncated && r.Cut == f) {
		return nil
	}
	return r.Text[f]
}

// seconds is a time as a DateTime, 0 where it is missing or does not fit.
func seconds(r *lf.Record, f lf.Field) uint32 {
	if !r.Has(f) || r.Int[f] < 0 || r.Int[f]/1e6 > math.MaxUint32 {
		return 0
	}
	return uint32(r.Int[f] / 1e6)
}

// number is an integer field held to what its column can take; a value beyond
// that is the greatest one, so that an absurd input never looks like a small
// number.
func number(r *lf.Record, f lf.Field, missing, greatest int64) int64 {
	if !r.Has(f) {
		return missing
	}
	v := r.Int[f]
	if v > greatest {
		return greatest
	}
	if v < 0 && greatest != math.MaxInt16 && greatest != math.MaxInt64 {
		return missing
	}
	return v
}

// timer is one of HAProxy's timers in milliseconds, -1 where it was not reached
// or not logged. second is the older timer that stands in for first.
func timer(r *lf.Record, first, second lf.Field) int32 {
	f := first
	if !r.Has(f) {
		if f = second; !r.Has(f) {
			return -1
		}
	}
	return int32(min(max(r.Int[f], -1), math.MaxInt32))
}

// pathAndQuery takes the path from wherever the format has it.
func pathAndQuery(r *lf.Record) (path, query []byte) {
	path = text(r, lf.Path)
	if r.Has(lf.Query) {
		query = r.Text[lf.Query]
	}
	if r.Has(lf.URI) {
		p, q, found := bytes.Cut(r.Text[lf.URI], []byte{'?'})
		if path == nil {
			path = p
		}
		if found && query == nil {
			query = q
		}
	}
	return path, query
}

var (
	allow = []byte("allow")
	deny  = []byte("deny")
	// The reasons of denials that HAProxy's numbers tell of and no field explains.
	reasonProxy      = []byte("denied_by_proxy")
	reasonBadRequest = []byte("bad_request")
)

// judge is the gate's decision: what the log says or, for a format that does
// not log one, what HAProxy's own numbers show: the proxy itself ended the
// request (termination state P…, configuration manual section 8.5) with 401,
// 403 or 429, or refused it as malformed, or a server was asked.
func judge(r *lf.Record) (decision, reason []byte) {
	reason = text(r, lf.Reason)
	if d := text(r, lf.Decision); d != nil {
		switch {
		case bytes.EqualFold(d, allow):
			return allow, reason
		case bytes.EqualFold(d, deny):
			return deny, reason
		default:
			return d, reason
		}
	}
	server := text(r, lf.Server)
	if len(server) > 0 && server[0] != '<' {
		return allow, reason
	}
	var why []byte
	switch state := text(r, lf.TerminationState); {
	case r.Int[lf.Status] == 400 && r.Has(lf.Status):
		why = reasonBadRequest
	case len(state) > 0 && state[0] == 'P' && isDenial(r):
		why = reasonProxy
	default:
		return nil, reason
	}
	if reason == nil {
		reason = why
	}
	return deny, reason
}

func isDenial(r *lf.Record) bool {
	if !r.Has(lf.Status) {
		return false
	}
	switch r.Int[lf.Status] {
	case 401, 403, 429:
		return true
	}
	return false
}
