package logformat

// Set is several formats that occur on one stream, such as httplog and tcplog
// of two frontends. It is immutable; each goroutine reads with a Matcher of its
// own.
type Set struct {
	names   []string
	formats []*Format
}

// Named is a format with the name it is reported under.
type Named struct {
	Name   string
	Format *Format
}

// NewSet makes a set of formats; the first is tried first.
func NewSet(formats ...Named) *Set {
	s := &Set{}
	for _, n := range formats {
		s.names = append(s.names, n.Name)
		s.formats = append(s.formats, n.Format)
	}
	return s
}

// Names lists the names of the formats, in their order.
func (s *Set) Names() []string { return s.names }

// Format returns the format at index i, and its name.
func (s *Set) Format(i int) (name string, f *Format) { return s.names[i], s.formats[i] }

// Matcher finds the format of each line of one stream. It remembers which one
// matched last and tries that first. Not safe for concurrent use.
type Matcher struct {
	set  *Set
	last int
}

// Matcher returns a matcher for one stream.
func (s *Set) Matcher() *Matcher { return &Matcher{set: s} }

// Parse reads line into rec with the first format that matches it whole, else
// with the first that takes it as truncated. It returns the index of that
// format, or that of the format that got furthest into the line, with its
// fault.
func (m *Matcher) Parse(line []byte, rec *Record) (format int, fault Fault) {
	fault = m.set.formats[m.last].Parse(line, rec)
	if fault.Reason == OK && !rec.Truncated {
		return m.last, fault
	}
	best, truncated := m.last, -1
	if fault.Reason == OK {
		truncated = m.last
	}
	for i, f := range m.set.formats {
		if i == m.last {
			continue
		}
		other := f.Parse(line, rec)
		switch {
		case other.Reason != OK:
			if other.Pos > fault.Pos {
				best, fault = i, other
			}
		case !rec.Truncated:
			m.last = i
			return i, other
		case truncated < 0:
			truncated = i
		}
	}
	if truncated >= 0 {
		return truncated, m.set.formats[truncated].Parse(line, rec)
	}
	return best, fault
}
