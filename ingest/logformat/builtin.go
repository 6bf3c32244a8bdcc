package logformat

// The formats that HAProxy has built in (configuration manual 8.2.2, 8.2.3 and
// 8.2.5; the same strings from 2.4 to 3.2).
const (
	httplog  = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r`
	httpslog = httplog + ` %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc`
	tcplog   = `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`
	clf      = `%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl`
	tcpclf   = `%{+Q}o %{-Q}ci - - [%T] "TCP " 000 %B "" "" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq "" ""`
)

// Haptrail is the log-format that haptrail's own gate writes: one JSON object
// on a line, the same on HAProxy 2.6 to 3.x, in UTC, and unambiguous whatever a
// client or a token puts into a value.
//
// Every text passes through the json converter in its ascii mode, which escapes
// all that is not printable ASCII and, unlike json(utf8s), never fails; or it
// is one that HAProxy itself restricts (names, addresses). %r and %HU are not
// used: they leave a backslash as it is. "%{-M}" makes an absent value "".
//
// It reads these variables of the scope txn, which the configuration must set
// (method, host, path and uri too: %[method] is not usable when the line is
// written): provider, iss, sub, jti, kid, aud, iat, exp, tenant, project, job,
// run, run_attempt, ref, sha, actor, runner, role, decision, reason,
// claimed_run, method, host, path and uri. uri should be set without the query
// string where that may hold secrets. A variable that is not set is absent.
// What a client can make long stands last: it is what a line that is cut loses.
// The frontend's unique-id-format must not write `"` or `\`.
const Haptrail = `{"v":1,"pid":%pid,"rt":%rt,"id":"%{-M}[unique-id,json]","t":%Ts%ms` +
	`,"ci":"%ci","cp":"%cp","fe":"%ft","be":"%b","srv":"%s"` +
	`,"TR":%TR,"Tw":%Tw,"Tc":%Tc,"Tr":%Tr,"Ta":"%Ta"` +
	`,"st":%ST,"out":"%B","in":%U,"ts":"%tsc"` +
	`,"conn":"%ac/%fc/%bc/%sc/%rc","q":"%sq/%bq"` +
	`,"m":"%{-M}[var(txn.method),json]"` +
	`,"dec":"%{-M}[var(txn.decision),json]","why":"%{-M}[var(txn.reason),json]","role":"%{-M}[var(txn.role),json]"` +
	`,"prov":"%{-M}[var(txn.provider),json]","iss":"%{-M}[var(txn.iss),json]","sub":"%{-M}[var(txn.sub),json]"` +
	`,"jti":"%{-M}[var(txn.jti),json]","kid":"%{-M}[var(txn.kid),json]","aud":"%{-M}[var(txn.aud),json]"` +
	`,"iat":"%{-M}[var(txn.iat),json]","exp":"%{-M}[var(txn.exp),json]","tenant":"%{-M}[var(txn.tenant),json]"` +
	`,"proj":"%{-M}[var(txn.project),json]","job":"%{-M}[var(txn.job),json]","run":"%{-M}[var(txn.run),json]"` +
	`,"att":"%{-M}[var(txn.run_attempt),json]","ref":"%{-M}[var(txn.ref),json]","sha":"%{-M}[var(txn.sha),json]"` +
	`,"actor":"%{-M}[var(txn.actor),json]","runner":"%{-M}[var(txn.runner),json]"` +
	`,"claim":"%{-M}[var(txn.claimed_run),json]","host":"%{-M}[var(txn.host),json]"` +
	`,"path":"%{-M}[var(txn.path),json]","uri":"%{-M}[var(txn.uri),json]"}`

// builtins are the formats that have a name, in the order in which Detect tries
// them.
var builtins = [...]struct{ name, format string }{
	{"httplog", httplog},
	{"httpslog", httpslog},
	{"tcplog", tcplog},
	{"clf", clf},
	{"haptrail", Haptrail},
	{"tcpclf", tcpclf},
}

// Builtin returns the log-format string behind a name: httplog, httpslog,
// tcplog, clf (option httplog clf), tcpclf (option tcplog clf, HAProxy 3.2) or
// haptrail.
func Builtin(name string) (format string, ok bool) {
	for _, b := range builtins {
		if b.name == name {
			return b.format, true
		}
	}
	return "", false
}
