package logformat

// opcode tells how exec finds the end of a value.
type opcode uint8

const (
	opText    opcode = iota // up to the literal that follows
	opInt                   // digits, perhaps with a sign
	opAddr                  // the client's address
	opDate                  // 23 bytes
	opName                  // a run of name bytes
	opTyped                 // what scan says for the grammar
	opHeaders               // {...}, or nothing
	opList                  // "..." "...", or nothing
	opQuoted                // the inside of a JSON string
	opJSON                  // a JSON value
	opWord                  // opText of which every byte is checked, see traps.go
)

// op reads one value and the literal text behind it. A compiled format is a
// flat list of them.
type op struct {
	code    opcode
	grammar grammar
	decode  decoding
	class   class
	field   Field // NumFields: to Record.Extra[extra]
	first   byte  // lit[0]
	quoted  bool  // under %{+Q}: "" is absent, and - is a value where it can be one
	wrapped bool  // the literals around the value hold the quotes of %{+Q}
	empty   bool  // an absent value is written as nothing
	lenient bool  // a %[sample]: when it does not fit its field, it is absent
	escaped bool  // a backslash protects the byte that would end the value
	tail    bool  // only what may be absent follows: the line may end here
	last    bool  // nothing follows
	adds    bool  // %ms: adds to AcceptTime what %Ts set
	extra   int16 // index into Record.Extra, -1 for a value that is only checked
	item    int16 // index into Format.items
	choice  int16 // index into Record.forced when the end is ambiguous, else -1
	count   int16 // number of captured headers that opHeaders or opList writes, -1 when unknown
	follows bool  // a trap right behind another one that begins alike
	shaped  bool  // a %r that must not be a quoted word of another item, see traps.go
	lit     string
	suffix  bool // last, and the value may hold lit: it ends where the line does
	dash    bool // "-" and the one-byte literal behind it mean absent
	plain   bool // the value is stored as it stands, in Text
	// guarded is set where an earlier value's end is ambiguous: a value that
	// holds the byte guard shows that the line may have a second reading.
	guarded bool
	guard   byte
}

// Item is one item of a format, for people.
type Item struct {
	Pos    int     // of its "%" in the format string, 1 for the first byte
	Source string  // as written, such as "%{+Q}[var(txn.sub)]"
	Fields []Field // what it fills; %r fills several
	Extra  string  // its name in Record.Extra when it fills no field
}

// Format is a compiled log-format string. It is safe for concurrent use with
// one Record per goroutine.
type Format struct {
	source string
	opts   Options
	lead   string // literal before the first item
	ops    []op
	items  []Item
	extras []string
	diags  []Diagnostic

	choices []int // the ops whose end is ambiguous, in order, and the traps
	traps   []int // those of the choices that captured headers are, see traps.go
	// truncatable is the number of ops after which a line that ends early is
	// taken as a truncated one.
	truncatable int
	headerSlots []slot // captured request headers that fill fields
}

// slot says that the captured header at index fills field.
type slot struct {
	index int
	field Field
}

// String returns the log-format string that was compiled.
func (f *Format) String() string { return f.source }

// Items lists the format's items in their order.
func (f *Format) Items() []Item { return f.items }

// Diagnostics lists what Compile noticed, in the order of the positions.
func (f *Format) Diagnostics() []Diagnostic { return f.diags }

// ExtraNames lists the names of the values in Record.Extra, in their order.
func (f *Format) ExtraNames() []string { return f.extras }

// Explain renders one line for each item: position, source and destination.
func (f *Format) Explain() string {
	var b []byte
	for _, it := range f.items {
		b = append(b, it.String()...)
		b = append(b, '\n')
	}
	return string(b)
}
