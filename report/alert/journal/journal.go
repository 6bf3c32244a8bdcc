// Package journal keeps records in an append-only file that survives a crash at
// any byte.
//
// The file is text. Its first line says what it is; every other line is one
// record: the CRC-32C of the record as eight hex digits, a blank, the record. A
// write that was cut off leaves a last line without its end or with a wrong sum:
// Open cuts it away, as nobody was told that it was kept. A wrong line with good
// ones after it is damage to the disk, not a crash: it is left out, and counted.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// magic is the first line.
const magic = "haptrail-journal 1\n"

// MaxRecord is how long a record may be, in bytes.
const MaxRecord = 4 << 20

// ErrBroken: a write or an fsync has failed, and what the file holds is not known.
// Only Rewrite gets the journal out of that.
var ErrBroken = errors.New("the journal cannot be written")

// Recovered is what Open found.
type Recovered struct {
	Records int   // whole ones
	Torn    int64 // bytes at the end that were no whole record, and were cut away
	Damaged int   // lines before the last record that were none; see Open
}

// Journal is an open file. Its methods are safe for concurrent use.
type Journal struct {
	name string
	lock *os.File // held until Close

	syncing sync.Mutex // one fsync at a time; taken before mu
	synced  uint64     // writes that are on the disk; owned by syncing

	mu      sync.Mutex // owns the rest
	file    *os.File
	size    int64
	written uint64 // writes, this process's
	broken  error

	// fault lets tests break a step, before it is done.
	fault func(step string) error
}

// Open opens or makes a journal and gives each of its records, in order; an error
// of read ends it. The records are read's only until it returns. One process can
// have a journal open: the lock is on the file NAME.lock.
//
// A damaged file is kept as NAME.damaged, and the journal works on without the
// damaged lines: the caller should Rewrite it, and say so.
func Open(name string, read func(record []byte) error) (*Journal, Recovered, error) {
	lock, err := lockFile(name + ".lock")
	if err != nil {
		return nil, Recovered{}, err
	}
	j := &Journal{name: name, lock: lock}
	found, err := j.recover(read)
	if err != nil {
		if j.file != nil {
			_ = j.file.Close()
		}
		_ = lock.Close()
		return nil, found, err
	}
	return j, found, nil
}

// lockFile takes the lock or says who may have it. The lock is not on the journal
// itself, which Rewrite replaces.
func lockFile(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is locked: another haptrail uses this journal; stop it, or give this one a folder of its own", name)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return file, nil
}

// recover reads the file, cuts off what is torn, and leaves it open for writing.
func (j *Journal) recover(read func([]byte) error) (Recovered, error) {
	var found Recovered
	file, err := os.OpenFile(j.name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return found, err
	}
	j.file = file
	found, good, err := scan(file, read)
	if err != nil {
		return found, fmt.Errorf("%s: %w", j.name, err)
	}
	if found.Torn > 0 {
		if err := file.Truncate(good); err != nil {
			return found, fmt.Errorf("cut off the torn end of %s: %w", j.name, err)
		}
	}
	if good == 0 {
		if _, err := file.WriteString(magic); err != nil {
			return found, err
		}
		good = int64(len(magic))
	}
	if found.Damaged > 0 {
		_ = os.Remove(j.name + ".damaged")
		if err := os.Link(j.name, j.name+".damaged"); err != nil {
			return found, fmt.Errorf("keep the damaged file: %w", err)
		}
	}
	j.size = good
	return found, errors.Join(file.Sync(), syncDir(filepath.Dir(j.name)))
}

// scan gives the whole records, and the offset behind the last of them.
func scan(file io.Reader, read func([]byte) error) (found Recovered, good int64, err error) {
	lines := lineReader{from: file, buffer: make([]byte, 0, 64<<10)}
	first, err := lines.next()
	if err != nil {
		return found, 0, err
	}
	if string(first) != magic {
		if !bytes.HasPrefix([]byte(magic), first) {
			return found, 0, errors.New("not a journal, or one of a newer haptrail: move it away to begin a new one")
		}
		return Recovered{Torn: int64(len(first))}, 0, nil // a crash while it was made
	}
	good = lines.offset
	suspects := 0 // bad lines since the last good one
	for {
		line, err := lines.next()
		if err != nil {
			return found, good, err
		}
		if line == nil {
			found.Torn = lines.offset - good
			return found, good, nil
		}
		record, ok := parse(line)
		if !ok {
			suspects++
			continue
		}
		if err := read(record); err != nil {
			return found, good, fmt.Errorf("record at byte %d: %w", lines.offset-int64(len(line)), err)
		}
		found.Records++
		found.Damaged += suspects
		good, suspects = lines.offset, 0
	}
}

// lineReader cuts a file into lines, their ends included; what is longer than any
// record comes in pieces, none of which is one.
type lineReader struct {
	from   io.Reader
	buffer []byte
	used   int // bytes of buffer that were given out
	offset int64
	ended  bool
}

// next is the next line, valid until the next call; nil after the last.
func (l *lineReader) next() ([]byte, error) {
	for searched := l.used; ; {
		if at := bytes.IndexByte(l.buffer[searched:], '\n'); at >= 0 {
			return l.give(searched + at + 1), nil
		}
		searched = len(l.buffer)
		if searched-l.used > MaxRecord+64 || l.ended {
			if searched == l.used {
				return nil, nil
			}
			return l.give(searched), nil
		}
		if l.used > 0 {
			l.buffer = l.buffer[:copy(l.buffer, l.buffer[l.used:])]
			searched, l.used = len(l.buffer), 0
		}
		if len(l.buffer) == cap(l.buffer) {
			l.buffer = append(l.buffer, 0)[:len(l.buffer)]
		}
		n, err := l.from.Read(l.buffer[len(l.buffer):cap(l.buffer)])
		l.buffer = l.buffer[:len(l.buffer)+n]
		if err == io.EOF {
			l.ended = true
		} else if err != nil {
			return nil, err
		}
	}
}

func (l *lineReader) give(end int) []byte {
	line := l.buffer[l.used:end]
	l.used = end
	l.offset += int64(len(line))
	return line
}

// parse is the record of a whole line.
func parse(line []byte) (record []byte, ok bool) {
	if len(line) < 10 || line[8] != ' ' || line[len(line)-1] != '\n' {
		return nil, false
	}
	record = line[9 : len(line)-1]
	return record, string(line[:8]) == fmt.Sprintf("%08x", checksum(record))
}

// checksum is the CRC-32C (RFC 3720, section 12.1), which finds every error of up
// to 32 bits in a row.
func checksum(record []byte) uint32 {
	return crc32.Checksum(record, crc32.MakeTable(crc32.Castagnoli))
}

// format is the line of a record.
func format(line, record []byte) []byte {
	line = fmt.Appendf(line, "%08x ", checksum(record))
	line = append(line, record...)
	return append(line, '\n')
}

// check says what cannot be a record.
func check(record []byte) error {
	if len(record) > MaxRecord {
		return fmt.Errorf("a record of %d bytes: at most %d", len(record), MaxRecord)
	}
	if bytes.IndexByte(record, '\n') >= 0 {
		return errors.New("a record with a line feed in it")
	}
	return nil
}
