package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// LineOptions is how ReadLines reads a log file.
type LineOptions struct {
	// Now gives RFC 3164 times their year: the file's modification time, say.
	// Defaults to the present.
	Now time.Time
	// Zone is the time zone of RFC 3164 times. Defaults to the local zone.
	Zone *time.Location
	// MaxLine is the longest line taken, in bytes. Defaults to 65536.
	MaxLine int
}

// ReadLines reads a log file to its end: lines that end in LF or CR LF (the
// last may lack it), each with any header that ParseHeader knows or none. It
// hands them to h as a listener does. Over-long lines are rejected at constant
// memory; empty ones are no lines. A NUL within a line is data.
//
// src is passed on with every call; its Transport should be "file". The error
// is r's, or the context's.
func ReadLines(ctx context.Context, r io.Reader, src *Source, opts LineOptions, h Handler) error {
	setDefault(&opts.Now, time.Now())
	setDefault(&opts.Zone, time.Local)
	setDefault(&opts.MaxLine, defaultMaxLine)
	if opts.MaxLine < minMaxLine {
		return fmt.Errorf("syslog: MaxLine %d must be at least %d", opts.MaxLine, minMaxLine)
	}
	in := intake{
		inlet:   &inlet{cfg: Config{Zone: opts.Zone, MaxLine: opts.MaxLine}},
		src:     src,
		handler: h,
		clock:   opts.Now,
		batch:   new(batch),
	}
	f := framer{style: styleLines, nul: nulIsData, maxLine: opts.MaxLine}
	buf := make([]byte, max(opts.MaxLine, MaxReject)+4*readAhead)
	// A byte order mark is no part of the first line.
	held, err := io.ReadFull(r, buf[:3])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	held = copy(buf, bytes.TrimPrefix(buf[:held], []byte("\xef\xbb\xbf")))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[held:])
		in.received = time.Now()
		held += n
		used := cutLines(&in, &f, buf[:held])
		held = copy(buf, buf[used:held])
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		if last := trimEnd(buf[:held]); len(last) > 0 && !f.skipping {
			in.message(last)
			in.flush()
		}
		return nil
	}
}

// cutLines hands on the whole lines of b and returns how much of b they are.
func cutLines(in *intake, f *framer, b []byte) (used int) {
	for {
		frame, n, v := f.next(b[used:])
		used += n
		switch v {
		case gotMessage:
			in.message(frame)
		case gotReject:
			in.reject(f.reason, frame)
		case wantMore:
			in.flush()
			return used
		}
	}
}
