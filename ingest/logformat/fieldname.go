package logformat

// fieldNames are the names under which fields appear in configuration,
// diagnostics and documentation, in the order of the constants.
var fieldNames = [NumFields]string{
	ClientAddr: "client_addr", ClientPort: "client_port",
	FrontendAddr: "frontend_addr", FrontendPort: "frontend_port",
	BackendAddr: "backend_addr", BackendPort: "backend_port",
	ServerAddr: "server_addr", ServerPort: "server_port",
	AcceptTime: "accept_time", RequestTime: "request_time",
	Frontend: "frontend", TLS: "tls", Backend: "backend", Server: "server",
	TimerTR: "timer_tr_request", TimerTw: "timer_tw", TimerTc: "timer_tc", TimerTr: "timer_tr_response",
	TimerTd: "timer_td", TimerTh: "timer_th", TimerTi: "timer_ti", TimerTq: "timer_tq",
	TimerTa: "timer_ta", TimerTt: "timer_tt", TimerTu: "timer_tu",
	Status: "status", BytesRead: "bytes_read", BytesSent: "bytes_sent",
	ActConn: "actconn", FeConn: "feconn", BeConn: "beconn", SrvConn: "srvconn",
	Retries: "retries", Redispatched: "redispatched", SrvQueue: "srv_queue", BackendQueue: "backend_queue",
	TerminationState: "termination_state",
	RequestCookie:    "request_cookie", ResponseCookie: "response_cookie",
	RequestHeaders: "request_headers", ResponseHeaders: "response_headers",
	Method: "method", URI: "uri", Path: "path", Query: "query", HTTPVersion: "http_version",
	UniqueID: "unique_id", Hostname: "hostname", LogCounter: "log_counter",
	RequestCounter: "request_counter", PID: "pid",
	TLSCipher: "tls_cipher", TLSVersion: "tls_version", LogOrigin: "log_origin", Host: "host",

	Provider: "provider", Issuer: "issuer", Subject: "subject", TokenID: "token_id", KeyID: "key_id",
	Audience: "audience", IssuedAt: "issued_at", ExpiresAt: "expires_at", Tenant: "tenant",
	Project: "project", Job: "job", Run: "run", RunAttempt: "run_attempt", Ref: "ref", Commit: "commit",
	Actor: "actor", Runner: "runner", Role: "role", Decision: "decision", Reason: "reason",
	ClaimedRun: "claimed_run",
}

// String returns the field's name in snake_case, such as "client_addr".
func (f Field) String() string {
	if f >= NumFields {
		return "none"
	}
	return fieldNames[f]
}

// FieldByName finds the field that String calls name.
func FieldByName(name string) (Field, bool) {
	for i, n := range fieldNames {
		if n == name {
			return Field(i), true
		}
	}
	return NumFields, false
}

// Kind tells where Record keeps the field's value.
func (f Field) Kind() Kind {
	switch f {
	case ClientAddr:
		return KindAddr
	case AcceptTime, RequestTime, IssuedAt, ExpiresAt:
		return KindTime
	case ClientPort, FrontendPort, BackendPort, ServerPort, TLS, Status, BytesRead, BytesSent,
		Retries, Redispatched, LogCounter, RequestCounter, PID:
		return KindInt
	}
	if f >= TimerTR && f <= TimerTu || f >= ActConn && f <= SrvConn || f == SrvQueue || f == BackendQueue {
		return KindInt
	}
	return KindText
}

// DefaultVars tells which field each HAProxy variable fills when a format logs
// it with %[var(txn.NAME)] (or the scopes sess, proc, req and res). Options.Vars
// extends and overrides it.
func DefaultVars() map[string]Field {
	return map[string]Field{
		"provider": Provider,
		"iss":      Issuer, "issuer": Issuer,
		"sub": Subject, "subject": Subject,
		"jti": TokenID, "token_id": TokenID,
		"kid": KeyID, "kidlog": KeyID, "key_id": KeyID,
		"aud": Audience, "audience": Audience,
		"iat": IssuedAt, "issued_at": IssuedAt,
		"exp": ExpiresAt, "expires_at": ExpiresAt,
		"tenant":  Tenant,
		"project": Project, "repo": Project, "repository": Project,
		"job": Job,
		"run": Run, "run_id": Run,
		"run_attempt": RunAttempt, "attempt": RunAttempt,
		"ref": Ref,
		"sha": Commit, "commit": Commit,
		"actor":  Actor,
		"runner": Runner, "agent": Runner,
		"role":     Role,
		"decision": Decision, "grant": Decision,
		"reason":      Reason,
		"claimed_run": ClaimedRun, "ci_run": ClaimedRun,
		"method": Method, "m": Method,
		"path": Path, "dpath": Path,
		"uri": URI, "host": Host,
	}
}

// DefaultHeaders tells which field each captured request header fills. Names
// are in lower case. Options.Headers extends and overrides it.
func DefaultHeaders() map[string]Field {
	return map[string]Field{
		"host":              Host,
		"x-ci-run":          ClaimedRun,
		"x-ci-execution-id": ClaimedRun,
	}
}
