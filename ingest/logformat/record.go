package logformat

import "time"

// Record holds the values of one log line. The zero Record is ready for use;
// one Record serves any number of lines, one after another, without
// allocating. Byte slices alias the line or the record itself and are valid
// until the next Parse with this record.
type Record struct {
	// Text, Int and Addr hold each field's value in the place that its Kind
	// names. A value is meaningful only where Has says so.
	Text [NumFields][]byte
	Int  [NumFields]int64
	Addr [16]byte // ClientAddr, IPv4 as ::ffff:a.b.c.d

	// Extra holds the values of items that no field stands for, in the order
	// of the format's ExtraNames. A nil Value means "not in this line".
	Extra []Extra

	// Truncated is set when the line ended before the format did: the fields
	// read until then are there.
	Truncated bool

	// Cut is the text field that a truncated line ended in: its value is only
	// the beginning of what HAProxy had. A cut subject or role may well be
	// somebody else's name. NumFields when no field was cut.
	Cut Field

	has     [2]uint64
	scratch []byte // decoded copies of #XX- and JSON-escaped values
	format  *Format

	// loose is set when a value held what could also have ended an earlier
	// one: the line may have a second reading, see resolve.
	loose  bool
	forced []int // by choice number: the end (of captured headers: the number) that resolve settled on, -1 for the first; nil in the normal case
	ends   []int // memory of resolve

	minute minuteCache
}

// Extra is the value of an item without a field of its own.
type Extra struct {
	Name  string // the format's own name for it, such as "ssl_fc_sni"
	Value []byte
}

// minuteCache is the instant at which the minute began that the record's last
// date named: successive lines mostly name the same one.
type minuteCache struct {
	text  [17]byte // "23/Nov/2026:11:10"
	zone  *time.Location
	start int64 // microseconds since the epoch
}

// Has tells whether the line carried the field: present, and neither HAProxy's
// "-" nor an empty string for "no value".
func (r *Record) Has(f Field) bool { return r.has[f>>6]&(1<<(f&63)) != 0 }

func (r *Record) mark(f Field) { r.has[f>>6] |= 1 << (f & 63) }

func (r *Record) unmark(f Field) { r.has[f>>6] &^= 1 << (f & 63) }

func (r *Record) setInt(f Field, v int64) {
	r.Int[f] = v
	r.mark(f)
}

func (r *Record) setText(f Field, v []byte) {
	r.Text[f] = v
	r.mark(f)
}

// begin readies the record for a line of format f.
func (r *Record) begin(f *Format) {
	r.has = [2]uint64{}
	r.Truncated, r.Cut, r.loose = false, NumFields, false
	r.forced = nil
	r.scratch = r.scratch[:0]
	if r.format != f {
		r.Extra = r.Extra[:0]
		for _, name := range f.extras {
			r.Extra = append(r.Extra, Extra{Name: name})
		}
		r.format = f
		return
	}
	for i := range r.Extra {
		r.Extra[i].Value = nil
	}
}
