// Package config is haptrail's one configuration file: strict YAML, every field
// with its unit, default and consequence.
package config

import (
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
)

// Config is the whole file. All paths may be relative: to the file's folder.
type Config struct {
	// DSN is where the tables are: embedded:DIR (the engine in this process),
	// clickhouse://user@host:9000/db or http(s)://user@host:8123/db (a server;
	// passwords by ?password_file= or ?password_env=). The environment variable
	// HAPTRAIL_DSN goes before it. Default embedded:/var/lib/haptrail.
	DSN string `yaml:"dsn"`

	// State is the folder of what the daemon keeps beside the tables: alerts that are
	// not told yet, and what burst detectors have learned. Made if missing, for its
	// owner only. Default: the folder state in DIR of embedded:DIR;
	// /var/lib/haptrail/state with a server. On a disk that a restart empties, alerts
	// are lost that nobody was told of.
	State string `yaml:"state"`

	// Engine is for embedded:DIR only.
	Engine Engine `yaml:"engine"`

	// Retention deletes requests so long after they were received, in whole days
	// such as 400d. Default 0: nothing is ever deleted.
	Retention Duration `yaml:"retention"`

	// Listeners receive syslog. Default: none, and serve refuses to start.
	Listeners []Listener `yaml:"listeners"`

	// Formats are the log formats that lines are tried against; the one that
	// fitted last is tried first. Default: haptrail, httpslog, httplog, tcplog,
	// clf.
	Formats []Format `yaml:"formats"`

	// Zone is the time zone of HAProxy's %t and %tr, which are local times
	// without zone: an IANA name such as Europe/Berlin. Default UTC. A zone that
	// does not fit the arrival times marks rows with clock_skew.
	Zone string `yaml:"zone"`

	// Vars maps further HAProxy variables to fields: the name in
	// %[var(txn.NAME)] -> a field of docs/log-format.md, such as subject.
	Vars map[string]string `yaml:"vars"`

	// Keep stores what often holds secrets and is dropped by default.
	Keep Keep `yaml:"keep"`

	// Flush says when a block of rows is inserted.
	Flush Flush `yaml:"flush"`

	// Edge is the gate that this daemon looks after: it keeps the issuers' keys
	// fresh. Default: none. "haptrail edge" takes it for its flags' defaults.
	Edge *Edge `yaml:"edge"`

	// CI are the CI servers whose runs and commits requests are tied to.
	CI CI `yaml:"ci"`

	// Findings says what is production here, and when the use of tokens and runs is
	// worth a look (docs/findings.md). What needs it says nothing without protected.
	Findings finding.Policy `yaml:"findings"`

	// Bursts are found where an identity does far more than it is used to.
	Bursts Bursts `yaml:"bursts"`

	// Alerts are what people are told of at once.
	Alerts Alerts `yaml:"alerts"`

	// HTTP serves /healthz, /readyz and /metrics at this address, without
	// authentication. Default 127.0.0.1:9595; "off" serves nothing.
	HTTP string `yaml:"http"`

	// Shutdown is how long the daemon may take to store what it has received
	// after SIGTERM. Default 30s; what is not stored by then is lost and said. At least 1s.
	Shutdown Duration `yaml:"shutdown"`

	// Log is the daemon's own log, on standard error.
	Log Log `yaml:"log"`
}

// Edge is a HAProxy whose gate haptrail generates.
type Edge struct {
	// Policy is the policy file (docs/edge.md). Needed.
	Policy string `yaml:"policy"`
	// Dir is the folder of the gate's files, which haptrail writes. Needed.
	Dir string `yaml:"dir"`
	// Base is that folder's path on HAProxy's machine or in its container, where
	// it is another one. Default: Dir.
	Base string `yaml:"base"`
	// HAProxy is the version that reads the files, such as 2.6. Default auto: the
	// running process is asked, else the binary.
	HAProxy string `yaml:"haproxy"`
	// Binary is haproxy's path, with which a configuration is checked before a
	// reload. Default: searched on PATH; "off" checks nothing.
	Binary string `yaml:"binary"`
	// Files are all files and folders that HAProxy is started with (-f), in their
	// order, Dir among them: what is checked before a reload. Default: Dir alone.
	Files []string `yaml:"files"`
	// Sockets are the stats sockets of every HAProxy with these files, as unix:PATH
	// or tcp:HOST:PORT (level admin). Without one, maps are only written.
	Sockets []string `yaml:"sockets"`
	// Master is the socket of haproxy -W -S, for reloads. Without one, a new key is
	// written and logged, and waits for your reload.
	Master string `yaml:"master"`
	// RuntimeKeys has HAProxy 3.3 and newer take keys without a reload, at the
	// price of denying about one in a thousand good tokens under load
	// (docs/decisions/0007-keys-by-reload.md). Default false.
	RuntimeKeys bool `yaml:"runtime_keys"`
	// KeySchedule is when the issuers are asked for their keys: a cron expression
	// or @every DURATION. Default @every 15m. Tokens of unknown keys have them
	// asked sooner.
	KeySchedule string `yaml:"key_schedule"`
	// KeyAskInterval is how long after one refresh a token of an unknown key may
	// cause another; the pause doubles while that brings nothing, up to 15m.
	// Default 30s.
	KeyAskInterval Duration `yaml:"key_ask_interval"`
}

// Engine is the embedded engine.
type Engine struct {
	// Library is the path of libchdb. Default: searched beside the program, in
	// the checkout, and in /usr/lib/haptrail.
	Library string `yaml:"library"`
	// Memory bounds the engine's own memory; a query beyond it fails, inserts
	// wait. Default 0: 90 % of the machine's, as ClickHouse does.
	Memory Size `yaml:"memory"`
	// Socket is a unix socket on which other haptrail commands of this user reach
	// the engine while the daemon runs; mode 0600, no password, full rights.
	// Default haptrail.sock in the DSN's directory; "off" for none.
	Socket string `yaml:"socket"`
	// HTTP serves ClickHouse's HTTP interface on loopback, for curl and Grafana.
	// Default: off.
	HTTP *EngineHTTP `yaml:"http"`
}

// EngineHTTP is the engine's endpoint on loopback.
type EngineHTTP struct {
	// Address is a loopback address with port, such as 127.0.0.1:8123.
	Address string `yaml:"address"`
	// Users may log in; at least one is needed.
	Users []User `yaml:"users"`
}

// User may query the engine over its endpoint.
type User struct {
	Name string `yaml:"name"`
	// PasswordFile or PasswordEnv leads to the password; exactly one is needed.
	PasswordFile string `yaml:"password_file"` // its text, without the line end
	PasswordEnv  string `yaml:"password_env"`  // the variable's name
	// Write lets the user change and delete data. Default false: reads only.
	Write bool `yaml:"write"`
}

// Listener is one way in for syslog messages. Each field is explained, with its
// default and consequence, at syslog.Config, which it becomes.
type Listener struct {
	Name           string   `yaml:"name"`            // unique
	Address        string   `yaml:"address"`         // udp://, tcp://, tls://HOST:PORT, unix://, unixgram://PATH
	Framing        string   `yaml:"framing"`         // auto (default), octet-counted, newline
	MaxLine        Size     `yaml:"max_line"`        // default 64KiB
	MaxConnections int      `yaml:"max_connections"` // default 16384
	BufferMemory   Size     `yaml:"buffer_memory"`   // default 128MiB
	IdleTimeout    Duration `yaml:"idle_timeout"`    // default 0: never
	FrameTimeout   Duration `yaml:"frame_timeout"`   // default 30s
	ReceiveBuffer  Size     `yaml:"receive_buffer"`  // udp: default 16MiB
	AllowedPeers   []string `yaml:"allowed_peers"`   // networks such as 10.0.0.0/8; default all
	SocketMode     string   `yaml:"socket_mode"`     // unix sockets: octal, default "0660"
	HeaderZone     string   `yaml:"header_zone"`     // of RFC 3164 headers; default: this machine's
	TLS            TLS      `yaml:"tls"`             // of a tls:// address
}

// TLS is a tls:// listener's identity: PEM files, read again when they change.
type TLS struct {
	Cert       string `yaml:"cert"`        // with its chain; needed
	Key        string `yaml:"key"`         // needed; may be the same file
	ClientCA   string `yaml:"client_ca"`   // asks clients for a certificate of these authorities
	ClientAuth string `yaml:"client_auth"` // required (default with client_ca) or optional
}

// Format is one log format. In the file it is either a word, the name of a
// built-in format, or these fields.
type Format struct {
	// Name is how metrics and messages call it; alone, it names a built-in:
	// haptrail, httplog, httpslog, tcplog, clf, tcpclf.
	Name string `yaml:"name"`
	// LogFormat is the log-format string, as HAProxy sees it (after its own
	// quoting). Excludes HAProxyCfg.
	LogFormat string `yaml:"log_format"`
	// HAProxyCfg takes the format, the error format and the captured headers
	// from a haproxy.cfg. Excludes LogFormat.
	HAProxyCfg string `yaml:"haproxy_cfg"`
	// Frontend is the frontend or listen section to take; needed when the file
	// has several.
	Frontend string `yaml:"frontend"`
	// RequestHeaders and ResponseHeaders name the captured headers (%hr, %hs), in
	// the order of the "capture" lines: "host" fills the column host, and
	// credentials such as authorization are not stored.
	RequestHeaders  []string `yaml:"request_headers"`
	ResponseHeaders []string `yaml:"response_headers"` // likewise
}

// Keep is what is stored although it often holds secrets.
type Keep struct {
	// Query keeps query strings; values of parameters such as access_token are
	// removed all the same. Default false.
	Query bool `yaml:"query"`
	// Cookies keeps captured cookies (%CC, %CS). Default false.
	Cookies bool `yaml:"cookies"`
}

// Flush says when a block is sealed and inserted, whichever comes first.
type Flush struct {
	// Rows per block. Default 100000; more costs memory and saves CPU.
	Rows int `yaml:"rows"`
	// Bytes of lines per block. Default 64MiB.
	Bytes Size `yaml:"bytes"`
	// Age of a block's first line. Default 1s: how stale a query may be.
	Age Duration `yaml:"age"`
}

// Log is how the daemon logs.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is text or json. Default text.
	Format string `yaml:"format"`
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		DSN:     "embedded:/var/lib/haptrail",
		Formats: []Format{{Name: "haptrail"}, {Name: "httpslog"}, {Name: "httplog"}, {Name: "tcplog"}, {Name: "clf"}},
		Zone:    "UTC",
		Flush:   Flush{Rows: 100_000, Bytes: 64 << 20, Age: Duration(time.Second)},
		CI: CI{
			Listen: "127.0.0.1:9596", PollInterval: Duration(time.Minute), Back: Duration(24 * time.Hour),
			Slack: Duration(5 * time.Minute), LookBack: Duration(7 * 24 * time.Hour),
		},
		Bursts: Bursts{
			Budget: 0.01, Calibrate: "17 4 * * *", History: Duration(14 * 24 * time.Hour),
			MaxKeys: 100_000, Interval: Duration(2 * time.Second), Load: 0.2,
		},
		Alerts:   Alerts{Findings: "high", Bursts: "low", Keep: Duration(24 * time.Hour)},
		HTTP:     "127.0.0.1:9595",
		Shutdown: Duration(30 * time.Second),
		Log:      Log{Level: "info", Format: "text"},
	}
}
