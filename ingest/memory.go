package ingest

import "hash/maphash"

// memory remembers what was found out about values that come again and again,
// by their hash: 64 bits with a seed that nobody knows, so that two values with
// one hash will not be met, nor made. It forgets what another value displaces.
type memory struct {
	clean     [1024]uint64 // captured headers that hold no credential
	endpoints [8192]struct {
		path       uint64
		key        uint32 // in the block's column endpoint
		generation uint32 // of the block
	}
	generation uint32
}

var memorySeed = maphash.MakeSeed()

func hashOf(v []byte) uint64 { return maphash.Bytes(memorySeed, v) | 1 } // 0 marks a free place

func (m *memory) harmless(hash uint64) bool { return m.clean[hash>>1%uint64(len(m.clean))] == hash }
func (m *memory) addHarmless(hash uint64)   { m.clean[hash>>1%uint64(len(m.clean))] = hash }

// nextBlock forgets the endpoints: their keys belong to a block.
func (m *memory) nextBlock() { m.generation++ }

func (m *memory) endpoint(path uint64) (key uint32, ok bool) {
	e := &m.endpoints[path>>1%uint64(len(m.endpoints))]
	return e.key, e.path == path && e.generation == m.generation
}

func (m *memory) addEndpoint(path uint64, key uint32) {
	e := &m.endpoints[path>>1%uint64(len(m.endpoints))]
	e.path, e.key, e.generation = path, key, m.generation
}
