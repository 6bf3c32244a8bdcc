package check

import (
	"net/netip"
	"regexp"
	"strings"
)

// address is one that HAProxy takes: bind, server, log and socket lines share
// the notation (configuration manual, section 11; "bind").
type address struct {
	scheme string // "udp", "tcp", "quic", "fd", "ring", "abns", ...; "" when none is written
	host   string // lower case, "" for any
	port   string // "" when none is written
	path   string // of a unix socket; the name of a ring, abstract socket or descriptor
}

var schemePrefix = regexp.MustCompile(`^([a-z0-9]+(?:\+[a-z0-9]+)?)@`)

// schemes are the prefixes, and what each says about the transport.
var schemes = map[string]string{
	"ipv4": "", "ipv6": "", "unix": "unix", "abns": "abns", "abnsz": "abns", "fd": "fd", "sockpair": "fd",
	"udp": "udp", "udp4": "udp", "udp6": "udp", "tcp": "tcp", "tcp4": "tcp", "tcp6": "tcp",
	"mptcp": "tcp", "mptcp4": "tcp", "mptcp6": "tcp", "quic": "quic", "quic4": "quic", "quic6": "quic",
	"uxst": "unix", "uxdg": "unixgram", "stdout": "fd", "ring": "ring", "backend": "backend", "rhttp": "rhttp", "rev": "rhttp",
}

// parseAddress reads an address as HAProxy writes it, or as haptrail's listeners
// do (tcp://host:port, unix:///path).
func parseAddress(text string) address {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		text = map[string]string{"tls": "tcp", "unixgram": "uxdg"}[scheme]
		if text == "" {
			text = scheme
		}
		text += "@" + rest
	}
	var a address
	for { // "abns@...", and "ipv6@udp@..." has two
		m := schemePrefix.FindStringSubmatch(text)
		if m == nil {
			break
		}
		name, _, _ := strings.Cut(m[1], "+")
		known, ok := schemes[name]
		if !ok {
			break
		}
		a.scheme = or(known, a.scheme)
		text = text[len(m[0]):]
	}
	switch {
	case text == "stdout" || text == "stderr":
		return address{scheme: "fd", path: text}
	case a.scheme == "ring" || a.scheme == "backend" || a.scheme == "fd" || a.scheme == "abns" || a.scheme == "rhttp":
		a.path = text
		return a
	case strings.HasPrefix(text, "/") || a.scheme == "unix" || a.scheme == "unixgram":
		a.scheme, a.path = or(a.scheme, "unix"), text
		return a
	}
	a.host, a.port = splitPort(strings.ToLower(text))
	switch a.host {
	case "*", "0.0.0.0", "::":
		a.host = ""
	case "localhost":
		a.host = "127.0.0.1"
	}
	return a
}

// splitPort parts host and port. HAProxy takes what stands behind the last colon
// as the port, so that IPv6 needs no brackets.
func splitPort(text string) (host, port string) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return text, ""
	}
	host = text[:colon]
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), text[colon+1:]
}

// any tells whether the address names no host.
func (a address) any() bool { return a.host == "" }

// local tells whether nothing beyond this machine gets there.
func (a address) local() bool {
	switch a.scheme {
	case "unix", "unixgram", "abns", "fd":
		return true
	}
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.Unmap().IsLoopback()
}

// String renders the address in one notation: "host:port", or the path.
func (a address) String() string {
	if a.path != "" {
		return a.path
	}
	if strings.Contains(a.host, ":") {
		return "[" + a.host + "]:" + a.port
	}
	if a.port == "" {
		return a.host
	}
	return a.host + ":" + a.port
}

// hears tells whether what is sent to b arrives at a listener on a.
func (a address) hears(b address) bool {
	if a.path != "" || b.path != "" {
		return a.path == b.path
	}
	return a.port == b.port && (a.host == b.host || a.any())
}
