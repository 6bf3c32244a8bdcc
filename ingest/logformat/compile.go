package logformat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options tell Compile what the log-format string alone does not.
type Options struct {
	// Zone is the zone of %t and %tr, which HAProxy writes as local time
	// without saying where. Nil means UTC.
	Zone *time.Location

	// Vars maps the names of HAProxy variables (without scope) to fields. It
	// extends and overrides DefaultVars; NumFields takes a default away.
	Vars map[string]Field

	// Headers maps lower-case names of request headers to fields, likewise
	// with DefaultHeaders.
	Headers map[string]Field

	// RequestHeaders and ResponseHeaders are the names of the headers that the
	// frontend captures (`capture request header NAME len N`), in the order of
	// the configuration. Both nil: unknown. When one is not nil, nil for the
	// other means that it captures none.
	RequestHeaders, ResponseHeaders []string
}

// Compile turns an HAProxy log-format string into a parser of its lines. The
// string is what HAProxy sees: without the quotes and backslashes of its
// configuration file (FromConfig removes them). An error is a *CompileError.
//
// What is written where a value could itself hold the text that ends it is
// reported by Diagnostics. Parse rejects a line that such a value makes
// readable in two ways.
func Compile(format string, opts Options) (*Format, error) {
	if opts.Zone == nil {
		opts.Zone = time.UTC
	}
	l, err := lex(format)
	if err != nil {
		return nil, err
	}
	c := compiler{
		Format:    &Format{source: format, opts: opts, diags: l.diags},
		lastBlank: true,
		filled:    make(map[Field]bool),
	}
	if l.flags&flagCBOR != 0 {
		return nil, c.fail(&node{}, "CBOR lines cannot be read: write %%{+json}o instead of %%{+cbor}o")
	}
	if l.flags&flagJSON != 0 {
		err = c.object(l.nodes)
	} else {
		err = c.text(l.nodes)
	}
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return nil, err
	}
	return c.Format, nil
}

type compiler struct {
	*Format
	lastBlank bool // HAProxy's last_isspace: a further blank prints nothing
	filled    map[Field]bool
	request   bool // there was a %r
}

func (c *compiler) fail(n *node, text string, args ...any) error {
	return &CompileError{Format: c.source, Pos: n.pos + 1, Msg: fmt.Sprintf(text, args...)}
}

func (c *compiler) note(n *node, s Severity, text string, args ...any) {
	c.diags = append(c.diags, Diagnostic{Pos: n.pos + 1, Severity: s, Message: fmt.Sprintf(text, args...)})
}

// literal appends text that every line holds at this point.
func (c *compiler) literal(s string) {
	if len(c.ops) == 0 {
		c.lead += s
		return
	}
	c.ops[len(c.ops)-1].lit += s
}

// text compiles an ordinary format: literals and values in turn.
func (c *compiler) text(nodes []node) error {
	for i := range nodes {
		n := &nodes[i]
		switch n.kind {
		case nodeText:
			c.literal(n.text)
			c.lastBlank = false
			continue
		case nodeBlank:
			if !c.lastBlank {
				c.literal(" ")
			}
			c.lastBlank = true
			continue
		}
		o, it, err := c.item(n)
		if err != nil {
			return err
		}
		if o.grammar == gHeaders || o.grammar == gHeaderList {
			c.optional(n, o, it)
			continue
		}
		if o.wrapped {
			c.literal(`"`)
		}
		c.add(o, it)
		if o.wrapped {
			c.literal(`"`)
		}
		c.lastBlank = false
	}
	return nil
}

// optional adds %hr, %hs, %hrl or %hsl, which print nothing at all when
// nothing was captured: then the blanks around them merge into one.
func (c *compiler) optional(n *node, o op, it Item) {
	names, known := c.captures(o.field)
	if known && len(names) == 0 {
		return
	}
	o.count = -1
	if known {
		o.count = int16(len(names))
	}
	if o.grammar == gHeaderList {
		switch {
		case !o.quoted:
			c.note(n, Note, "a captured value may hold a blank, so the values of %s can't be told from each other: quote them (%%{+Q}%s) or use %%%s",
				n.src, n.text, n.text[:2])
		case !known:
			c.note(n, Note, "how many values %s writes is not known here: all quoted words up to the next item are taken", n.src)
		}
	}
	c.add(o, it)
	c.lastBlank = false // the blank behind it goes into its literal
}

// captures tells which header names %hr or %hs lists, if that is known.
func (c *compiler) captures(f Field) (names []string, known bool) {
	known = c.opts.RequestHeaders != nil || c.opts.ResponseHeaders != nil
	if f == RequestHeaders {
		return c.opts.RequestHeaders, known
	}
	return c.opts.ResponseHeaders, known
}

func (c *compiler) add(o op, it Item) {
	o.item = int16(len(c.items))
	if it.Source != "" {
		c.items = append(c.items, it)
	}
	c.ops = append(c.ops, o)
}

// item turns an alias or expression node into an op.
func (c *compiler) item(n *node) (op, Item, error) {
	if n.flags&flagCBOR != 0 {
		return op{}, Item{}, c.fail(n, "CBOR values cannot be read: write %%{+json} instead of %%{+cbor}")
	}
	if len(c.items) >= 1000 {
		return op{}, Item{}, c.fail(n, "more than 1000 items")
	}
	o := op{field: NumFields, extra: -1, choice: -1, count: -1}
	o.quoted = n.flags&flagQuote != 0
	o.empty = o.quoted || n.flags&flagMandatory == 0
	it := Item{Pos: n.pos + 1, Source: n.src}
	var name string
	if n.kind == nodeAlias {
		a, ok := findAlias(n.text)
		if !ok {
			return o, it, c.unknownAlias(n)
		}
		c.alias(&o, a, n.flags)
		name = a.name
	} else {
		c.sample(&o, n)
		name = sampleName(n.text)
	}
	if n.flags&flagEscape != 0 && o.quotable() {
		c.escape(&o, n)
	}
	if n.flags&flagJSON != 0 {
		o.code, o.wrapped, o.escaped, o.quoted = opJSON, false, false, true
	}
	c.destination(&o, &it, n, name)
	o.plain = o.code == opText && o.grammar == gText && o.decode == decodeNone && o.field < NumFields
	return o, it, nil
}

func (c *compiler) unknownAlias(n *node) error {
	hint := `write "%%" for a percent sign`
	if near := nearestAlias(n.text); near != "" {
		hint = "is %" + near + " meant?"
	}
	return c.fail(n, "HAProxy knows no variable %%%s: %s", n.text, hint)
}

// quotable tells whether %{+Q} and %{+E} have an effect on the value.
func (o *op) quotable() bool {
	switch o.grammar {
	case gText, gHash, gRequest, gName, gTransport, gAddr:
		return true
	}
	return false
}

// escape sets o up for %{+E}.
func (c *compiler) escape(o *op, n *node) {
	switch o.decode {
	case decodeNone:
		o.decode, o.class = decodeEscape, classEscaped
	case decodeHash:
		o.decode = decodeHashEscape
	case decodeJSON, decodeJSONUTF:
		o.decode, o.class = decodeEscape, classEscaped
		c.note(n, Warning, "%s escapes twice, so its value is kept as the json converter wrote it: drop +E or json", n.src)
	}
	o.escaped = true
}

func (c *compiler) alias(o *op, a alias, fl flags) {
	o.field, o.grammar = a.field, a.grammar
	hexed := false
	if fl&flagHex != 0 {
		o.grammar, hexed = a.hex()
	}
	o.wrapped = o.quoted && a.quoted && !hexed && a.grammar != gHeaders && a.grammar != gHeaderList
	o.empty = o.empty && (o.wrapped || fl&flagMandatory == 0)
	o.code = opTyped
	switch o.grammar {
	case gText:
		o.code = opText
		if o.field == TLSCipher || o.field == TLSVersion || o.field == Hostname {
			o.class = classWord
		}
	case gHash:
		o.code, o.decode, o.class = opText, decodeHash, classPrint
	case gRequest:
		o.code, o.class = opText, classPrint
	case gInt:
		o.code, o.class = opInt, classDigits
	case gAddr:
		o.class = classAddr
		if o.field == ClientAddr {
			o.code = opAddr
		}
	case gEpoch:
		o.class = classDigits
	case gHexInt, gHexEpoch, gHexMillis, gHexAddr:
		o.class = classHexText
	case gDate:
		o.code = opDate
	case gName, gTransport:
		o.code, o.class = opName, className
	case gHeaders:
		o.code = opHeaders
	case gHeaderList:
		o.code = opList
		if !o.quoted {
			o.code, o.class = opText, classHeader
		}
	}
}

// sample sets o up for a %[expression].
func (c *compiler) sample(o *op, n *node) {
	s := parseSample(n.text)
	o.code, o.grammar, o.class, o.decode = opText, gText, s.class, s.decode
	o.lenient, o.wrapped = true, o.quoted
	if f, ok := s.field(&c.opts); ok {
		o.field = f
	}
	if s.decode == decodeJSON || s.decode == decodeJSONUTF {
		o.escaped = true
	}
	if o.field.Kind() == KindText || o.field == NumFields {
		return
	}
	// The value of a variable can be anything: assign takes it when it fits.
	o.grammar = gInt
	switch o.field.Kind() {
	case KindAddr:
		o.grammar = gAddr
	case KindTime:
		o.grammar = gEpoch
	}
}

// destination decides where the value goes: the first item that stands for a
// field fills it, a second one is kept under its own name.
func (c *compiler) destination(o *op, it *Item, n *node, name string) {
	switch {
	case o.grammar == gMillis || o.grammar == gHexMillis:
		c.millis(o, it, name)
		return
	case o.grammar == gRequest && !c.request:
		// Fills what no item of its own fills; %HM and the like come first.
		it.Fields = []Field{Method, URI, HTTPVersion}
		c.request = true
		return
	case o.field < NumFields && !c.filled[o.field]:
		it.Fields = []Field{o.field}
		c.filled[o.field] = true
		if o.grammar == gTransport {
			it.Fields = append(it.Fields, TLS)
		}
		if o.field == Retries {
			it.Fields = append(it.Fields, Redispatched)
		}
		return
	case o.field < NumFields:
		c.note(n, Note, "an item before %s fills %s already: this one is kept as an extra value", n.src, o.field)
		if o.code != opText {
			o.code = opTyped
		}
	}
	if n.name != "" {
		name = n.name
	}
	o.field = NumFields
	c.extraName(o, it, name)
}

// millis gives %ms its place: AcceptTime when a date to the second is there to
// be added to, else a value of its own. (%trg is another moment than %ms.)
func (c *compiler) millis(o *op, it *Item, name string) {
	for i := range c.ops {
		p := &c.ops[i]
		if p.field == AcceptTime && p.grammar != gDate {
			o.adds, it.Fields = true, []Field{AcceptTime}
			return
		}
	}
	o.field = NumFields
	c.extraName(o, it, name)
}

func (c *compiler) extraName(o *op, it *Item, name string) {
	unique := name
	for i := 2; slices.Contains(c.extras, unique); i++ {
		unique = fmt.Sprintf("%s_%d", name, i)
	}
	o.extra = int16(len(c.extras))
	c.extras = append(c.extras, unique)
	it.Extra = unique
}

// String renders the item as "position 24  %ST  -> status".
func (it Item) String() string {
	dest := make([]string, 0, 3)
	for _, f := range it.Fields {
		dest = append(dest, f.String())
	}
	if it.Extra != "" {
		dest = append(dest, "extra:"+it.Extra)
	}
	return fmt.Sprintf("position %d\t%s\t-> %s", it.Pos, it.Source, strings.Join(dest, ", "))
}

func sortDiagnostics(d []Diagnostic) {
	slices.SortStableFunc(d, func(a, b Diagnostic) int { return cmp.Compare(a.Pos, b.Pos) })
}
