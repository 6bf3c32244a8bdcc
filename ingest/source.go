package ingest

import (
	"sync"

	"github.com/haptrail/haptrail/ingest/syslog"
)

// sources remembers the text of the column source for each sender:
// transport/peer, or transport/listener where a peer has no address.
type sources struct{ labels sync.Map } // sourceKey -> []byte

type sourceKey struct{ transport, listener, peer string }

func (s *sources) label(src *syslog.Source) []byte {
	key := sourceKey{src.Transport, src.Listener, src.Peer}
	if label, ok := s.labels.Load(key); ok {
		return label.([]byte)
	}
	name := src.Peer
	if name == "" {
		name = src.Listener
	}
	label, _ := s.labels.LoadOrStore(key, []byte(src.Transport+"/"+name))
	return label.([]byte)
}
