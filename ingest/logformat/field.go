package logformat

// Field names one value that a log line can carry and that haptrail has a
// place for. The first group are HAProxy's log-format aliases (configuration
// manual, section 8.2.6), the second the normal form of an identity, which
// arrives through %[var(txn.NAME)] (docs/log-format.md lists both).
type Field uint8

// The kind of a field's value: where Record keeps it.
type Kind uint8

const (
	// KindText values are in Record.Text: decoded bytes, never quoted.
	KindText Kind = iota
	// KindInt values are in Record.Int: a decimal number, its sign kept.
	KindInt
	// KindAddr values are in Record.Addr (IPv4 mapped into IPv6).
	KindAddr
	// KindTime values are in Record.Int: microseconds since the Unix epoch, UTC.
	KindTime
)

const (
	// ClientAddr is %ci, or the fetch src; absent where HAProxy writes "unix".
	ClientAddr       Field = iota
	ClientPort             // %cp
	FrontendAddr           // %fi
	FrontendPort           // %fp
	BackendAddr            // %bi
	BackendPort            // %bp
	ServerAddr             // %si
	ServerPort             // %sp
	AcceptTime             // %t, %T, %Tl, %Ts (+ %ms)
	RequestTime            // %tr, %trg, %trl
	Frontend               // %f, %ft (its trailing "~" moved to TLS)
	TLS                    // the "~" of %ft: 1 on TLS, else 0
	Backend                // %b
	Server                 // %s: a server, <NOSRV>, or an applet such as <STATS>
	TimerTR                // %TR: ms to receive the request
	TimerTw                // %Tw: ms waiting in queues
	TimerTc                // %Tc: ms to connect to the server
	TimerTr                // %Tr: ms for the server's response headers
	TimerTd                // %Td: ms of data transfer
	TimerTh                // %Th: ms of handshake
	TimerTi                // %Ti: ms idle before the request
	TimerTq                // %Tq: %Th + %Ti + %TR
	TimerTa                // %Ta: ms the request was active
	TimerTt                // %Tt: ms of the whole session
	TimerTu                // %Tu: %Tt - %Ti
	Status                 // %ST
	BytesRead              // %B: bytes from the server to the client
	BytesSent              // %U: bytes from the client to the server
	ActConn                // %ac
	FeConn                 // %fc
	BeConn                 // %bc
	SrvConn                // %sc
	Retries                // %rc
	Redispatched           // the "+" of %rc: 1 when the request was redispatched
	SrvQueue               // %sq
	BackendQueue           // %bq
	TerminationState       // %ts or %tsc
	RequestCookie          // %CC
	ResponseCookie         // %CS
	RequestHeaders         // %hr, %hrl: the values joined by "|", each still #XX-encoded
	ResponseHeaders        // %hs, %hsl: likewise
	Method                 // %HM, or the first word of %r
	URI                    // %HU, or the second word of %r: decoded, with its query string, perhaps absolute
	Path                   // %HP, %HPO, %[path]: decoded, without query string
	Query                  // %HQ: "?" and what follows
	HTTPVersion            // %HV, or the last word of %r
	UniqueID               // %ID
	Hostname               // %H
	LogCounter             // %lc
	RequestCounter         // %rt
	PID                    // %pid
	TLSCipher              // %sslc
	TLSVersion             // %sslv
	LogOrigin              // %OG
	Host                   // the Host header: %[var(txn.host)] or a captured header that the configuration names

	Provider   // identity: the CI provider's name
	Issuer     // identity: iss
	Subject    // identity: sub
	TokenID    // identity: jti, or a hash where there is none
	KeyID      // identity: kid
	Audience   // identity: aud
	IssuedAt   // identity: iat, seconds since the epoch in the log (Record.Int: microseconds)
	ExpiresAt  // identity: exp, likewise
	Tenant     // identity: organisation or account at the provider
	Project    // identity: project or repository
	Job        // identity: job definition
	Run        // identity: the run that a signed claim names
	RunAttempt // identity: attempt of that run
	Ref        // identity: branch or tag
	Commit     // identity: commit hash
	Actor      // identity: who triggered the run
	Runner     // identity: build agent
	Role       // the role the gate bound the identity to
	Decision   // the gate's decision: allow or deny
	Reason     // the gate's machine-readable reason
	ClaimedRun // the run named by an unsigned header

	// NumFields is the number of fields.
	NumFields
)
