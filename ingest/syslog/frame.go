package syslog

import "bytes"

// style is how messages stand in a byte stream (RFC 6587, section 3.4).
type style uint8

const (
	styleUnknown style = iota // "auto" before it is detected
	styleCounted              // "LEN SP MSG"
	styleLines                // "MSG LF"; see nulRule for NUL
)

// verdict is what framer.next found.
type verdict uint8

const (
	wantMore   verdict = iota // no whole message is left
	gotNothing                // bytes between messages: go on
	gotMessage
	gotReject // a message is lost, the stream goes on
	outOfStep // a message is lost, and so is the rest of the stream
)

// nulRule is what a NUL means in a stream of lines. Some senders end messages
// by NUL instead of LF (Python's SysLogHandler, the C library on /dev/log).
// The first message decides: after an LF, NULs are data, so that one in a
// logged value cannot split a line.
type nulRule uint8

const (
	nulUndecided nulRule = iota
	nulEnds              // NUL and LF end a message
	nulIsData            // only LF does
)

const (
	// maxCountDigits bounds a frame's length on the wire. HAProxy writes 5 at
	// most.
	maxCountDigits = 10
	// maxSkip is the longest frame that is believed and skipped when it is
	// longer than MaxLine. Beyond it the stream is taken to be out of step.
	maxSkip = 16 << 20
)

// framer cuts a byte stream into messages. It keeps no bytes: the caller
// passes those that are not used up yet, from the same start, until next has
// taken them. The messages do not depend on how the stream was cut into reads
// (FuzzFrames).
type framer struct {
	style   style
	maxLine int
	reason  string // of the last gotReject or outOfStep

	// styleCounted
	need int // length of the frame that has begun, 0 between frames
	skip int // bytes of an over-long frame that are still to come

	// styleLines
	searched int  // bytes of the current line known to hold no terminator
	skipping bool // the rest of an over-long line
	nul      nulRule
	afterNUL bool // the last terminator was a NUL
}

// next looks for a message at the start of b. The first n bytes of b are used
// up, also with wantMore. frame is the message without its terminators, or
// the bounded part of it that is to be rejected.
func (f *framer) next(b []byte) (frame []byte, n int, v verdict) {
	switch f.style {
	case styleCounted:
		return f.nextCounted(b)
	case styleLines:
		return f.nextLine(b)
	default:
		return f.detect(b)
	}
}

// begun tells whether a message has begun that has not ended; held is the
// number of bytes that next has not used up.
func (f *framer) begun(held int) bool {
	return held > 0 || f.need > 0 || f.skip > 0 || f.skipping
}

// skippingOver tells whether the message that has begun is rejected already.
func (f *framer) skippingOver() bool { return f.skip > 0 || f.skipping }

// abandon gives up the message that has begun, of which b is there: the
// stream goes on behind it.
func (f *framer) abandon(b []byte) {
	switch f.style {
	case styleCounted:
		f.skip, f.need = f.need-len(b), 0
	default:
		f.skipping, f.searched = true, 0
	}
}

// detect finds the style by the start of the stream: digits and a blank are an
// octet count, and anything else a line. The blank matters: HAProxy's "raw"
// and "iso" lines begin with the digits of an address or a date.
func (f *framer) detect(b []byte) ([]byte, int, verdict) {
	if len(b) == 0 {
		return nil, 0, wantMore
	}
	if terminator(b[0]) {
		return nil, 1, gotNothing
	}
	if control(b[0]) {
		f.reason = ReasonGarbage
		return b[:min(len(b), MaxReject)], len(b), outOfStep
	}
	digits := countDigits(b)
	switch {
	case digits > maxCountDigits, digits > 0 && digits < len(b) && b[digits] == ' ':
		f.style = styleCounted
	case digits > 0 && digits == len(b):
		return nil, 0, wantMore
	default:
		f.style = styleLines
	}
	return nil, 0, gotNothing
}

// countDigits returns how many digits b begins with, at most one more than a
// frame's length may have, and 0 when the first is a 0 (MSG-LEN begins with a
// NONZERO-DIGIT).
func countDigits(b []byte) int {
	if len(b) == 0 || b[0] == '0' {
		return 0
	}
	n := 0
	for n < len(b) && n <= maxCountDigits && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

// terminator tells what may stand between two messages besides nothing. Some
// senders write an LF after each octet-counted frame, and HAProxy 3.0's rings
// wrote stray bytes (haproxy#2561).
func terminator(c byte) bool { return c == '\n' || c == '\r' || c == 0 }

// control tells a byte that begins no text: a binary protocol's.
func control(c byte) bool { return (c < ' ' && c != '\t') || c == 0x7f }

func (f *framer) nextCounted(b []byte) ([]byte, int, verdict) {
	if f.skip > 0 {
		n := min(f.skip, len(b))
		f.skip -= n
		if f.skip > 0 {
			return nil, n, wantMore
		}
		return nil, n, gotNothing
	}
	if f.need == 0 {
		return f.count(b)
	}
	if f.need > f.maxLine {
		n := min(f.need, f.rejectSize())
		if len(b) < n {
			return nil, 0, wantMore
		}
		f.skip, f.need, f.reason = f.need-n, 0, ReasonTooLong
		return b[:n], n, gotReject
	}
	if len(b) < f.need {
		return nil, 0, wantMore
	}
	n := f.need
	f.need = 0
	if frame := trimEnd(b[:n:n]); len(frame) > 0 {
		return frame, n, gotMessage
	}
	return nil, n, gotNothing
}

// count reads "LEN SP" into need.
func (f *framer) count(b []byte) ([]byte, int, verdict) {
	if len(b) == 0 {
		return nil, 0, wantMore
	}
	if terminator(b[0]) {
		return nil, 1, gotNothing
	}
	digits := countDigits(b)
	if digits > 0 && digits <= maxCountDigits && digits == len(b) {
		return nil, 0, wantMore
	}
	length := 0
	for _, c := range b[:digits] {
		length = length*10 + int(c-'0')
	}
	if digits == 0 || digits > maxCountDigits || b[digits] != ' ' || length > maxSkip {
		f.reason = ReasonBadFrame
		return b[:min(len(b), MaxReject)], len(b), outOfStep
	}
	f.need = length
	return nil, digits + 1, gotNothing
}

func (f *framer) nextLine(b []byte) ([]byte, int, verdict) {
	end := f.lineEnd(b)
	if end < 0 {
		switch {
		case f.skipping:
			return nil, len(b), wantMore
		case len(b) > f.maxLine:
			f.skipping, f.searched, f.reason = true, 0, ReasonTooLong
			return b[:f.rejectSize()], len(b), gotReject
		}
		f.searched = len(b)
		return nil, 0, wantMore
	}
	f.decideNUL(b, end)
	f.searched = 0
	line := trimEnd(b[:end:end])
	switch {
	case f.skipping:
		f.skipping = false
		return nil, end + 1, gotNothing
	case end > f.maxLine:
		f.reason = ReasonTooLong
		return b[:f.rejectSize()], end + 1, gotReject
	case len(line) == 0:
		return nil, end + 1, gotNothing
	}
	return line, end + 1, gotMessage
}

// lineEnd returns the index of the terminator of the line at the start of b,
// -1 without.
func (f *framer) lineEnd(b []byte) int {
	end := bytes.IndexByte(b[f.searched:], '\n')
	if f.nul != nulIsData {
		until := len(b)
		if end >= 0 {
			until = f.searched + end
		}
		if nul := bytes.IndexByte(b[f.searched:until], 0); nul >= 0 {
			end = nul
		}
	}
	if end < 0 {
		return -1
	}
	return f.searched + end
}

// decideNUL learns from the terminator at b[end]. A NUL that an LF follows at
// once belongs to an LF stream.
func (f *framer) decideNUL(b []byte, end int) {
	isNUL := b[end] == 0
	switch {
	case f.nul == nulIsData:
	case isNUL:
		f.nul = nulEnds
	case f.nul == nulUndecided, f.afterNUL && end == 0 && !f.skipping:
		f.nul = nulIsData
	}
	f.afterNUL = isNUL
}

// rejectSize is how much of an over-long message is handed to Reject: the same
// however the stream was cut.
func (f *framer) rejectSize() int { return min(MaxReject, f.maxLine) }
