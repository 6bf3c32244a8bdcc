package burst

import (
	"container/list"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"
)

// TestWindows: the running sums are those of the requests themselves, however late
// and however large they come.
func TestWindows(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for range 60 {
		start := random.Int64N(2e9)
		s := state{last: start}
		events := map[int64]uint64{}
		large := random.IntN(2) == 0
		for range 400 {
			for range random.IntN(1 + random.IntN(40)) {
				s.tick()
			}
			second := max(s.last-random.Int64N(lateness), start)
			n := random.Uint32N(50)
			if large {
				n <<= 24
			}
			s.add(second, n)
			events[second] = min(events[second]+uint64(n), math.MaxUint32)
			var want counts
			for i, reach := range []int64{s.last - 4, s.last - 9, (s.last/cell - 5) * cell, (s.last/cell - 29) * cell} {
				if i < 2 {
					for at := max(reach, start); at <= s.last; at++ {
						want[i] += events[at]
					}
					continue
				}
				for c := reach; c <= s.last; c += cell { // a cell holds 32 bits
					in := uint64(0)
					for at := c; at < c+cell; at++ {
						in += events[at]
					}
					want[i] += min(in, math.MaxUint32)
				}
			}
			if want != s.sum {
				t.Fatalf("from %d at %d: want %v, have %v", start, s.last, want, s.sum)
			}
		}
	}
}

// TestRest: learning silence at once is learning it look by look.
func TestRest(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 1))
	for range 200 {
		n := random.Int64N(fullTicks)
		slow := state{ticks: priorTicks + random.Uint32N(fullTicks-priorTicks+1)}
		for w := range shapes {
			slow.first[w] = random.Float64() * 100
			slow.second[w] = random.Float64() * 1e5
		}
		quick := slow
		for range n {
			slow.look()
		}
		quick.rest(n)
		for w := range shapes {
			if math.Abs(slow.first[w]-quick.first[w]) > 1e-6*(1e-9+slow.first[w]) || math.Abs(slow.second[w]-quick.second[w]) > 1e-6*(1e-9+slow.second[w]) {
				t.Fatalf("%d looks: want %v %v, have %v %v", n, slow.first, slow.second, quick.first, quick.second)
			}
		}
		if slow.ticks != quick.ticks {
			t.Fatalf("%d looks: want %d ticks, have %d", n, slow.ticks, quick.ticks)
		}
	}
}

// TestOwn: marks fade by half in a fortnight, give way when they are below a newer
// one, and tell since when nothing was higher.
func TestOwn(t *testing.T) {
	s := state{last: 1_000 * 60, born: 10 * 60}
	s.mark(0, 80)
	if s.reach[0] != 10 || s.own(0) != 80 {
		t.Errorf("the first mark: %d since minute %d", s.top[0], s.reach[0])
	}
	s.last += halfLife
	if have := s.own(0); have != 40 {
		t.Errorf("after a fortnight: want 40, have %v", have)
	}
	s.mark(0, 50)
	if s.reach[0] != 1_001 {
		t.Errorf("80 were there in minute 1000: want 50 to be the most since 1001, have %d", s.reach[0])
	}
	s.last += 60
	s.mark(0, 60)
	if s.reach[0] != 1_001 {
		t.Errorf("60 are the most since 1001 too, have %d", s.reach[0])
	}
	s.last -= 3_600 // a clock that went back does not make it grow
	if have := s.own(0); have != 60 {
		t.Errorf("before its time: want 60, have %v", have)
	}
}

// TestKeys compares with a list: the least recently active key leaves.
func TestKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 1))
	for most := 1; most < 700; most = most*3 + 1 {
		k := newKeys(most)
		order := list.New() // newest first
		places := map[string]*list.Element{}
		for range 20 * most {
			key := fmt.Sprint(random.IntN(2 * most))
			e, _ := k.find(key)
			at, known := places[key]
			if (e != nil) != known {
				t.Fatalf("%d keys: %s known is %v, want %v", most, key, e != nil, known)
			}
			if known {
				order.MoveToFront(at)
				continue
			}
			if order.Len() == most {
				delete(places, order.Remove(order.Back()).(string))
			}
			places[key] = order.PushFront(key)
			if e, _ = k.take(key); e.key != key {
				t.Fatalf("%d keys: took %q for %q", most, e.key, key)
			}
			if oldest := k.at(k.oldest()).key; oldest != order.Back().Value.(string) {
				t.Fatalf("%d keys: the oldest is %q, want %q", most, oldest, order.Back().Value)
			}
		}
		if len(k.places) != order.Len() || int(k.used) != order.Len() {
			t.Fatalf("%d keys: %d places, %d used, want %d", most, len(k.places), k.used, order.Len())
		}
	}
}

// TestSize: a key costs no more than 512 bytes, with its place in the map, without
// its name.
func TestSize(t *testing.T) {
	t.Logf("state %d bytes, entry %d bytes", unsafe.Sizeof(state{}), unsafe.Sizeof(entry{}))
	const n = 100_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%08x", i)
	}
	d, err := New(Options{MaxKeys: n})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, name := range names {
		d.Step(name, int64(i), 1)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc)/n - 8 // the clone of a name of 8 bytes
	t.Logf("%.0f bytes of heap a key", each)
	if each > 512 {
		t.Errorf("a key costs %.0f bytes, want 512 at most", each)
	}
	runtime.KeepAlive(d)
	runtime.KeepAlive(names)
}
