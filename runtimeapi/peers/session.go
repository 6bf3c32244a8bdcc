package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// session is one connection to HAProxy. Run's goroutine owns it.
type session struct {
	*Feed
	conn net.Conn
	in   *reader
	out  *outbox

	ids   map[uint64]*numbered
	table *numbered // that the next updates are of
	dirty []*numbered
	u     update
	s     poll.Sample

	learning bool
	asked    time.Duration // when HAProxy was asked for a lesson, or sent some of it
	askAgain time.Duration // when to ask once more, because HAProxy was being taught; 0: not
	// alone is whether HAProxy asked this feed, its last hope, before the lesson began:
	// its old worker teaches it no more, and other HAProxies only what is Shared.
	alone, askedUs bool
	known          bool // the lesson is over, or one of a former connection will do

	heard time.Duration // when the last bytes came, by the monotonic clock
	at    time.Time     // and by the other one
}

// Times of a lesson.
const (
	// retell is the pause between two lessons of a HAProxy that is being taught
	// itself: at most 10 s after it began to run it knows all or gives up.
	retell = time.Second
	// maxStatus is the length of the line that answers the greeting: "200\n".
	maxStatus = 64
)

func newSession(f *Feed, conn net.Conn) *session {
	s := &session{Feed: f, conn: conn, ids: map[uint64]*numbered{}}
	s.in = newReader(s)
	return s
}

// Read reads from the connection, and notes when. It waits no longer than until the
// next lesson is to be asked for.
func (s *session) Read(p []byte) (int, error) {
	wait := s.options.Timeout
	if s.askAgain > 0 {
		wait = max(min(wait, s.askAgain-s.now()), time.Millisecond)
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(wait))
	n, err := s.conn.Read(p)
	if n > 0 {
		s.heard, s.at = s.now(), s.options.Now()
	}
	return n, err
}

// run is the connection from its greeting to its end.
func (s *session) run() error {
	if err := s.handshake(); err != nil {
		return err
	}
	s.out = newOutbox(s.conn, s.options.Timeout)
	s.begin()
	err := s.read()
	if sent := s.out.close(); sent != nil && (errors.Is(err, net.ErrClosed) || errors.Is(sent, errUnheard)) {
		err = sent
	}
	for _, t := range s.tables {
		t.keys.lost(s.heard)
	}
	s.tally()
	return err
}

// handshake greets and hears the status.
func (s *session) handshake() error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.options.Timeout))
	if _, err := s.conn.Write([]byte(s.greeting())); err != nil {
		return &greetingError{err}
	}
	var line []byte
	for len(line) < maxStatus && !bytes.HasSuffix(line, []byte("\n")) {
		b, err := s.in.in.ReadByte()
		if err != nil {
			return &greetingError{err}
		}
		line = append(line, b)
	}
	text := string(bytes.TrimRight(line, "\r\n"))
	code, err := strconv.Atoi(text)
	switch {
	case err != nil || !bytes.HasSuffix(line, []byte("\n")):
		return &greetingError{fmt.Errorf("%w: the answer is %.40q, no status", errMalformed, line)}
	case code != statusSucceeded:
		return &refusedError{code}
	}
	return nil
}

// begin asks for the first lesson.
func (s *session) begin() {
	s.Feed.session++
	for _, t := range s.tables {
		t.keys.connect(s.heard)
	}
	s.known = s.complete()
	s.change(StateLearning, "")
	s.ask()
}

// ask asks for a lesson.
func (s *session) ask() {
	s.learning, s.asked, s.askAgain = true, s.heard, 0
	s.alone = s.askedUs
	for _, t := range s.tables {
		t.keys.learn()
	}
	s.out.control(controlRequest)
}

// read takes messages until there is an error, which is how a connection ends.
func (s *session) read() error {
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// next waits for a message, and does meanwhile what is due.
func (s *session) next() (message, error) {
	if !s.in.more() {
		if err := s.rest(); err != nil {
			return message{}, err
		}
	}
	for {
		m, err := s.in.next()
		if !errors.Is(err, os.ErrDeadlineExceeded) || s.askAgain == 0 || s.now()-s.heard >= s.options.Timeout {
			return m, err
		}
		if err := s.rest(); err != nil { // what has come of the message stays
			return message{}, err
		}
	}
}

// rest does, before it is waited for more, what is not to be done for each update.
func (s *session) rest() (err error) {
	for _, t := range s.dirty {
		s.out.ack(t.id, t.last)
		t.dirty = false
	}
	s.dirty = s.dirty[:0]
	if s.askAgain > 0 && s.now() >= s.askAgain {
		if s.alone == s.askedUs { // else the next lesson is the one that counts
			err = s.inStep()
		}
		s.ask()
	}
	s.tally()
	return err
}

// take takes one message.
func (s *session) take(m message) error {
	switch {
	case m.class == classControl:
		return s.control(m.kind)
	case m.class == classError:
		return &brokenError{m.kind}
	case m.class != classTable:
	case m.kind == tableDefine:
		return s.define(m.content)
	case m.kind == tableSwitch:
		return s.switchTo(m.content)
	case m.kind == tableUpdate || m.kind == tableNext || m.kind == tableUpdateTimed || m.kind == tableNextTimed:
		return s.update(m)
	case m.kind == tableAck: // of an update of ours, and there is none
		return nil
	}
	return fmt.Errorf("%w: class %d type %d is unknown", errMalformed, m.class, m.kind)
}

// control takes a control message.
func (s *session) control(kind byte) error {
	switch kind {
	case controlRequest:
		// HAProxy wants to learn, and until it hears that there is nothing here it sends
		// no updates. "Partial" makes it ask its other peers; "finished" would make it
		// believe that there is nothing to learn.
		s.out.control(controlPartial)
		s.askedUs = true
		if s.askAgain > 0 {
			s.askAgain = s.heard
		}
	case controlFinished, controlPartial:
		return s.learned(kind == controlFinished)
	case controlConfirm:
	case controlHeartbeat:
		if s.learning && s.heard-s.asked > 2*s.options.Timeout {
			return errUntaught
		}
	default:
		return fmt.Errorf("%w: control type %d is unknown", errMalformed, kind)
	}
	return nil
}

// learned ends a lesson. Without the confirmation HAProxy would never send more.
func (s *session) learned(whole bool) error {
	s.out.control(controlConfirm)
	if !s.learning {
		return nil
	}
	s.learning = false
	if whole || s.alone { // it named every table
		s.prune()
	}
	for _, t := range s.tables {
		all := whole || s.alone && !t.shared
		t.keys.learned(s.heard, all)
		if !all {
			s.askAgain = s.heard + retell
		}
	}
	if !whole && s.askedUs && !s.alone {
		s.askAgain = s.heard
	}
	if !whole && !s.alone && !s.known {
		return nil // soon there is another one, and then what is new can be told from what is old
	}
	return s.inStep()
}

// inStep says that what is touched arrives.
func (s *session) inStep() error {
	s.known = true
	complaint, all := s.complaint()
	if all {
		return &tablesError{complaint}
	}
	s.change(StateOK, complaint)
	return nil
}

// define takes a table's definition, which also says that the next updates are of it.
func (s *session) define(content []byte) error {
	c := cursor{rest: content}
	id := c.varint()
	if t := s.ids[id]; t != nil && bytes.Equal(t.raw, content) {
		s.table = t
		return nil
	}
	d, err := parseDefinition(content, s.types)
	if err != nil {
		return err
	}
	if len(s.tables) >= maxTables {
		s.prune()
	}
	if len(s.ids) >= maxTables || len(s.tables) >= maxTables {
		return fmt.Errorf("%w: more than %d tables", errMalformed, maxTables)
	}
	fresh := s.tables[d.name] == nil
	t := s.announce(&d)
	if fresh {
		t.keys.connect(s.heard)
		t.keys.learn()
	}
	t.session = s.Feed.session
	s.table = &numbered{table: t, id: id, raw: bytes.Clone(content)}
	s.ids[id] = s.table
	if s.status.State == StateOK { // in mid-connection: not seen of any HAProxy
		complaint, _ := s.complaint()
		s.change(StateOK, complaint)
	}
	return nil
}

// switchTo goes to a table that was defined before.
func (s *session) switchTo(content []byte) error {
	c := cursor{rest: content}
	id := c.varint()
	if s.table = s.ids[id]; c.bad || s.table == nil {
		return fmt.Errorf("%w: switch to table number %d, which was not defined", errMalformed, id)
	}
	return nil
}

// update takes one entry.
func (s *session) update(m message) error {
	t := s.table
	if t == nil {
		return fmt.Errorf("%w: an update before any table was defined", errMalformed)
	}
	c, err := s.u.parseHead(m, t.last)
	if err != nil {
		return err
	}
	s.asked = s.heard
	t.last = s.u.id
	if !s.u.timed && !t.dirty {
		t.dirty = true
		s.dirty = append(s.dirty, t)
	}
	if !t.reads() {
		return nil
	}
	if err := s.u.parse(c, &t.define); err != nil {
		return err
	}
	t.updates++
	s.s = poll.Sample{Proxy: s.proxy.Name, Table: t.name, At: s.at, Shared: t.shared}
	if t.keys.look(&s.u, s.heard, &s.s) {
		t.samples++
		s.sample(s.s)
	}
	return nil
}
