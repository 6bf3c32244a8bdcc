package check

// Code is one kind of finding. Its name and severity are stable.
type Code struct {
	Name     string
	Severity Severity
	Means    string
}

// Codes lists all kinds of findings.
func Codes() []Code { return append([]Code(nil), codes[:]...) }

func severityOf(code string) Severity {
	for _, c := range codes {
		if c.Name == code {
			return c.Severity
		}
	}
	panic("edge/check: internal error: " + code + " is no code")
}

var codes = [...]Code{
	// what was read
	{"config-unreadable", Error, "a configuration file cannot be read, so that nothing in it was checked"},
	{"config-skipped", Warning, "lines between .if and .endif were not read"},
	{"policy-warning", Warning, "the policy file itself: a rule that can never match, and the like"},

	// the gate and who stands behind it
	{"gate-missing", Error, "the configuration has no defaults section haptrail"},
	{"gate-twice", Error, "there are two of them, so that HAProxy does not start"},
	{"gate-implicit", Warning, "a frontend is gated only because of its place in the file"},
	{"gate-inherited", Error, "a section that cannot carry the gate's rules inherits from it; HAProxy does not start"},
	{"gate-second", Warning, "a gated frontend's own rules judge tokens too"},
	{"frontend-unknown", Error, "a frontend that the policy protects does not exist"},
	{"frontend-ungated", Error, "a frontend that the policy protects is not behind the gate"},
	{"backend-unknown", Error, "a backend that the policy protects does not exist"},
	{"backend-exposed", Error, "a protected backend can be reached without the gate"},
	{"backend-may-be-exposed", Warning, "likewise, depending on a value that only a request has"},
	{"server-exposed", Error, "a protected backend's server is reached through another backend without the gate"},
	{"server-may-be-exposed", Warning, "likewise, depending on a value that only a request has"},

	// what comes before the gate, or undoes it
	{"answer-before-gate", Error, "a service answers requests before the gate judges them"},
	{"monitor-before-gate", Warning, "monitor-uri answers before the gate, and is not logged"},
	{"judgement-forged", Warning, "a variable that the gate judges by is set before it, in vain"},
	{"counter-taken", Error, "a stick counter that the gate counts with is taken before it"},
	{"maps-written", Error, "requests can change the gate's maps"},
	{"violations-accepted", Error, "HAProxy passes on requests that servers may read in another way"},
	{"mode-tcp", Error, "a gated frontend is in mode tcp, where no http-request rule runs"},
	{"stats-behind-gate", Warning, "HAProxy's statistics page is served to whoever may read that path"},
	{"request-rewritten", Warning, "the application gets another path, method or host than the gate judged"},
	{"request-from-client", Error, "likewise, and the client says which"},
	{"cache-shared", Warning, "an answer to one identity may be given to another one"},
	{"action-unread", Note, "Lua or an external agent acts on requests; what it does is not checked"},

	// who the application and the log are told it was
	{"identity-changed", Error, "a variable that holds the judgement or the identity is changed after it"},
	{"identity-header-set", Error, "an identity header is written by another rule than the gate's"},
	{"buffer-small", Warning, "HAProxy's buffers are too small for tokens, maps and log lines"},
	{"variables-limited", Warning, "HAProxy's variables have a limit, beyond which good tokens are denied"},
	{"identity-header-lost", Warning, "an identity header is removed before the application sees it"},
	{"client-address-set", Warning, "the client's address is taken from elsewhere than the connection"},
	{"token-in-clear", Warning, "tokens cross the network unencrypted"},
	{"token-in-clear-proxied", Note, "likewise, unless the proxy before this one ends TLS on the same machine"},

	// the log
	{"log-missing", Error, "a gated frontend logs nowhere"},
	{"log-elsewhere", Error, "no log line of a gated frontend leads to haptrail"},
	{"log-silenced", Error, "some requests are not logged at all"},
	{"log-filtered", Error, "a level or a sample on the log line keeps requests back"},
	{"log-ring-unknown", Error, "a log line names a ring that does not exist"},
	{"log-framing", Error, "a line feed in a logged value can forge a message"},
	{"log-cut", Warning, "long lines are cut"},
	{"log-udp", Warning, "datagrams are lost without a trace"},
	{"log-unheard", Warning, "haptrail does not listen where the policy sends the log"},
	{"format-lacks", Error, "a log-format leaves out what haptrail needs"},
	{"format-unreadable", Error, "a log-format that haptrail cannot read"},
	{"format-ambiguous", Warning, "lines of a log-format can be read in two ways, and are then rejected"},
	{"id-not-unique", Warning, "unique-id-format does not tell requests apart"},
	{"id-renamed", Note, "unique-id-header is not the gate's"},

	// the sockets
	{"socket-missing", Warning, "no stats socket: every change of the maps needs a reload"},
	{"socket-mode", Error, "others than HAProxy's own user and group may change who may do what"},
	{"socket-remote", Error, "the Runtime API listens on a TCP port"},
	{"socket-level", Note, "the stats socket's level is lower than admin"},
	{"master-unknown", Note, "no master socket: new keys cannot be loaded by a validated reload"},

	// the rendered folder, and what runs
	{"file-missing", Error, "a file of the gate is not there"},
	{"file-stale", Warning, "a file of the gate is not what the policy and the keys give now"},
	{"file-foreign", Warning, "HAProxy reads a file from the gate's folder that is not the gate's"},
	{"render-failed", Error, "the policy cannot be rendered now"},
	{"map-live-differs", Warning, "a map was changed at run time and not in its file: lost at the next reload"},
	{"map-live-unread", Warning, "a map could not be read from the running HAProxy"},
	{"key-missing", Error, "a public key's file is missing or unreadable; its tokens are denied"},
	{"key-invalid", Error, "a file is no public key that HAProxy takes; its tokens are denied"},
	{"key-private", Error, "a private key lies in the gate's folder"},
	{"key-unloaded", Error, "keys.map names a file that the configuration does not load; its tokens are denied"},
	{"issuer-without-key", Error, "an issuer has no key, so that none of its tokens passes"},
	{"keys-old", Warning, "an issuer's keys have not been refreshed for long"},
	{"keys-failing", Warning, "the last attempt to refresh an issuer's keys failed"},

	// HAProxy itself
	{"haproxy-unknown", Error, "the given HAProxy cannot be run"},
	{"haproxy-refuses", Error, "HAProxy does not take the configuration"},
	{"haproxy-old", Error, "older than 2.6, which is the oldest that the gate knows"},
	{"haproxy-without-pcre", Error, "built without PCRE: the gate's regular expressions need it"},
	{"haproxy-without-tls", Error, "built without OpenSSL: jwt_verify needs it"},
	{"haproxy-miscounts", Warning, "a version that confuses the bytes of request and answer"},
	{"haproxy-ring-stalls", Warning, "a version whose ring stays cut off when haptrail restarts"},
	{"haproxy-es256", Note, "a version that may overflow on long ES256 signatures, which the gate keeps out"},
}
