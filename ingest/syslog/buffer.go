package syslog

import (
	"sync"
	"sync/atomic"
)

const (
	// smallBuffer is what each connection has, as most of 10,000 are idle.
	smallBuffer = 4 << 10
	// readAhead is what a busy connection reads at once: large enough that
	// the system call costs nothing per message, small enough for the second
	// level of the CPU's cache.
	readAhead = 64 << 10
)

// bufferPool lends large buffers to busy connections, as many as memory allows.
type bufferPool struct {
	size  int // of a large buffer: the longest message and a full read behind it
	limit int64
	lent  *atomic.Int64 // bytes
	free  *sync.Pool    // of *[]byte
}

func newBufferPool(maxLine int, limit int64) bufferPool {
	size := max(maxLine, MaxReject) + readAhead
	return bufferPool{size: size, limit: limit, lent: new(atomic.Int64), free: &sync.Pool{
		New: func() any {
			b := make([]byte, size)
			return &b
		},
	}}
}

// get returns nil when the limit is reached.
func (p *bufferPool) get() *[]byte {
	if p.lent.Add(int64(p.size)) > p.limit {
		p.lent.Add(-int64(p.size))
		return nil
	}
	return p.free.Get().(*[]byte)
}

func (p *bufferPool) put(b *[]byte) {
	p.lent.Add(-int64(p.size))
	p.free.Put(b)
}
