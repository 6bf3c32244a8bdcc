package syslog

import "time"

// Source is where messages come from: one sender of one UDP or unix datagram
// socket, or one TCP, TLS or unix connection. Receivers share one Source among
// all messages of a connection, so two senders that write the same hostname
// into their messages stay apart.
type Source struct {
	Transport string // "udp", "tcp", "tls", "unix" or "unixgram"
	Listener  string // the listener's name in the configuration
	Peer      string // the sender's address without its port, "" on unix sockets
	Number    uint64 // unique to this source in the process: for spreading sources
	// Lossy is set where the sender cannot be made to wait (datagrams): a
	// handler must not block, but drop and count.
	Lossy bool
}

// Format is the style of header that a message was found to have. HAProxy's
// names for them are in its configuration manual, section 4.2, under "log".
type Format uint8

const (
	// FormatRaw has no header: the message is all text ("raw").
	FormatRaw Format = iota
	// FormatPriority is "<PRI>text" ("priority", and "short", whose PRI holds
	// a severity only).
	FormatPriority
	// FormatTimed is "[<PRI>]RFC3339 text" ("timed" and "iso").
	FormatTimed
	// FormatTimedTag is "[<PRI>]time [host] tag[pid]: text" with a time other
	// than RFC 3164's: files of rsyslog, output of journalctl.
	FormatTimedTag
	// FormatRFC3164 is "[<PRI>]Mmm dd hh:mm:ss [host] tag[pid]: text"
	// ("rfc3164", and "local", which has no host).
	FormatRFC3164
	// FormatRFC5424 is "<PRI>1 time host app pid msgid sd text" ("rfc5424").
	FormatRFC5424
)

// String returns HAProxy's name of the format where it has one.
func (f Format) String() string {
	switch f {
	case FormatPriority:
		return "priority"
	case FormatTimed:
		return "timed"
	case FormatTimedTag:
		return "timed-tag"
	case FormatRFC3164:
		return "rfc3164"
	case FormatRFC5424:
		return "rfc5424"
	default:
		return "raw"
	}
}

// Message is one syslog message. Its slices alias the receiver's buffer and
// are valid only until Handle returns.
type Message struct {
	Format         Format
	Priority       int       // facility*8 + severity, -1 when the message has none
	Time           time.Time // as the header says, in UTC; zero when it has none
	Hostname       []byte    // nil when the header has none, or "-" (RFC 5424)
	AppName        []byte    // the tag
	ProcID         []byte
	MsgID          []byte
	StructuredData []byte // the SD-ELEMENTs as sent, brackets included; nil for "-"
	Text           []byte // what follows the header, without trailing LF, CR or NUL
	// Raw is the whole message, header included, without trailing LF, CR or
	// NUL. A custom log-format may itself begin with a time, which
	// FormatTimed has then taken off Text: such text is to be read from Raw.
	Raw []byte
}

// Handler takes what a receiver got. It is called from many goroutines at
// once, and from one goroutine at a time for one Source.
type Handler interface {
	// Handle takes the messages of one read. It may block when the source is
	// not Lossy: that is the backpressure a TCP sender feels.
	Handle(src *Source, received time.Time, batch []Message)
	// Reject takes bytes that are no message. reason is one of the Reason
	// constants, raw a bounded part of the input.
	Reject(src *Source, received time.Time, reason string, raw []byte)
}

// MaxReject is how many bytes of a rejected input Reject is handed at most.
const MaxReject = 2048

// Reasons of Reject, also the values of the label "reason" of
// haptrail_syslog_rejects_total.
const (
	// ReasonTooLong is a message longer than Config.MaxLine.
	ReasonTooLong = "too_long"
	// ReasonBadFrame is a stream whose next frame has no believable octet
	// count (RFC 6587, section 3.4.1). The connection is closed, as nothing
	// after it can be told apart.
	ReasonBadFrame = "bad_frame"
	// ReasonHalfFrame is a message whose end never came: the stream ended.
	ReasonHalfFrame = "half_frame"
	// ReasonGarbage is input that begins with a control character, such as a
	// TLS handshake on a port without TLS.
	ReasonGarbage = "garbage"
	// ReasonSlow is a message whose end did not come within
	// Config.FrameTimeout. The connection is closed.
	ReasonSlow = "slow"
	// ReasonMemory is a message that found the listener's
	// Config.BufferMemory used up by other connections.
	ReasonMemory = "memory"
	// ReasonPeer is a datagram from outside Config.AllowedPeers. It is
	// counted only, never handed to Reject: a stranger must not fill a store.
	ReasonPeer = "peer_not_allowed"
)
