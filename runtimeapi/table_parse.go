package runtimeapi

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// tableLine: a name may hold anything that a configuration can write.
var tableLine = regexp.MustCompile(`^# table: (.*), type: (string|integer|ip|ipv6|binary), size:(\d{1,10}), used:(\d{1,10})$`)

// parseTable reads one line of "show table".
func parseTable(line []byte) (Table, error) {
	m := tableLine.FindSubmatch(line)
	if m == nil {
		return Table{}, fmt.Errorf("line %.100q is no table", line)
	}
	t := Table{Name: string(m[1]), Type: string(m[2])}
	// The pattern admits only what fits.
	t.Size, _ = strconv.Atoi(string(m[3]))
	t.Used, _ = strconv.Atoi(string(m[4]))
	return t, nil
}

// entryParser reads the entries of one reply. All of them have the same columns,
// so these are learned from the first one; each later line is compared with them
// and only its numbers are read.
type entryParser struct {
	entry    TableEntry
	key      []byte   // of an escaped or binary key
	prefixes [][]byte // " name(period)=" by column
}

func newEntryParser(keys string) *entryParser {
	return &entryParser{entry: TableEntry{table: keys}}
}

// parse reads a line, without its line feed, into p.entry, which refers to it.
func (p *entryParser) parse(line []byte) error {
	rest, err := p.head(line)
	if err != nil {
		return fmt.Errorf("line %.100q is no entry: %w", line, err)
	}
	if p.prefixes != nil && p.values(rest) {
		return nil
	}
	if err := p.learn(rest); err != nil {
		return fmt.Errorf("line %.100q is no entry: %w", line, err)
	}
	return nil
}

// head reads what stands before the data types and returns the rest.
func (p *entryParser) head(line []byte) (rest []byte, err error) {
	e := &p.entry
	rest, ok := bytes.CutPrefix(line, []byte("0x"))
	if !ok {
		return nil, fmt.Errorf("it begins with no address")
	}
	if e.Address, rest, ok = cutHex(rest); !ok {
		return nil, fmt.Errorf("its address is no number")
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(": key=")); !ok {
		return nil, fmt.Errorf("it has no key")
	}
	if rest, ok = p.cutKey(rest); !ok {
		return nil, fmt.Errorf("its key is not one of type %s", e.table)
	}
	var n int64
	if n, rest, ok = cutField(rest, " use="); !ok || n < math.MinInt32 || n > math.MaxInt32 {
		return nil, fmt.Errorf("it has no use=")
	}
	e.Use = int(n)
	if n, rest, ok = cutField(rest, " exp="); !ok || n < 0 || n > math.MaxUint32 {
		return nil, fmt.Errorf("it has no exp=")
	}
	e.Expire, e.Shard = time.Duration(n)*time.Millisecond, -1
	if n, after, ok := cutField(rest, " shard="); ok && n >= 0 && n <= math.MaxInt32 {
		e.Shard, rest = int(n), after
	}
	return rest, nil
}

// cutKey reads the key up to the blank after it.
func (p *entryParser) cutKey(text []byte) (rest []byte, ok bool) {
	// A blank within the key has an odd number of backslashes before it.
	end := bytes.IndexByte(text, ' ')
	for end > 0 && escaped(text[:end]) {
		next := bytes.IndexByte(text[end+1:], ' ')
		if next < 0 {
			return nil, false
		}
		end += 1 + next
	}
	if end < 0 {
		return nil, false
	}
	shown, rest := text[:end], text[end:]
	switch p.entry.table {
	case KeyString:
		ok = p.text(shown)
	case KeyBinary:
		p.key, ok = unhexKey(p.key[:0], shown)
		p.entry.Key = p.key
	case KeyInteger:
		n, left, valid := cutNumber(shown)
		p.entry.Key, ok = shown, valid && len(left) == 0 && n <= math.MaxUint32
	default:
		p.entry.Key, ok = shown, len(shown) > 0 && len(bytes.Trim(shown, "0123456789abcdef:.")) == 0
	}
	return rest, ok
}

// text reads a key of type string; one without an escape is not copied.
func (p *entryParser) text(shown []byte) (ok bool) {
	for _, c := range shown {
		if c <= ' ' || c > '~' || c == '\\' || c == '=' {
			p.key, ok = unescapeKey(p.key[:0], shown)
			p.entry.Key = p.key
			return ok
		}
	}
	p.entry.Key = shown
	return true
}

// escaped is whether an odd number of backslashes ends the text.
func escaped(text []byte) bool {
	n := 0
	for n < len(text) && text[len(text)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func unhexKey(b, text []byte) ([]byte, bool) {
	if len(text)%2 != 0 {
		return b, false
	}
	for i := 0; i < len(text); i += 2 {
		high, low := unhex(text[i]), unhex(text[i+1])
		if high > 15 || low > 15 {
			return b, false
		}
		b = append(b, high<<4|low)
	}
	return b, true
}

// values reads the numbers of a line that has the columns of the one before.
func (p *entryParser) values(rest []byte) bool {
	e := &p.entry
	for i, prefix := range p.prefixes {
		if len(rest) < len(prefix) || string(rest[:len(prefix)]) != string(prefix) {
			return false
		}
		var ok bool
		if rest, ok = p.value(i, rest[len(prefix):]); !ok {
			return false
		}
	}
	return len(rest) == 0 && len(p.prefixes) == len(e.Columns)
}

// value reads one value at the beginning of text.
func (p *entryParser) value(i int, text []byte) (rest []byte, ok bool) {
	e := &p.entry
	if e.Columns[i].Kind != Text {
		e.Values[i], rest, ok = cutValue(text)
		return rest, ok && (len(rest) == 0 || rest[0] == ' ')
	}
	end := bytes.IndexByte(text, ' ')
	if end < 0 {
		end = len(text)
	}
	e.Texts[i] = text[:end]
	return text[end:], end > 0
}

// learn reads the columns with their values. They are new slices: the former ones
// may still be somebody's.
func (p *entryParser) learn(rest []byte) error {
	e := &p.entry
	e.Columns, e.Values, e.Texts, p.prefixes = nil, nil, nil, [][]byte{}
	for len(rest) > 0 {
		column, value, err := cutColumn(rest)
		if err != nil {
			return err
		}
		if n := len(e.Columns); n == maxColumns {
			return fmt.Errorf("it has more than %d data types", maxColumns)
		}
		// A data type that is not known may turn out to be text.
		if _, after, ok := cutValue(value); column.Kind != Rate && (!ok || len(after) > 0 && after[0] != ' ') {
			column.Kind = Text
		}
		if column.Kind == Text && e.Texts == nil {
			e.Texts = make([][]byte, len(e.Columns), maxColumns)
		}
		p.prefixes = append(p.prefixes, bytes.Clone(rest[:len(rest)-len(value)]))
		e.Columns = append(e.Columns, column)
		e.Values = append(e.Values, 0)
		if e.Texts != nil {
			e.Texts = append(e.Texts, nil)
		}
		var ok bool
		if rest, ok = p.value(len(e.Columns)-1, value); !ok {
			return fmt.Errorf("the value of %s is no number", column)
		}
	}
	return nil
}

// maxColumns: three arrays of at most 100 elements and some 25 single types.
const maxColumns = 400

// cutColumn reads " name=" or " name(period)=".
func cutColumn(text []byte) (c Column, value []byte, err error) {
	if text[0] != ' ' {
		return Column{}, nil, fmt.Errorf("no blank before %.40q", text)
	}
	end := 1
	for end < len(text) && (text[end] >= 'a' && text[end] <= 'z' || text[end] >= '0' && text[end] <= '9' || text[end] == '_') {
		end++
	}
	if end == 1 || end == len(text) {
		return Column{}, nil, fmt.Errorf("no data type at %.40q", text)
	}
	name, rest := string(text[1:end]), text[end:]
	if rest[0] == '=' {
		return newColumn(name, 0, false), rest[1:], nil
	}
	inside, ok := bytes.CutPrefix(rest, []byte("("))
	if !ok {
		return Column{}, nil, fmt.Errorf("no = after %s", name)
	}
	ms, rest, ok := cutNumber(inside)
	if !ok || ms > math.MaxUint32 {
		return Column{}, nil, fmt.Errorf("the period of %s is no number", name)
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(")=")); !ok {
		return Column{}, nil, fmt.Errorf("no = after %s", name)
	}
	return newColumn(name, time.Duration(ms)*time.Millisecond, true), rest, nil
}

// cutField reads a number after its name.
func cutField(text []byte, name string) (n int64, rest []byte, ok bool) {
	if len(text) < len(name) || string(text[:len(name)]) != name {
		return 0, text, false
	}
	text = text[len(name):]
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	u, rest, ok := cutNumber(text)
	if !ok || u > math.MaxInt64 || negative && u == 0 {
		return 0, text, false
	}
	if n = int64(u); negative {
		n = -n
	}
	return n, rest, true
}

// cutValue reads a data type's number. HAProxy 2.4 prints with a sign what has
// none, so that a rate beyond 2^31 is negative there.
func cutValue(text []byte) (n uint64, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '-' {
		return cutNumber(text)
	}
	n, rest, ok = cutNumber(text[1:])
	switch {
	case !ok || n == 0 || n > 1<<63:
		return 0, text, false
	case n <= 1<<31:
		return uint64(-uint32(n)), rest, true
	}
	return -n, rest, true
}

// cutNumber reads decimal digits; no sign, no leading zero, no overflow.
func cutNumber(text []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(text) {
		d := text[i] - '0'
		if d > 9 {
			break
		}
		if i >= 19 && (n > math.MaxUint64/10 || n*10 > math.MaxUint64-uint64(d)) {
			return 0, text, false
		}
		n = n*10 + uint64(d)
		i++
	}
	return n, text[i:], i > 0 && (text[0] != '0' || i == 1)
}

// cutHex reads lower-case hexadecimal digits of at most 64 bits.
func cutHex(text []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(text) && i < 16 {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return n, text[i:], i > 0 && (text[0] != '0' || i == 1)
		}
		i++
	}
	return n, text[i:], i > 0 && (text[0] != '0' || i == 1)
}
