package schema

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
)

// column is one column of a block, filled row by row and kept in the bytes
// that ClickHouse's Native format uses for it, so that sealing a block copies
// as little as possible.
type column interface {
	// native returns the column's data in Native format, without the state
	// prefix that a LowCardinality column has in front. It may use scratch.
	native(scratch []byte) []byte
	// size is the memory that the values take, in bytes.
	size() int
	rows() int
	reset()
}

// fixed is the ground of all columns whose values have one width.
type fixed struct {
	buf   []byte
	width int
}

func (c *fixed) native([]byte) []byte { return c.buf }
func (c *fixed) size() int            { return len(c.buf) }
func (c *fixed) rows() int            { return len(c.buf) / c.width }
func (c *fixed) reset()               { c.buf = c.buf[:0] }

// Uint8 is a UInt8 column.
type Uint8 struct{ fixed }

// Append adds one row.
func (c *Uint8) Append(v uint8) { c.width = 1; c.buf = append(c.buf, v) }

// Uint16 is a UInt16 column.
type Uint16 struct{ fixed }

// Append adds one row.
func (c *Uint16) Append(v uint16) {
	c.width = 2
	c.buf = binary.LittleEndian.AppendUint16(c.buf, v)
}

// Int16 is an Int16 column.
type Int16 struct{ fixed }

// Append adds one row.
func (c *Int16) Append(v int16) {
	c.width = 2
	c.buf = binary.LittleEndian.AppendUint16(c.buf, uint16(v))
}

// Uint32 is a UInt32 or DateTime column (seconds since the epoch).
type Uint32 struct{ fixed }

// Append adds one row.
func (c *Uint32) Append(v uint32) {
	c.width = 4
	c.buf = binary.LittleEndian.AppendUint32(c.buf, v)
}

// Int32 is an Int32 column.
type Int32 struct{ fixed }

// Append adds one row.
func (c *Int32) Append(v int32) {
	c.width = 4
	c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(v))
}

// Int64 is an Int64 or DateTime64 column (ticks of the column's scale).
type Int64 struct{ fixed }

// Append adds one row.
func (c *Int64) Append(v int64) {
	c.width = 8
	c.buf = binary.LittleEndian.AppendUint64(c.buf, uint64(v))
}

// Bytes16 is an IPv6 or UUID column.
type Bytes16 struct{ fixed }

// Append adds one row.
func (c *Bytes16) Append(v *[16]byte) { c.width = 16; c.buf = append(c.buf, v[:]...) }

// Text is a String column.
type Text struct {
	buf []byte // each value behind its length as a varint
	n   int
}

// Append adds one row; the column keeps a copy of v.
func (c *Text) Append(v []byte) {
	c.n++
	c.buf = appendString(c.buf, v)
}

// appendString appends a string as Native has it: behind its length.
func appendString(dst, v []byte) []byte {
	if len(v) < 0x80 {
		dst = append(dst, byte(len(v)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(v)))
	}
	return append(dst, v...)
}

func (c *Text) native([]byte) []byte { return c.buf }
func (c *Text) size() int            { return len(c.buf) }
func (c *Text) rows() int            { return c.n }
func (c *Text) reset()               { c.buf, c.n = c.buf[:0], 0 }

// dictSeed is fixed for the process: hashes never leave it.
var dictSeed = maphash.MakeSeed()

// Dict is a LowCardinality(String) column. It keeps each distinct value once,
// found through an open-addressed hash table; value 0 is the empty string, as
// ClickHouse's own encoding of LowCardinality has it.
type Dict struct {
	empty   int      // rows before keys: as long as no row has a value, they are counted only
	keys    []uint32 // one a row
	entries []entry  // the distinct values, by key; entry 0 is the empty one
	values  []byte   // their bytes, each behind its length as a varint
	slots   []slot   // a power of two; key 0 marks a free slot
	last    uint32   // the key of the row before: most columns repeat
}

// entry is where a value stands in Dict.values.
type entry struct{ start, end uint32 }

type slot struct {
	hash uint32
	key  uint32
}

const dictFirstSlots = 256

// Append adds one row; the column keeps a copy of v.
func (c *Dict) Append(v []byte) {
	if len(v) == 0 {
		c.AppendEmpty()
		return
	}
	c.keys = append(c.keys, c.key(v))
}

// AppendKey adds one row with a value that this block has seen before.
func (c *Dict) AppendKey(key uint32) { c.keys = append(c.keys, key) }

// LastKey is the key of the value that was appended last; 0 for none.
func (c *Dict) LastKey() uint32 { return c.last }

// AppendEmpty adds one row without a value.
func (c *Dict) AppendEmpty() {
	if len(c.entries) == 0 {
		c.empty++
		return
	}
	c.keys = append(c.keys, 0)
}

func (c *Dict) key(v []byte) uint32 {
	if last := c.last; last != 0 {
		if e := c.entries[last]; string(c.values[e.start:e.end]) == string(v) {
			return last
		}
	} else if len(c.entries) == 0 {
		c.begin()
	}
	h := uint32(maphash.Bytes(dictSeed, v))
	mask := uint32(len(c.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := c.slots[i]
		if s.key == 0 {
			c.last = c.insert(i, h, v)
			return c.last
		}
		if s.hash == h {
			if e := c.entries[s.key]; string(c.values[e.start:e.end]) == string(v) {
				c.last = s.key
				return s.key
			}
		}
	}
}

// begin makes the table and the empty value, and gives the rows so far their keys.
func (c *Dict) begin() {
	c.keys = slices.Grow(c.keys[:0], c.empty)[:c.empty]
	clear(c.keys)
	if c.slots == nil {
		c.slots = make([]slot, dictFirstSlots)
	}
	c.values = append(c.values, 0)
	c.entries = append(c.entries, entry{1, 1})
}

func (c *Dict) insert(at, h uint32, v []byte) uint32 {
	key := uint32(len(c.entries))
	c.values = appendString(c.values, v)
	end := uint32(len(c.values))
	c.entries = append(c.entries, entry{end - uint32(len(v)), end})
	c.slots[at] = slot{h, key}
	if 2*len(c.entries) > len(c.slots) {
		c.grow()
	}
	return key
}

func (c *Dict) grow() {
	old := c.slots
	c.slots = make([]slot, 2*len(old))
	mask := uint32(len(c.slots) - 1)
	for _, s := range old {
		if s.key == 0 {
			continue
		}
		i := s.hash & mask
		for c.slots[i].key != 0 {
			i = (i + 1) & mask
		}
		c.slots[i] = s
	}
}

// lowCardinalityFlags says "additional keys follow" and "this dictionary
// replaces the one before" (ClickHouse, SerializationLowCardinality.cpp).
const lowCardinalityFlags = 1<<9 | 1<<10

func (c *Dict) native(scratch []byte) []byte {
	if c.rows() == 0 {
		return nil
	}
	if len(c.entries) == 0 {
		c.begin()
	}
	width := uint64(2)
	switch distinct := len(c.entries); {
	case distinct <= 1<<8:
		width = 0
	case distinct <= 1<<16:
		width = 1
	}
	b := binary.LittleEndian.AppendUint64(scratch[:0], lowCardinalityFlags|width)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.entries)))
	b = append(b, c.values...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(c.keys)))
	switch width {
	case 0:
		for _, k := range c.keys {
			b = append(b, byte(k))
		}
	case 1:
		for _, k := range c.keys {
			b = binary.LittleEndian.AppendUint16(b, uint16(k))
		}
	default:
		for _, k := range c.keys {
			b = binary.LittleEndian.AppendUint32(b, k)
		}
	}
	return b
}

// at is the key of a row: 0 for an empty value.
func (c *Dict) at(row int) uint32 {
	if len(c.entries) == 0 {
		return 0
	}
	return c.keys[row]
}

// text is a copy of a key's value.
func (c *Dict) text(key uint32) string {
	if key == 0 {
		return ""
	}
	e := c.entries[key]
	return string(c.values[e.start:e.end])
}

// find is the key of a value, or 0 if no row has it. It looks at every distinct one.
func (c *Dict) find(v string) uint32 {
	for key, e := range c.entries {
		if key > 0 && string(c.values[e.start:e.end]) == v {
			return uint32(key)
		}
	}
	return 0
}

func (c *Dict) size() int { return len(c.values) + 4*len(c.keys) + 8*len(c.entries) }
func (c *Dict) rows() int {
	if len(c.entries) == 0 {
		return c.empty
	}
	return len(c.keys)
}

func (c *Dict) reset() {
	c.values, c.entries, c.keys, c.last, c.empty = c.values[:0], c.entries[:0], c.keys[:0], 0, 0
	clear(c.slots)
}

// Map is a Map(LowCardinality(String), String) column.
type Map struct {
	offsets fixed // where each row ends among the pairs, as UInt64
	keys    Dict
	values  Text
}

// Put adds a pair to the row that EndRow will close.
func (c *Map) Put(key string, value []byte) {
	c.keys.Append([]byte(key))
	c.values.Append(value)
}

// EndRow closes a row; without a Put before it the row is an empty map.
func (c *Map) EndRow() {
	c.offsets.width = 8
	c.offsets.buf = binary.LittleEndian.AppendUint64(c.offsets.buf, uint64(c.values.rows()))
}

func (c *Map) native(scratch []byte) []byte {
	b := append(scratch[:0], c.offsets.buf...)
	b = append(b, c.keys.native(nil)...)
	return append(b, c.values.native(nil)...)
}

func (c *Map) size() int { return c.offsets.size() + c.keys.size() + c.values.size() }
func (c *Map) rows() int { return len(c.offsets.buf) / 8 }
func (c *Map) reset()    { c.offsets.reset(); c.keys.reset(); c.values.reset() }

// nativeReader lets clickhouse-go's own columns read what native returned.
func nativeReader(b []byte) *proto.Reader { return proto.NewReader(bytes.NewReader(b)) }
