package runtimeapi

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Key names one entry of a stick table in a command. It has the type of the
// table's keys; HAProxy 2.6 takes "zz" for the address 0.0.0.0 in a table of
// addresses, so the commands that write compare the types first. Entries of a
// binary table cannot be named. The zero value is no key.
type Key struct {
	kind string // KeyString, KeyInteger or KeyIP (of either family)
	text string
}

// The types of keys, as "show table" names them.
const (
	KeyString  = "string"
	KeyInteger = "integer"
	KeyIP      = "ip"
	KeyIPv6    = "ipv6"
	KeyBinary  = "binary"
)

// StringKey is a key of a table of type string, unescaped. HAProxy keeps its
// first bytes, as many as the table's len says. A NUL, a line feed, a carriage
// return or an empty key has no form in the command language: ErrInexpressible
// when the key is used.
func StringKey(text string) Key { return Key{KeyString, text} }

// IntegerKey is a key of a table of type integer.
func IntegerKey(n uint32) Key {
	return Key{KeyInteger, strconv.FormatUint(uint64(n), 10)}
}

// AddrKey is a key of a table of type ip or ipv6. An IPv4 address is written as
// ::ffff:a.b.c.d for a table of type ipv6; a zone has no form.
func AddrKey(a netip.Addr) Key {
	if !a.IsValid() {
		return Key{}
	}
	return Key{KeyIP, a.String()}
}

// String is the key unescaped, for people.
func (k Key) String() string { return k.text }

// in is the key as a command for a table of that type has it, unescaped. No table
// is asked for its type before a read: then the type is the key's own.
func (k Key) in(table string) (string, error) {
	switch {
	case k.kind == "":
		return "", fmt.Errorf("table key: %w: it is none; use StringKey, IntegerKey or AddrKey", ErrInexpressible)
	case table == KeyBinary:
		return "", fmt.Errorf("table key %.60q: %w: HAProxy names no key of a binary table; use a filter", k.text, ErrInexpressible)
	case k.kind == KeyIP:
		return k.address(table)
	case k.kind != table:
		return "", fmt.Errorf("table key %.60q: %w: it is of type %s, the table's keys are of type %s", k.text, ErrInexpressible, k.kind, table)
	case len(quote(k.text)) > maxMessage/2:
		return "", fmt.Errorf("table key %.60q: %w: escaped it takes %d bytes, the limit is %d", k.text, ErrTooLarge, len(quote(k.text)), maxMessage/2)
	}
	return k.text, checkArg("table key", k.text)
}

// address is a key of a table of addresses. HAProxy reads an IPv4 one for ipv6
// only from 3.0 on.
func (k Key) address(table string) (string, error) {
	a, err := netip.ParseAddr(k.text)
	switch {
	case err != nil || a.Zone() != "":
		return "", fmt.Errorf("table key %.60q: %w: an address with a zone has no form", k.text, ErrInexpressible)
	case table == KeyIP && a.Unmap().Is4():
		return a.Unmap().String(), nil
	case table == KeyIPv6 && a.Is4():
		return "::ffff:" + a.String(), nil
	case table == KeyIPv6:
		return k.text, nil
	}
	return "", fmt.Errorf("table key %.60q: %w: it is an address, the table's keys are of type %s", k.text, ErrInexpressible, table)
}

const hexDigits = "0123456789ABCDEF"

// appendKey writes a key as "show table" does (src/tools.c, dump_text, the same
// in 2.4 to 3.5): a backslash before blank, "=" and itself, \t \n \r \e, and
// \xHH for all else that is not printable ASCII.
func appendKey(b, key []byte) []byte {
	for _, c := range key {
		switch {
		case c == ' ' || c == '=' || c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == 0x1b:
			b = append(b, '\\', 'e')
		case c < ' ' || c > '~':
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// unescapeKey appends the key that text shows; what appendKey would not have
// written is refused, so that one key has one text.
func unescapeKey(b, text []byte) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			if c <= ' ' || c > '~' || c == '=' {
				return b, false
			}
			b = append(b, c)
			continue
		}
		if i++; i == len(text) {
			return b, false
		}
		switch text[i] {
		case ' ', '=', '\\':
			b = append(b, text[i])
		case 't':
			b = append(b, '\t')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 'e':
			b = append(b, 0x1b)
		case 'x':
			if i+2 >= len(text) {
				return b, false
			}
			high, low := unhex(text[i+1]), unhex(text[i+2])
			c := high<<4 | low
			if high > 15 || low > 15 || c >= ' ' && c <= '~' || c == '\t' || c == '\n' || c == '\r' || c == 0x1b || c == 0 {
				return b, false
			}
			b = append(b, c)
			i += 2
		default:
			return b, false
		}
	}
	return b, true
}

// unhex is the value of an upper-case digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
