package peers

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// update is one entry as HAProxy had it when it sent it. One is used for all of a
// connection; its slices are overwritten.
type update struct {
	id uint32 // the table's count of changes; of one that a peer brought, 2^31 more
	// timed is true in a lesson: what was there, not what has changed.
	timed  bool
	expire time.Duration // of a timed one, until the entry goes
	key    []byte        // as runtimeapi.TableEntry has it
	values []uint64      // by field; 0 for a word
	recent []recent      // by field, of rates
}

// recent are the last events that a rate has counted: so many, all of them within that
// time.
type recent struct {
	events uint64
	within time.Duration
}

// skew is how many milliseconds a thread's clock may be behind the one that another
// thread began a period with: an age is then a little less than 0.
const skew = 1000

// parseHead reads what an update begins with: its number, which a message of one kind
// leaves out because it is the one after the last, and the time that is left.
func (u *update) parseHead(m message, last uint32) (cursor, error) {
	c := cursor{rest: m.content}
	u.id, u.expire = last+1, 0
	if m.kind == tableUpdate || m.kind == tableUpdateTimed {
		u.id = c.uint32()
	}
	if u.timed = m.kind == tableUpdateTimed || m.kind == tableNextTimed; u.timed {
		u.expire = time.Duration(c.uint32()) * time.Millisecond
	}
	if c.bad {
		return c, fmt.Errorf("%w: update of type %d ends after %d bytes", errMalformed, m.kind, len(m.content))
	}
	return c, nil
}

// parse reads the rest: the key, and the values that the definition names.
func (u *update) parse(c cursor, d *definition) error {
	all := len(c.rest)
	u.parseKey(&c, d)
	u.values, u.recent = u.values[:0], u.recent[:0]
	for i := range d.fields {
		u.parseValue(&c, &d.fields[i])
	}
	if c.bad {
		return fmt.Errorf("%w: update of table %.60q: its %d bytes are not what its definition says", errMalformed, d.name, all)
	}
	if len(c.rest) > 0 {
		return fmt.Errorf("%w: update of table %.60q: %d bytes follow what its definition says", errMalformed, d.name, len(c.rest))
	}
	return nil
}

// parseKey reads a key. A string has a length of its own, below the table's, which
// counts the final NUL.
func (u *update) parseKey(c *cursor, d *definition) {
	length := d.keyLen
	if d.keyType == runtimeapi.KeyString {
		if length = c.varint(); length >= d.keyLen {
			c.bad = true
			return
		}
	}
	raw := c.bytes(length)
	if c.bad {
		return
	}
	u.key = u.key[:0]
	switch d.keyType {
	case runtimeapi.KeyInteger:
		n := cursor{rest: raw}
		u.key = strconv.AppendUint(u.key, uint64(n.uint32()), 10)
	case runtimeapi.KeyIP, runtimeapi.KeyIPv6:
		u.key = appendAddr(u.key, raw)
	default:
		u.key = append(u.key, raw...)
	}
}

// appendAddr writes an address as HAProxy does, with the C library's inet_ntop: an
// IPv6 one that begins with 96 zero bits ends with an IPv4 one.
func appendAddr(b, raw []byte) []byte {
	a, _ := netip.AddrFromSlice(raw) // of 4 or 16 bytes; the definition says so
	if !a.Is6() || a.Is4In6() {
		return a.AppendTo(b)
	}
	v6 := a.As16()
	if [12]byte(v6[:12]) == [12]byte{} && (v6[12] != 0 || v6[13] != 0) {
		return netip.AddrFrom4([4]byte(v6[12:])).AppendTo(append(b, "::"...))
	}
	return a.AppendTo(b)
}

// parseValue reads the value of one field.
func (u *update) parseValue(c *cursor, f *field) {
	var value uint64
	var last recent
	switch f.form {
	case number32:
		value = uint64(uint32(c.varint())) // server_id is signed, and has 32 bits, too
	case number64:
		value = c.varint()
	case rate:
		age, curr, prev := uint32(c.varint()), uint32(c.varint()), uint32(c.varint())
		value = perPeriod(age, curr, prev, milliseconds(f.Period))
		if -age < skew {
			age = 0
		}
		last = recent{uint64(curr) + uint64(prev), time.Duration(age) * time.Millisecond}
		if prev > 0 {
			last.within += f.Period
		}
	case word:
		parseWord(c)
	}
	u.values = append(u.values, value)
	u.recent = append(u.recent, last)
}

// parseWord reads past a word: none, its index in the connection's dictionary, or
// that and the word itself. Samples have no words.
func parseWord(c *cursor) {
	length := c.varint()
	if length == 0 {
		return
	}
	w := cursor{rest: c.bytes(length)}
	index := w.varint()
	if len(w.rest) > 0 {
		w.bytes(w.varint())
	}
	c.bad = c.bad || w.bad || index == 0 || len(w.rest) > 0
}
