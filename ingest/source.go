package ingest

import (
	"sync"
	"sync/atomic"

	"github.com/haptrail/haptrail/ingest/syslog"
)

// sources remembers the text of the column source for each sender:
// transport/peer, or transport/listener where a peer has no address. The
// address of a datagram can be forged, so only so many are remembered.
type sources struct {
	labels sync.Map // sourceKey -> []byte
	count  atomic.Int64
}

type sourceKey struct{ transport, listener, peer string }

const maxSources = 1 << 16

func (s *sources) label(src *syslog.Source) []byte {
	key := sourceKey{src.Transport, src.Listener, src.Peer}
	if label, ok := s.labels.Load(key); ok {
		return label.([]byte)
	}
	name := src.Peer
	if name == "" {
		name = src.Listener
	}
	label := []byte(src.Transport + "/" + name)
	if s.count.Add(1) > maxSources {
		s.labels.Clear()
		s.count.Store(1)
	}
	s.labels.Store(key, label)
	return label
}
