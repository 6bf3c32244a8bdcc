package logformat

import (
	"fmt"
	"slices"
	"strings"
)

// Where one value ends and the next begins is decided by the literal between
// them. Most values cannot hold that literal: numbers, dates, names, and all
// that HAProxy encodes. A raw value can (%[var(txn.sub)], %CC), and whoever
// controls it could move every later field. So the compiler marks such ops as
// choices. Parse takes the first end of each, which is nearly always the only
// one, and notices cheaply when it may not be: a line with a second reading
// must have a value that holds the literal in front of it. Then resolve looks for the second reading. (The argument: take the reading with the
// earliest ends, and another one that differs from it. In the last item before
// which they differ, the other reading ends the item before it later, and both
// end it at the same place. So the earliest reading's value of it holds at least
// the last byte of the literal in front of it: op.guard.)

// finish completes the ops once all their literals are known.
func (c *compiler) finish() error {
	if len(c.ops) == 0 {
		return c.fail(&node{}, "the format holds no item to read")
	}
	c.joinNeighbours()
	last := len(c.ops) - 1
	c.ops[last].last = true
	c.ops[last].lit = strings.TrimRight(c.ops[last].lit, " ")
	for i := last; i >= 0; i-- {
		o := &c.ops[i]
		o.tail = (i == last || c.ops[i+1].tail && c.ops[i+1].mayBeAbsent()) && strings.Trim(o.lit, ` `) == o.closing()
	}
	for i := range c.ops {
		if err := c.boundary(i); err != nil {
			return err
		}
	}
	c.markLoose()
	c.markWords()
	c.markTruncatable()
	c.markSlots()
	sortDiagnostics(c.diags)
	return nil
}

func (o *op) mayBeAbsent() bool {
	return (o.grammar == gHeaders || o.grammar == gHeaderList) && o.code != opJSON
}

// closing is the quote that belongs to the value itself.
func (o *op) closing() string {
	if o.wrapped {
		return `"`
	}
	return ""
}

// joinNeighbours makes one op of two items that formats write without anything
// between them: "%Ts%ms" for milliseconds since the epoch, and "%HP%HQ" for the
// URI.
func (c *compiler) joinNeighbours() {
	for i := 0; i+1 < len(c.ops); i++ {
		a, b := &c.ops[i], c.ops[i+1]
		switch {
		case a.lit != "":
			continue
		case a.grammar == gEpoch && b.grammar == gMillis && b.adds:
			a.grammar = gEpochMs
		case a.field == Path && a.grammar == gHash && b.field == Query && b.grammar == gHash && !c.filled[URI]:
			a.field, c.filled[URI] = URI, true
			c.items[a.item].Fields = []Field{URI, Path}
		default:
			continue
		}
		a.lit = b.lit
		c.ops = slices.Delete(c.ops, i+1, i+2)
	}
}

// boundary decides how the end of the value of op i is found.
func (c *compiler) boundary(i int) error {
	o := &c.ops[i]
	if o.lit != "" {
		o.first = o.lit[0]
	}
	if o.code == opHeaders || o.code == opList {
		c.trap(i)
	}
	if o.code == opJSON || o.mayBeAbsent() && o.code != opText {
		return nil
	}
	if o.escaped && o.first != '"' && (o.first != ']' || o.decode == decodeJSON || o.decode == decodeJSONUTF) {
		o.escaped = false
	}
	if o.lit == "" && !o.last {
		return c.adjacent(i)
	}
	o.dash = o.code == opText && !o.quoted && len(o.lit) == 1 && o.first != '-'
	if o.escaped && o.grammar == gText && (o.decode == decodeJSON || o.decode == decodeJSONUTF) {
		o.code = opQuoted
	}
	if o.last && o.lit == "" || o.escaped {
		return nil
	}
	if o.code != opText {
		if o.fixedWidth() || !o.class.may(o.first) || o.class == classAddr && o.first == ':' && c.ops[i+1:] != nil {
			return nil
		}
		o.code = opText // its own grammar would run on into the literal
	}
	switch {
	case !o.class.mayHold(o.lit):
	case o.last:
		o.suffix = true
	default:
		o.choice = int16(len(c.choices))
		c.choices = append(c.choices, i)
		c.ambiguous(o)
	}
	return nil
}

func (o *op) fixedWidth() bool {
	switch o.grammar {
	case gDate, gDateZone, gState, gStateCk, gMillis:
		return true
	}
	return false
}

// adjacent judges two items with nothing between them.
func (c *compiler) adjacent(i int) error {
	o, next := &c.ops[i], &c.ops[i+1]
	switch {
	case o.fixedWidth():
		return nil
	case o.code != opText && next.code == opHeaders:
		return nil
	case o.code == opInt && (next.grammar == gState || next.grammar == gStateCk):
		return nil
	}
	a, b := c.items[o.item], c.items[next.item]
	return &CompileError{Format: c.source, Pos: b.Pos, Msg: fmt.Sprintf(
		"nothing stands between %s and %s, so their values can't be told apart: write a literal between them or quote them (%%{+Q})",
		a.Source, b.Source)}
}

// ambiguous reports that the value of o may hold the literal behind it.
func (c *compiler) ambiguous(o *op) {
	it := c.items[o.item]
	n := node{pos: it.Pos - 1}
	severity := Note
	bare := it.Source[strings.LastIndexByte(it.Source, '}')+1:]
	bare = strings.TrimPrefix(bare, "%")
	mend := "a line that this makes readable in two ways is rejected as ambiguous"
	if strings.HasPrefix(bare, "[") {
		severity = Warning
		mend = fmt.Sprintf("quote and escape it (%%{+Q,+E}%s) or end it with url_enc or, in quotes, json", bare)
		if o.first == '"' {
			mend = fmt.Sprintf("escape it too (%%{+Q,+E}%s, without quotes of your own) or end it with json or url_enc", bare)
		}
	}
	c.note(&n, severity, "%s may be part of %s, so the value can't be told from the literal %q that follows: %s",
		describe(o.first), it.Source, o.lit, mend)
}

func describe(b byte) string {
	switch b {
	case ' ':
		return "a blank"
	case '"':
		return "a quote"
	}
	return fmt.Sprintf("%q", b)
}

// markLoose sets op.guard behind the first choice.
func (c *compiler) markLoose() {
	if len(c.choices) == 0 {
		return
	}
	for i := c.choices[0] + 1; i < len(c.ops); i++ {
		o, before := &c.ops[i], c.ops[i-1].lit
		if o.code == opText && !o.escaped && before != "" && o.class.may(before[len(before)-1]) {
			o.guarded, o.guard = true, before[len(before)-1]
			o.dash = o.dash && o.guard != '-'
		}
	}
}

// markTruncatable finds the op behind which a cut line is worth keeping: when
// the client and the time are there, or, in a format without them, after three
// items.
func (c *compiler) markTruncatable() {
	client, when := -1, -1
	for i, o := range c.ops {
		switch o.field {
		case ClientAddr:
			client = i
		case AcceptTime, RequestTime:
			if when < 0 {
				when = i
			}
		}
	}
	c.truncatable = max(client, when) + 1
	if client < 0 || when < 0 {
		c.truncatable = max(c.truncatable, min(3, len(c.ops)-1))
	}
}

// markSlots finds the captured request headers that stand for fields.
func (c *compiler) markSlots() {
	for i, name := range c.opts.RequestHeaders {
		if f, ok := lookup(strings.ToLower(name), c.opts.Headers, DefaultHeaders()); ok && f.Kind() == KindText && !c.filled[f] {
			c.headerSlots = append(c.headerSlots, slot{i, f})
		}
	}
}
