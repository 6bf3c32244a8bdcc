package peers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// definition is a stick table as HAProxy announces it.
type definition struct {
	id      uint64 // HAProxy's, for this connection
	name    string // the stick table's; without its peers section, if it is in one
	keyType string // as runtimeapi.Table has it
	keyLen  uint64 // of a string with its final NUL
	expire  time.Duration
	fields  []field
	// unread says why the updates of this table cannot be read; "" if they can.
	unread string
}

// keyTypes by their number on the wire.
func keyType(n uint64) (name string, size uint64, ok bool) {
	switch n {
	case 2:
		return runtimeapi.KeyInteger, 4, true
	case 4:
		return runtimeapi.KeyIP, 4, true
	case 5:
		return runtimeapi.KeyIPv6, 16, true
	case 6:
		return runtimeapi.KeyString, 0, true
	case 7:
		return runtimeapi.KeyBinary, 0, true
	}
	return "", 0, false
}

// notOfName is what stands in no table's name: a configuration takes letters, digits
// and four signs of ASCII, and what it says goes into messages of one line.
func notOfName(r rune) bool { return r <= ' ' || r >= 0x7f }

// parseDefinition reads the content of a definition: id, name, type and length of
// keys, a bit for each data type, the time to live, and for each array and rate its
// bit's number with the array's length, the rate's period, or both. An error is a
// broken message; a table that is whole and not understood has its reason in unread.
func parseDefinition(content []byte, types []dataType) (definition, error) {
	c := cursor{rest: content}
	d := definition{id: c.varint()}
	d.name = string(c.bytes(c.varint()))
	key, keyLen, bits := c.varint(), c.varint(), c.varint()
	if c.bad || d.name == "" || strings.ContainsFunc(d.name, notOfName) {
		return d, fmt.Errorf("%w: table definition of %d bytes, table %.60q", errMalformed, len(content), d.name)
	}
	name, size, ok := keyType(key)
	d.keyType, d.keyLen = name, keyLen
	switch {
	case !ok:
		d.unread = fmt.Sprintf("its keys have type number %d, which haptrail does not know", key)
		return d, nil
	case keyLen == 0 || keyLen > maxMessage || size > 0 && keyLen != size:
		return d, fmt.Errorf("%w: table %.60q: keys of type %s have a length of %d", errMalformed, d.name, name, keyLen)
	}
	if unknown := bits >> len(types); unknown != 0 {
		d.unread = fmt.Sprintf("it stores data types that haptrail does not know (%s); take them out of its \"store\", or take a newer haptrail", numbers(unknown, len(types)))
		return d, nil
	}
	if len(c.rest) > 0 {
		d.expire = time.Duration(min(c.varint(), maxPeriod)) * time.Millisecond
	}
	err := d.parseFields(&c, bits, types)
	return d, err
}

// numbers lists the bits of a mask whose first one stands for a number.
func numbers(mask uint64, first int) string {
	var all []string
	for i := first; mask != 0; i, mask = i+1, mask>>1 {
		if mask&1 != 0 {
			all = append(all, fmt.Sprintf("number %d", i))
		}
	}
	return strings.Join(all, ", ")
}

// parseFields reads what the data types need, and spreads arrays into columns.
func (d *definition) parseFields(c *cursor, bits uint64, types []dataType) error {
	for i, t := range types {
		if bits&(1<<i) == 0 {
			continue
		}
		elements, period := uint64(1), uint64(0)
		if t.array || t.form == rate {
			if n := c.varint(); n != uint64(i) && !c.bad {
				return fmt.Errorf("%w: table %.60q: parameters of data type number %d are where those of %s should be", errMalformed, d.name, n, t.name)
			}
		}
		if t.array {
			elements = c.varint()
		}
		if t.form == rate {
			period = c.varint()
		}
		switch {
		case c.bad:
			return fmt.Errorf("%w: table %.60q: the definition ends before the parameters of %s", errMalformed, d.name, t.name)
		case t.array && (elements == 0 || elements > maxElements):
			return fmt.Errorf("%w: table %.60q: %s has %d elements, 1 to %d are possible", errMalformed, d.name, t.name, elements, maxElements)
		case t.form == rate && (period == 0 || period > maxPeriod):
			return fmt.Errorf("%w: table %.60q: %s has a period of %d ms", errMalformed, d.name, t.name, period)
		}
		d.add(t, elements, time.Duration(period)*time.Millisecond)
	}
	if len(c.rest) > 0 {
		return fmt.Errorf("%w: table %.60q: %d bytes follow its definition", errMalformed, d.name, len(c.rest))
	}
	rateOf(d.fields)
	return nil
}

// add appends the columns of a data type.
func (d *definition) add(t dataType, elements uint64, period time.Duration) {
	for i := range elements {
		f := field{Column: runtimeapi.Column{Name: t.name, Period: period, Kind: t.kind, Wide: t.form == number64}, form: t.form}
		if t.array {
			f.Name = element(t.name, i)
		}
		d.fields = append(d.fields, f)
	}
}

// columns are the fields' columns.
func (d *definition) columns() []runtimeapi.Column {
	all := make([]runtimeapi.Column, len(d.fields))
	for i, f := range d.fields {
		all[i] = f.Column
	}
	return all
}

// sameData is whether two definitions have the same keys and columns.
func (d *definition) sameData(o *definition) bool {
	return d.keyType == o.keyType && d.keyLen == o.keyLen && d.unread == o.unread && slices.Equal(d.fields, o.fields)
}
