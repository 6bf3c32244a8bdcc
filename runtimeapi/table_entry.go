package runtimeapi

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Table is one line of "show table" (management guide, "show table").
type Table struct {
	// Name is the proxy's that declares it, or "peers-section/table".
	Name string
	// Type of its keys: KeyString, KeyInteger, KeyIP, KeyIPv6 or KeyBinary.
	Type string
	// Size is how many entries fit, Used how many are there now.
	Size, Used int
}

// String is the line as HAProxy writes it.
func (t Table) String() string {
	return fmt.Sprintf("# table: %s, type: %s, size:%d, used:%d", t.Name, t.Type, t.Size, t.Used)
}

// TableEntry is one entry of a stick table. The one that a callback gets, and all
// that it refers to except Columns, is overwritten by the next entry.
type TableEntry struct {
	// Address in HAProxy's memory: while it stays, so does the entry. A key that
	// comes back at another address was removed meanwhile.
	Address uint64
	// Key unescaped: the text of a string, the bytes of a binary key, and for
	// integer, ip and ipv6 the number or address as text.
	Key []byte
	// Use is how many streams track the entry now.
	Use int
	// Expire is when it goes unless it is touched, to the millisecond; 0 in a table
	// without "expire".
	Expire time.Duration
	// Shard of the peers (2.8 and later); -1 where HAProxy prints none.
	Shard int
	// Columns are the data types, in HAProxy's order; the same slice for every
	// entry of a reply, as far as HAProxy prints the same ones.
	Columns []Column
	// Values by column; 0 where the column is Text.
	Values []uint64
	// Texts by column; nil if no column is Text. HAProxy writes "-" for none.
	Texts [][]byte

	table string // type of the keys
}

// Value is the number in the column of that name; ok is false if there is none.
func (e *TableEntry) Value(name string) (n uint64, ok bool) {
	for i := range e.Columns {
		if e.Columns[i].Name == name && e.Columns[i].Kind != Text {
			return e.Values[i], true
		}
	}
	return 0, false
}

// Clone is a copy that stays.
func (e *TableEntry) Clone() *TableEntry {
	c := *e
	c.Key = bytes.Clone(e.Key)
	c.Values = slices.Clone(e.Values)
	if e.Texts != nil {
		c.Texts = make([][]byte, len(e.Texts))
		for i, text := range e.Texts {
			c.Texts[i] = bytes.Clone(text)
		}
	}
	return &c
}

// AppendTo appends the entry as HAProxy writes it, without the line feed.
func (e *TableEntry) AppendTo(b []byte) []byte {
	b = append(b, "0x"...)
	b = strconv.AppendUint(b, e.Address, 16)
	b = append(b, ": key="...)
	switch e.table {
	case KeyBinary:
		for _, c := range e.Key {
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	case KeyString:
		b = appendKey(b, e.Key)
	default:
		b = append(b, e.Key...)
	}
	b = append(b, " use="...)
	b = strconv.AppendInt(b, int64(e.Use), 10)
	b = append(b, " exp="...)
	b = strconv.AppendInt(b, e.Expire.Milliseconds(), 10)
	if e.Shard >= 0 {
		b = append(b, " shard="...)
		b = strconv.AppendInt(b, int64(e.Shard), 10)
	}
	for i := range e.Columns {
		b = append(b, ' ')
		b = append(b, e.Columns[i].String()...)
		b = append(b, '=')
		if e.Columns[i].Kind == Text {
			b = append(b, e.Texts[i]...)
		} else {
			b = strconv.AppendUint(b, e.Values[i], 10)
		}
	}
	return b
}
