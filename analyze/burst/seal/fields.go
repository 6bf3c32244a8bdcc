package seal

import (
	"encoding/binary"
	"math"
)

// Text appends a text with its length.
func Text(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

// Float appends a number bit by bit.
func Float(to []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(to, math.Float64bits(x))
}

// Fields takes a record apart. After the first field that is not there all others are
// zero, and Bad says so.
type Fields struct {
	left []byte
	bad  bool
}

// Of are the fields of a record.
func Of(record []byte) *Fields { return &Fields{left: record} }

// Bad reports whether a field was not there or, by Fail, was wrong.
func (f *Fields) Bad() bool { return f.bad }

// Fail says that a field is wrong.
func (f *Fields) Fail() { f.left, f.bad = nil, true }

// More reports whether there are more fields.
func (f *Fields) More() bool { return len(f.left) > 0 }

// Uint is a number written by binary.AppendUvarint, at most limit.
func (f *Fields) Uint(limit uint64) uint64 {
	x, n := binary.Uvarint(f.left)
	if n <= 0 || x > limit {
		f.Fail()
		return 0
	}
	f.left = f.left[n:]
	return x
}

// Byte is a byte as it is.
func (f *Fields) Byte() byte {
	if len(f.left) == 0 {
		f.Fail()
		return 0
	}
	b := f.left[0]
	f.left = f.left[1:]
	return b
}

// Uint32 is a number of 32 bits.
func (f *Fields) Uint32() uint32 { return uint32(f.Uint(math.MaxUint32)) }

// Int is a number written by binary.AppendVarint, from low to high.
func (f *Fields) Int(low, high int64) int64 {
	x, n := binary.Varint(f.left)
	if n <= 0 || x < low || x > high {
		f.Fail()
		return 0
	}
	f.left = f.left[n:]
	return x
}

// Float is a number written by Float, from low to high; NaN is none.
func (f *Fields) Float(low, high float64) float64 {
	if len(f.left) < 8 {
		f.Fail()
		return 0
	}
	x := math.Float64frombits(binary.LittleEndian.Uint64(f.left))
	if !(x >= low && x <= high) {
		f.Fail()
		return 0
	}
	f.left = f.left[8:]
	return x
}

// Text is a text.
func (f *Fields) Text() string {
	n := f.Uint(uint64(len(f.left)))
	if uint64(len(f.left)) < n { // the length itself took some
		f.Fail()
		return ""
	}
	text := string(f.left[:n])
	f.left = f.left[n:]
	return text
}
