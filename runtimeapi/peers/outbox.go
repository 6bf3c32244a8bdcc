package peers

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// Times of what is sent.
const (
	// heartbeat is HAProxy's own pace (PEER_HEARTBEAT_TIMEOUT). It ends a connection
	// that was silent for 5 s.
	heartbeat = 3 * time.Second
	// ackEvery is the shortest time between two acknowledgements of a table. HAProxy
	// needs them only to know where to go on after the connection broke.
	ackEvery = 100 * time.Millisecond
)

// outbox writes what a peer that only reads has to say: control messages and
// acknowledgements. There is no way here to say an update.
type outbox struct {
	conn    net.Conn
	timeout time.Duration
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}

	mu   sync.Mutex
	say  []byte            // the types of control messages, in order
	acks map[uint64]uint32 // by HAProxy's id of a table
	err  error             // why it ended by itself
}

// maxUnsaid bounds the control messages that wait. HAProxy is owed two or three.
const maxUnsaid = 100

// errUnheard ends a connection whose other side asks and does not listen.
var errUnheard = errors.New("HAProxy asks again and again and does not read what it is answered")

// newOutbox begins to write.
func newOutbox(conn net.Conn, timeout time.Duration) *outbox {
	o := &outbox{
		conn: conn, timeout: timeout, acks: map[uint64]uint32{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go o.run()
	return o
}

// control sends a control message.
func (o *outbox) control(kind byte) {
	o.mu.Lock()
	o.say = append(o.say, kind)
	unheard := len(o.say) > maxUnsaid
	o.mu.Unlock()
	if unheard {
		o.fail(errUnheard)
	}
	o.nudge()
}

// fail ends the connection, so that its reader hears it.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.mu.Unlock()
	_ = o.conn.Close()
}

// ack acknowledges a table's updates up to a number.
func (o *outbox) ack(id uint64, update uint32) {
	o.mu.Lock()
	o.acks[id] = update
	o.mu.Unlock()
	o.nudge()
}

func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close ends the writing and returns why it ended before, if it did.
func (o *outbox) close() error {
	close(o.stop)
	_ = o.conn.Close() // or a write would keep it waiting
	<-o.ended
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// run writes until it is closed or cannot.
func (o *outbox) run() {
	defer close(o.ended)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	acks := time.NewTimer(ackEvery)
	defer acks.Stop()
	rested := false // since the last acknowledgement
	for {
		var b []byte
		select {
		case <-o.stop:
			return
		case <-beat.C:
			b = append(b, classControl, controlHeartbeat)
		case <-acks.C:
			rested = true
		case <-o.wake:
		}
		b, acked := o.take(b, rested)
		if acked {
			rested = false
			acks.Reset(ackEvery)
		}
		if len(b) == 0 {
			continue
		}
		_ = o.conn.SetWriteDeadline(time.Now().Add(o.timeout))
		if _, err := o.conn.Write(b); err != nil {
			o.fail(err)
			return
		}
	}
}

// take appends what there is to write.
func (o *outbox) take(b []byte, acks bool) (out []byte, acked bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, kind := range o.say {
		b = append(b, classControl, kind)
	}
	o.say = o.say[:0]
	if !acks {
		return b, false
	}
	for id, update := range o.acks {
		content := binary.BigEndian.AppendUint32(appendVarint(nil, id), update)
		b = append(b, classTable, tableAck, byte(len(content))) // at most 14
		b = append(b, content...)
		delete(o.acks, id)
		acked = true
	}
	return b, acked
}
