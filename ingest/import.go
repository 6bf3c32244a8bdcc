package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/schema"
)

// ImportSink stores imported chunks and remembers which it has.
type ImportSink interface {
	Sink
	Imported(context.Context) ([]schema.Import, error)
	InsertImports(context.Context, []schema.Import) error
}

// Import reads log files into a sink. Its chunks are cut by lines alone, so
// the same file makes the same chunks again: those are recognised and skipped,
// and of a file that has grown only the new lines are stored.
type Import struct {
	Formats Formats
	// FormatID tells one way of reading from another, such as the formats'
	// texts and the zone: a file read differently is another import.
	FormatID string
	Keep     Keep
	Sink     ImportSink // nil for a dry run
	Workers  int        // chunks parsed side by side
	// Progress, if set, is told of each chunk that is done: lines and bytes of
	// text since the last call. It is called from one goroutine at a time.
	Progress func(lines, bytes int)
}

// Summary says what became of an import's lines: Lines = Parsed + the sum of
// Rejected + AlreadyImported; blank lines do not count.
type Summary struct {
	Lines           int            `json:"lines"`
	Parsed          int            `json:"parsed"`
	Requests        int            `json:"requests"` // of Parsed: rows of requests
	Events          int            `json:"events"`   // of Parsed: rows of proxy_events
	Rejected        map[string]int `json:"rejected"` // by reason
	AlreadyImported int            `json:"already_imported"`
	Marked          map[string]int `json:"marked"` // of Requests, by mark
	Bytes           int            `json:"bytes"`
}

// chunk is a run of lines of one file.
type chunk struct {
	file string
	text []byte
	last bool // the file's last: it may grow
}

// Run imports files, in order. It stops at the first error; chunks stored before it stay,
// and the next import skips them.
func (im *Import) Run(ctx context.Context, files []*LogFile) (Summary, error) {
	known, err := im.known(ctx)
	if err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		chunks = make(chan chunk)
		buffer = make(chan []byte, im.Workers+1)
		total  = Summary{Rejected: map[string]int{}, Marked: map[string]int{}}
		mu     sync.Mutex // guards total and calls of Progress
		wg     sync.WaitGroup
	)
	for range cap(buffer) {
		buffer <- nil
	}
	for range im.Workers {
		wg.Go(func() {
			w := im.newWorker(known)
			for c := range chunks {
				part, err := w.take(ctx, c)
				if err != nil {
					cancel(fmt.Errorf("%s: %w", c.file, err))
				}
				mu.Lock()
				total.add(part)
				if im.Progress != nil {
					im.Progress(part.Lines, part.Bytes)
				}
				mu.Unlock()
				buffer <- c.text
			}
		})
	}
	err = split(ctx, files, chunks, buffer)
	close(chunks)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return total, err
}

func (s *Summary) add(part Summary) {
	s.Lines += part.Lines
	s.Parsed += part.Parsed
	s.Requests += part.Requests
	s.Events += part.Events
	s.AlreadyImported += part.AlreadyImported
	s.Bytes += part.Bytes
	for reason, n := range part.Rejected {
		s.Rejected[reason] += n
	}
	for mark, n := range part.Marked {
		s.Marked[mark] += n
	}
}

// known is what earlier imports stored: whole chunks by hash, and the lengths
// at which a chunk may begin with an earlier file's last one.
type known struct {
	chunks  map[string]bool
	lengths map[int]bool
}

func (im *Import) known(ctx context.Context) (known, error) {
	k := known{chunks: map[string]bool{}, lengths: map[int]bool{}}
	if im.Sink == nil {
		return k, nil
	}
	rows, err := im.Sink.Imported(ctx)
	for _, row := range rows {
		k.chunks[row.Chunk] = true
		if row.Partial != 0 {
			k.lengths[int(row.Lines)] = true
		}
	}
	return k, err
}

// worker parses one chunk after another.
type worker struct {
	im     *Import
	known  known
	lane   *lane
	block  *schema.RequestBlock
	header syslog.Message
	part   int // of the chunk: a chunk with many days makes several blocks
}

func (im *Import) newWorker(k known) *worker {
	w := &worker{im: im, known: k, block: schema.NewRequestBlock()}
	w.lane = newLane(im.Formats, im.Keep, newClock(false, DefaultStrangeDays))
	return w
}

// take stores one chunk, or what of it is new.
func (w *worker) take(ctx context.Context, c chunk) (Summary, error) {
	id, skip := w.identify(c)
	s := Summary{Rejected: map[string]int{}, Marked: map[string]int{}, Bytes: len(c.text)}
	now := time.Now()
	w.part = 0
	w.begin()
	for line := range lines(c.text) {
		if len(line) == 0 {
			continue
		}
		s.Lines++
		if s.Lines <= skip {
			s.AlreadyImported++
			continue
		}
		if w.lane.full(chunkLines+1, 2*chunkBytes) {
			if err := w.store(ctx, id); err != nil {
				return s, err
			}
		}
		w.add(line, now)
	}
	if err := w.store(ctx, id); err != nil {
		return s, err
	}
	w.summarise(&s)
	if w.im.Sink == nil || s.AlreadyImported == s.Lines {
		return s, nil
	}
	return s, w.im.Sink.InsertImports(ctx, []schema.Import{{
		Chunk: hex.EncodeToString(id[:]), Lines: uint32(s.Lines), Partial: uint8(btoi(c.last)), File: c.file, Imported: now.UTC(),
	}})
}

var sourceFile = []byte("file")

func (w *worker) add(line []byte, now time.Time) {
	if len(line) > maxFileLine {
		a := arrival{received: now.UnixMicro(), source: sourceFile}
		w.lane.counts.outcome[w.lane.reject(&a, syslog.ReasonTooLong, 0, line)]++
		return
	}
	syslog.ParseHeader(line, now, w.im.Formats.Zone, &w.header)
	a := arrivalOf(&w.header, sourceFile, now.UnixMicro())
	w.lane.add(&a, &w.header)
}

// identify hashes a chunk, and says how many of its first lines are stored.
func (w *worker) identify(c chunk) (id [sha256.Size]byte, skip int) {
	h := sha256.New()
	h.Write([]byte(w.im.FormatID))
	if len(w.known.lengths) > 0 {
		n := 0
		for line := range lines(c.text) {
			h.Write(line)
			h.Write([]byte{'\n'})
			if len(line) > 0 {
				n++
			}
			if w.known.lengths[n] && w.known.chunks[hex.EncodeToString(h.Sum(nil))] {
				skip = n
			}
		}
	} else {
		h.Write(c.text)
		if len(c.text) > 0 && c.text[len(c.text)-1] != '\n' {
			h.Write([]byte{'\n'})
		}
	}
	h.Sum(id[:0])
	if w.known.chunks[hex.EncodeToString(id[:])] {
		skip = math.MaxInt
	}
	return id, skip
}

func (w *worker) begin() {
	w.block.Reset()
	w.lane.begin(w.block)
}

// store inserts what the lane holds under an id made of the chunk's.
func (w *worker) store(ctx context.Context, chunkID [sha256.Size]byte) error {
	defer w.begin()
	if w.lane.empty() || w.im.Sink == nil {
		return ctx.Err()
	}
	w.lane.id = schema.BlockID(chunkID[:])
	w.lane.id[15] += byte(w.part)
	w.part++
	return store(ctx, w.im.Sink, &w.lane.sealed)
}

func (w *worker) summarise(s *Summary) {
	c := &w.lane.counts
	s.Requests, s.Events = c.outcome[Request], c.outcome[Event]
	s.Parsed = s.Requests + s.Events
	for reason, n := range c.rejected {
		s.Rejected[reason] = n
	}
	for i, n := range c.marked {
		if n > 0 {
			s.Marked[markNames[i]] = n
		}
	}
	clear(c.rejected)
	*c = counts{rejected: c.rejected}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
