package syslog

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"
)

// Config is one listener.
type Config struct {
	// Name labels the listener's metrics, log lines and Source.Listener.
	// Required, unique among the listeners of a process.
	Name string

	// Address is where to listen, one of
	//
	//	udp://127.0.0.1:5514               one message per datagram
	//	tcp://127.0.0.1:5514               HAProxy: ring, "log-proto octet-count"
	//	tls://0.0.0.0:6514                 needs TLS.CertFile and TLS.KeyFile
	//	unix:///run/haptrail/log.sock      stream
	//	unixgram:///run/haptrail/log.sock  HAProxy: "log /run/haptrail/log.sock"
	//
	// An empty host, as in udp://:5514, is every address of the machine, IPv4
	// and IPv6. HAProxy opens a unix path from inside its chroot. Required.
	Address string

	// Framing is how messages stand in a stream: "octet-counted" (RFC 6587),
	// "newline" or "auto", which tells them apart by how each connection
	// begins: digits and a blank are a count. Prefer "octet-counted": a line
	// feed in a logged value forges a message on a line-framed stream. Set
	// "newline" for a line-framed log-format that begins with a bare number.
	// Defaults to "auto". Without effect on datagrams.
	Framing string

	// MaxLine is the longest message taken, in bytes without its framing. A
	// longer one is rejected as too_long, at constant memory, and the stream
	// goes on behind it. Should be at least the largest "len" and "maxlen" in
	// haproxy.cfg. Defaults to 65536.
	MaxLine int

	// MaxConnections is how many connections are open at a time; more are
	// closed at once and counted. An idle one costs about 12 KiB (TLS: 40).
	// The process needs as many file descriptors. Defaults to 16384. Without
	// effect on datagrams.
	MaxConnections int

	// BufferMemory is how many bytes the connections of the listener may hold
	// together in buffers beyond the 4 KiB that each has. Busy connections
	// and such with a long message in progress need one; those that find none
	// read in small pieces, and reject (as memory) messages over 4 KiB.
	// Defaults to 128 MiB. Without effect on datagrams.
	BufferMemory int64

	// IdleTimeout closes a connection on which nothing came for so long. A
	// ring of HAProxy keeps its connection open and is silent while there is
	// no traffic, so the default is 0: never. Dead peers are found by TCP
	// keep-alive within two minutes.
	IdleTimeout time.Duration

	// FrameTimeout closes a connection on which a message has begun and not
	// ended for so long, and rejects that message as slow. It also bounds a
	// TLS handshake. Time in which the handler blocks does not count.
	// Defaults to 30 s.
	FrameTimeout time.Duration

	// DrainTimeout is how long Serve goes on reading, after its context ended,
	// what was sent before. Should be below what systemd's TimeoutStopSec and
	// the rest of the shutdown leave. Defaults to 5 s.
	DrainTimeout time.Duration

	// ReceiveBuffer is the kernel's buffer to ask for, in bytes, for datagrams:
	// what may arrive while the reader is held up, 1 to 2 KiB for a message of
	// 500 bytes. What the kernel grants is logged and published; it is limited
	// by the sysctl net.core.rmem_max, which CAP_NET_ADMIN passes over.
	// Defaults to 16 MiB for udp, to the kernel's default for unixgram (whose
	// bound is the sysctl net.unix.max_dgram_qlen). Without effect on streams.
	ReceiveBuffer int

	// AllowedPeers are the networks that may send; empty lets all. Datagrams
	// and connections from elsewhere are dropped and counted. The sender's
	// address of a datagram can be forged. Without effect on unix sockets.
	AllowedPeers []netip.Prefix

	// SocketMode is the mode of a unix socket's file; a process needs write
	// permission to send. The mode is set right after the file is made: where
	// that moment matters, its folder must keep others out. Defaults to 0660.
	SocketMode fs.FileMode

	// TLS is for tls:// only.
	TLS TLSConfig

	// Zone is the time zone of RFC 3164 headers, which do not name theirs: the
	// zone of the machine where HAProxy runs. Defaults to the local zone.
	Zone *time.Location
}

// TLSConfig is the identity of a tls:// listener. The files are read again
// when they change and on Listener.Reload. TLS 1.2 and 1.3 are spoken.
type TLSConfig struct {
	// CertFile holds the certificate and its chain, PEM. Required.
	CertFile string
	// KeyFile holds the private key, PEM. Required; may be CertFile.
	KeyFile string
	// ClientCAFile holds the authorities, PEM, that a client's certificate
	// must come from. Empty asks for no client certificate.
	ClientCAFile string
	// ClientAuth is "required" or "optional", which lets clients without a
	// certificate in and still refuses a bad one. Defaults to "required" when
	// ClientCAFile is set, and must be empty when it is not.
	ClientAuth string
}

// Transports, the schemes of Config.Address.
const (
	transportUDP      = "udp"
	transportTCP      = "tcp"
	transportTLS      = "tls"
	transportUnix     = "unix"
	transportUnixgram = "unixgram"
)

const (
	minMaxLine           = 64
	defaultMaxLine       = 64 << 10
	defaultMaxConns      = 16384
	defaultBufferMemory  = 128 << 20
	defaultFrameTimeout  = 30 * time.Second
	defaultDrainTimeout  = 5 * time.Second
	defaultReceiveBuffer = 16 << 20
	defaultSocketMode    = 0o660
)

// endpoint is Address, taken apart.
type endpoint struct {
	transport string
	target    string // host:port or path
}

// Validate tells what is wrong with the configuration, all of it, without
// touching files or sockets. It does not change c.
func (c Config) Validate() error {
	_, err := c.complete()
	return err
}

// complete fills in the defaults and checks every field.
func (c *Config) complete() (endpoint, error) {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("listener %q: %s: "+format, append([]any{c.Name, field}, args...)...))
	}
	if c.Name == "" {
		bad("name", "is missing: give each listener a name of its own")
	}
	scheme, target, ok := strings.Cut(c.Address, "://")
	switch {
	case c.Address == "":
		bad("address", `is missing: for example "tcp://127.0.0.1:5514"`)
	case !ok || !knownTransport(scheme):
		bad("address", "%q must begin with udp://, tcp://, tls://, unix:// or unixgram://", c.Address)
	case target == "":
		bad("address", "%q has nothing behind %s://", c.Address, scheme)
	}
	switch c.Framing {
	case "":
		c.Framing = "auto"
	case "auto", "octet-counted", "newline":
	default:
		bad("framing", `%q must be "auto", "octet-counted" or "newline"`, c.Framing)
	}
	c.setDefaults(scheme)
	c.checkLimits(bad)
	c.checkTLS(scheme, bad)
	return endpoint{transport: scheme, target: target}, errors.Join(errs...)
}

func knownTransport(s string) bool {
	switch s {
	case transportUDP, transportTCP, transportTLS, transportUnix, transportUnixgram:
		return true
	}
	return false
}

func (c *Config) setDefaults(scheme string) {
	setDefault(&c.MaxLine, defaultMaxLine)
	setDefault(&c.MaxConnections, defaultMaxConns)
	setDefault(&c.BufferMemory, defaultBufferMemory)
	setDefault(&c.FrameTimeout, defaultFrameTimeout)
	setDefault(&c.DrainTimeout, defaultDrainTimeout)
	setDefault(&c.SocketMode, defaultSocketMode)
	if scheme == transportUDP {
		setDefault(&c.ReceiveBuffer, defaultReceiveBuffer)
	}
	if c.Zone == nil {
		c.Zone = time.Local
	}
	if c.TLS.ClientCAFile != "" && c.TLS.ClientAuth == "" {
		c.TLS.ClientAuth = "required"
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

type complain func(field, format string, args ...any)

func (c *Config) checkLimits(bad complain) {
	if c.MaxLine < minMaxLine || c.MaxLine > maxSkip {
		bad("max_line", "%d must be %d to %d bytes", c.MaxLine, minMaxLine, maxSkip)
	}
	if c.MaxConnections < 1 {
		bad("max_connections", "%d must be positive", c.MaxConnections)
	}
	if c.BufferMemory < 0 {
		bad("buffer_memory", "%d must not be negative", c.BufferMemory)
	}
	if c.IdleTimeout < 0 {
		bad("idle_timeout", "%s must not be negative (0 is never)", c.IdleTimeout)
	}
	if c.FrameTimeout < 0 {
		bad("frame_timeout", "%s must be positive", c.FrameTimeout)
	}
	if c.DrainTimeout < 0 {
		bad("drain_timeout", "%s must be positive", c.DrainTimeout)
	}
	if c.ReceiveBuffer < 0 {
		bad("receive_buffer", "%d must not be negative", c.ReceiveBuffer)
	}
	if c.SocketMode&^fs.ModePerm != 0 {
		bad("socket_mode", "%#o must be at most 0777", uint32(c.SocketMode))
	}
	for _, p := range c.AllowedPeers {
		if !p.IsValid() {
			bad("allowed_peers", `holds an invalid network: write it as "10.0.0.0/8" or "2001:db8::/32"`)
		}
	}
}

func (c *Config) checkTLS(scheme string, bad complain) {
	if scheme != transportTLS {
		if c.TLS != (TLSConfig{}) {
			bad("tls", "is set, but address %q is not tls://: change the one or remove the other", c.Address)
		}
		return
	}
	if c.TLS.CertFile == "" || c.TLS.KeyFile == "" {
		bad("tls", "cert and key are both needed by a tls:// address")
	}
	switch {
	case c.TLS.ClientAuth == "":
	case c.TLS.ClientCAFile == "":
		bad("tls.client_auth", "%q needs client_ca", c.TLS.ClientAuth)
	case c.TLS.ClientAuth != "required" && c.TLS.ClientAuth != "optional":
		bad("tls.client_auth", `%q must be "required" or "optional"`, c.TLS.ClientAuth)
	}
}

// allows tells whether a peer may send.
func (c *Config) allows(peer netip.Addr) bool {
	if len(c.AllowedPeers) == 0 || !peer.IsValid() {
		return true
	}
	for _, p := range c.AllowedPeers {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
