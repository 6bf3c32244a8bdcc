package burst

// entry is a key with its state and its neighbours in the order of activity.
type entry struct {
	state
	key        string
	next, prev int32
}

// slabSize is how many entries are allocated at once. They never move.
const slabSize = 512

// keys are the entries, at most so many: the least recently active leaves first.
type keys struct {
	places map[string]int32
	slabs  []*[slabSize]entry
	most   int
	used   int32
	// The ring of activity: newest.next is the next older one, newest.prev the oldest.
	newest int32
}

func newKeys(most int) *keys { return &keys{places: map[string]int32{}, most: most, newest: -1} }

func (k *keys) at(i int32) *entry { return &k.slabs[i/slabSize][i%slabSize] }

// find is the key's entry, made the newest; nil: there is none.
func (k *keys) find(key string) (*entry, int32) {
	i, ok := k.places[key]
	if !ok {
		return nil, -1
	}
	if i != k.newest {
		k.unlink(i)
		k.link(i)
	}
	return k.at(i), i
}

// full reports whether the next key needs another one's place, which is the oldest's.
func (k *keys) full() bool { return int(k.used) >= k.most }

func (k *keys) oldest() int32 { return k.at(k.newest).prev }

// take is a cleared entry for a new key, the oldest's when full.
func (k *keys) take(key string) (*entry, int32) {
	var i int32
	if k.full() {
		i = k.oldest()
		delete(k.places, k.at(i).key)
		k.unlink(i)
	} else {
		i = k.used
		if int(i)/slabSize == len(k.slabs) {
			k.slabs = append(k.slabs, new([slabSize]entry))
		}
		k.used++
	}
	e := k.at(i)
	*e = entry{key: key}
	k.places[key] = i
	k.link(i)
	return e, i
}

func (k *keys) unlink(i int32) {
	e := k.at(i)
	if e.next == i {
		k.newest = -1
		return
	}
	k.at(e.prev).next, k.at(e.next).prev = e.next, e.prev
	if k.newest == i {
		k.newest = e.next
	}
}

func (k *keys) link(i int32) {
	e := k.at(i)
	if k.newest < 0 {
		e.next, e.prev = i, i
	} else {
		first := k.at(k.newest)
		e.next, e.prev = k.newest, first.prev
		k.at(first.prev).next, first.prev = i, i
	}
	k.newest = i
}
