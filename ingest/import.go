package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
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
	Keep    Keep
	Sink    ImportSink // nil for a dry run
	Again   bool       // store also what was imported before
	Workers int        // chunks parsed side by side
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

// Run imports files, in order. It stops at the first error; chunks stored
// before it stay, and the next import skips them.
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
	work := func(w *worker, c chunk) {
		part, err := w.take(ctx, c)
		if err != nil {
			cancel(fmt.Errorf("%s: %w", c.file, err))
		}
		mu.Lock()
		defer mu.Unlock()
		total.add(part)
		if im.Progress != nil {
			im.Progress(part.Lines, part.Bytes)
		}
		buffer <- c.text
	}
	for range im.Workers {
		wg.Go(func() {
			w := im.newWorker(known)
			for {
				select {
				case c, more := <-chunks:
					if !more {
						return
					}
					work(w, c)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	// A read that never returns must not hold up Ctrl-C.
	read := make(chan error, 1)
	go func() {
		read <- split(ctx, files, chunks, buffer)
		close(chunks)
	}()
	wg.Wait()
	select {
	case err = <-read:
	case <-ctx.Done():
	}
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

// known is what earlier imports stored, and this one so far: chunks by hash,
// and the lengths at which a chunk may begin with a file's earlier end.
type known struct {
	mu      sync.Mutex // guards chunks
	chunks  map[string]bool
	lengths map[int]bool
}

// has tells whether a chunk is stored.
func (k *known) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.chunks[id]
}

// claim tells whether a chunk is stored, and takes it as stored from now on.
func (k *known) claim(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.chunks[id]
	k.chunks[id] = true
	return was
}

func (im *Import) known(ctx context.Context) (*known, error) {
	k := &known{chunks: map[string]bool{}, lengths: map[int]bool{}}
	if im.Sink == nil || im.Again {
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
	known  *known
	lane   *lane
	block  *schema.RequestBlock
	header syslog.Message
	part   int // of the chunk: a chunk with many days makes several blocks
}

func (im *Import) newWorker(k *known) *worker {
	w := &worker{im: im, known: k, block: schema.NewRequestBlock()}
	w.lane = newLane(im.Formats, im.Keep, newClock(false, DefaultStrangeDays))
	return w
}

// take stores one chunk, or what of it is new.
func (w *worker) take(ctx context.Context, c chunk) (Summary, error) {
	id := w.identify(c)
	s := Summary{Rejected: map[string]int{}, Marked: map[string]int{}, Bytes: len(c.text)}
	now := time.Now()
	w.part = 0
	w.begin()
	for line := range lines(c.text) {
		if len(line) == 0 {
			continue
		}
		s.Lines++
		if s.Lines <= id.skip {
			s.AlreadyImported++
			continue
		}
		if w.lane.full(chunkLines+1, 2*chunkBytes) {
			if err := w.store(ctx, id.whole); err != nil {
				return Summary{}, err // what was stored of it is recognised by its id
			}
		}
		w.add(line, now)
	}
	if err := w.store(ctx, id.whole); err != nil {
		return Summary{}, err
	}
	w.summarise(&s)
	if w.im.Sink == nil || s.Parsed == 0 {
		// Not one line was understood: another format may do better.
		return s, nil
	}
	return s, w.im.Sink.InsertImports(ctx, id.records(c, now))
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

// identity is what a chunk is recognised by.
type identity struct {
	whole [sha256.Size]byte // hash of all its lines
	lines int               // that are not blank
	// cut is the hash without the last line, for a file that ends without a line
	// feed: the line may be in the middle of being written.
	cut     [sha256.Size]byte
	unended bool
	skip    int // how many of its first lines are stored
}

// identify hashes a chunk's lines, whatever ends them.
func (w *worker) identify(c chunk) identity {
	var id identity
	ended := len(c.text)
	if c.last {
		ended = bytes.LastIndexByte(c.text, '\n') + 1
		id.unended = ended < len(c.text)
	}
	h := sha256.New()
	w.hashLines(h, c.text[:ended], &id)
	h.Sum(id.cut[:0])
	w.hashLines(h, c.text[ended:], &id)
	h.Sum(id.whole[:0])
	if w.im.Sink != nil && w.known.claim(hex.EncodeToString(id.whole[:])) {
		id.skip = id.lines
	}
	return id
}

func (w *worker) hashLines(h hash.Hash, text []byte, id *identity) {
	for line := range lines(text) {
		h.Write(line)
		h.Write(lineFeed)
		if len(line) > 0 {
			id.lines++
		}
		if w.known.lengths[id.lines] && w.known.has(hex.EncodeToString(h.Sum(nil))) {
			id.skip = id.lines
		}
	}
}

var lineFeed = []byte{'\n'}

// records are what is remembered of a chunk.
func (id *identity) records(c chunk, now time.Time) []schema.Import {
	record := schema.Import{Chunk: hex.EncodeToString(id.whole[:]), Lines: uint32(id.lines), File: c.file, Imported: now.UTC()}
	if !c.last {
		return []schema.Import{record}
	}
	record.Partial = 1
	if !id.unended {
		return []schema.Import{record}
	}
	ended := record
	ended.Chunk, ended.Lines = hex.EncodeToString(id.cut[:]), record.Lines-1
	return []schema.Import{record, ended}
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
	if w.im.Again {
		binary.LittleEndian.PutUint64(chunkID[:], uint64(time.Now().UnixNano()))
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
