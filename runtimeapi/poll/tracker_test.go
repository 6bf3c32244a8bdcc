package poll

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

var columns = []runtimeapi.Column{
	{Name: "conn_cur", Kind: runtimeapi.Gauge},
	{Name: "http_req_cnt", Kind: runtimeapi.Counter},
	{Name: "http_req_rate", Kind: runtimeapi.Rate, Period: 10 * time.Second},
	{Name: "bytes_in_cnt", Kind: runtimeapi.Counter, Wide: true},
	{Name: "server_key", Kind: runtimeapi.Text},
}

// entry is one of a table with columns: an address, a key, and requests.
func entry(address uint64, key string, requests uint64) *runtimeapi.TableEntry {
	return &runtimeapi.TableEntry{Address: address, Key: []byte(key), Columns: columns, Values: []uint64{0, requests, 0, requests * 100, 0}, Texts: make([][]byte, len(columns))}
}

// step is a round: what is shown, and what is said of it.
type step struct {
	round
	cut  bool // it is not ended
	show []*runtimeapi.TableEntry
	want string // "key+delta/elapsed" for each sample, with ! for restarted and ? for first
}

// say writes a sample as the table below has it.
func say(s *Sample) string {
	m, _ := s.Measure("http_req_cnt")
	text := fmt.Sprintf("%s+%d/%d", s.Key, m.Delta, s.Elapsed/time.Second)
	if s.Restarted {
		text += "!"
	}
	if s.First {
		text += "?"
	}
	return text
}

func at(seconds int) round { return round{at: time.Duration(seconds) * time.Second} }

func (r round) asFresh() round    { r.fresh = true; return r }
func (r round) asShared() round   { r.shared = true; return r }
func (r round) asFiltered() round { r.filtered = true; return r }

// active is a round in which a filter shows every key that did something in the last 5 s.
func (r round) active() round { r.filtered, r.shows = true, 5*time.Second; return r }

func show(entries ...*runtimeapi.TableEntry) []*runtimeapi.TableEntry { return entries }

// TestTracker: each way in which a counter can come to its value.
func TestTracker(t *testing.T) {
	for name, steps := range map[string][]step{
		"grows, rests, grows": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(1, "a", 7)), "a+2/2"},
			{at(4), false, show(entry(1, "a", 7)), "a+0/2"},
			{at(6), false, show(entry(1, "a", 7)), ""},
			{at(8), false, show(entry(1, "a", 8)), "a+1/2"},
		},
		"a new key began at 0": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(1, "a", 5), entry(2, "b", 3)), "b+3/2?"},
		},
		"a table that was empty": {
			{at(0), false, nil, ""},
			{at(2), false, show(entry(2, "b", 3)), "b+3/2?"},
		},
		"expired and made again, seen to be gone": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, nil, ""},
			{at(4), false, show(entry(1, "a", 9)), "a+9/2?"},
		},
		"expired and made again between two looks": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(2, "a", 9)), "a+9/2!"},
		},
		"made again at the same address": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(1, "a", 3)), "a+3/2!"},
		},
		"a reload emptied the table": {
			{at(0), false, show(entry(1, "a", 5), entry(2, "b", 5)), ""},
			{at(2).asFresh(), false, show(entry(1, "a", 6), entry(3, "c", 2)), "a+6/2! c+2/2?"},
			{at(4), false, show(entry(1, "a", 7), entry(3, "c", 2), entry(4, "b", 1)), "a+1/2 c+0/2 b+1/2?"},
		},
		"the first look after a reload was cut off": {
			{at(0), false, show(entry(1, "a", 5), entry(2, "b", 5)), ""},
			{at(2).asFresh(), true, show(entry(1, "a", 6)), "a+6/2!"},
			{at(4), false, show(entry(1, "a", 8), entry(2, "b", 9)), "a+2/2 b+9/4!"},
		},
		"cut off: what was not shown is not gone": {
			{at(0), false, show(entry(1, "a", 5), entry(2, "b", 5)), ""},
			{at(2), true, show(entry(1, "a", 6)), "a+1/2"},
			{at(4), false, show(entry(1, "a", 6), entry(2, "b", 9)), "a+0/2 b+4/4"},
		},
		"cut off at the first look: a later key may be old": {
			{at(0), true, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(1, "a", 6), entry(2, "b", 9)), "a+1/2"},
			{at(4), false, show(entry(1, "a", 6), entry(2, "b", 9), entry(3, "c", 1)), "a+0/2 c+1/2?"},
		},
		"peers: a first sight may be old, and a count may go back": {
			{at(0).asShared(), false, show(entry(1, "a", 5)), ""},
			{at(2).asShared(), false, show(entry(1, "a", 6), entry(2, "b", 5000)), "a+1/2"},
			{at(4).asShared(), false, show(entry(9, "a", 7), entry(2, "b", 4990)), "a+1/2"},
			{at(6).asShared(), false, show(entry(9, "a", 7), entry(2, "b", 4993)), "a+0/2 b+3/2"},
		},
		"a reload made it a peers' table": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2).asShared(), false, show(entry(1, "a", 5000), entry(2, "b", 5000)), ""},
			{at(4).asShared(), false, show(entry(1, "a", 5001), entry(2, "b", 5000)), "a+1/2"},
		},
		"filtered: what is not shown is not gone": {
			{at(0), false, show(entry(1, "a", 5), entry(2, "b", 5)), ""},
			{at(2).asFiltered(), false, show(entry(1, "a", 9)), "a+4/2"},
			{at(4).asFiltered(), false, show(entry(2, "b", 6), entry(3, "c", 4)), "b+1/4 c+4/4?"},
			{at(6), false, show(entry(1, "a", 9), entry(2, "b", 6), entry(3, "c", 4)), "a+0/4 b+0/2 c+0/2"},
		},
		"filtered: what was not shown had done nothing": {
			{at(0), false, show(entry(1, "a", 5), entry(2, "b", 5)), ""},
			{at(2).active(), false, show(entry(1, "a", 9)), "a+4/2"},
			{at(4).active(), false, show(entry(2, "b", 6), entry(3, "c", 4)), "b+1/2 c+4/2?"},
			{at(6).active(), true, show(entry(1, "a", 10)), "a+1/2"}, // cut off: b and c may have done something
			{at(8).active(), false, show(entry(2, "b", 8)), "b+2/4"},
			{at(14).active(), false, show(entry(2, "b", 9)), "b+1/6"}, // too late to know that a is idle
			{at(16).active(), false, show(entry(1, "a", 12)), "a+2/8"},
		},
		"filtered from the beginning": {
			{at(0).asFiltered(), false, show(entry(1, "a", 5)), ""},
			{at(2).asFiltered(), false, show(entry(1, "a", 9), entry(2, "b", 7)), "a+4/2"},
		},
		"32 bits are full": {
			{at(0), false, show(entry(1, "a", 1<<32-3)), ""},
			{at(2), false, show(&runtimeapi.TableEntry{Address: 1, Key: []byte("a"), Columns: columns, Values: []uint64{0, 4, 0, (1 << 32) * 100, 0}}), "a+7/2"},
		},
		"more keys than there is room for": {
			{at(0), false, show(entry(1, "a", 1), entry(2, "b", 1), entry(3, "c", 1), entry(4, "d", 1)), "d+0/0?"},
			{at(2), false, show(entry(1, "a", 2), entry(4, "d", 4)), "a+1/2 d+0/0?"},
			{at(4), false, show(entry(4, "d", 9)), ""}, // room, but nobody knows since when
			{at(6), false, show(entry(4, "d", 9), entry(5, "e", 2)), "e+2/2?"},
		},
		"shown twice in one round": {
			{at(0), false, show(entry(1, "a", 5)), ""},
			{at(2), false, show(entry(1, "a", 7), entry(2, "a", 1)), "a+2/2"},
			{at(4), false, show(entry(2, "a", 4)), "a+4/2!"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTracker(3)
			for i, step := range steps {
				k.begin(step.round)
				var said []string
				for _, e := range step.show {
					var s Sample
					if k.look(e, &s) {
						said = append(said, say(&s))
					}
				}
				if !step.cut {
					k.end()
				}
				if have := strings.Join(said, " "); have != step.want {
					t.Errorf("round %d: have %q, want %q", i, have, step.want)
				}
			}
		})
	}
}

// TestTrackerColumns: other columns make another table; the same ones, read again, do
// not.
func TestTrackerColumns(t *testing.T) {
	k := newTracker(9)
	var s Sample
	k.begin(at(0))
	k.look(entry(1, "a", 5), &s)
	k.end()
	again := entry(1, "a", 6)
	again.Columns = slices.Clone(columns)
	k.begin(at(2))
	if !k.look(again, &s) || say(&s) != "a+1/2" || len(s.Measures) != 4 || s.Measures[3].Delta != 100 {
		t.Errorf("%+v", s)
	}
	k.end()
	k.begin(at(4))
	if other := (&runtimeapi.TableEntry{Address: 1, Key: []byte("a"), Columns: columns[1:2], Values: []uint64{9}}); k.look(other, &s) || s.Elapsed != 0 || len(s.Measures) != 1 {
		t.Errorf("%+v", s)
	}
	bare := &runtimeapi.TableEntry{Address: 1, Key: []byte("a")}
	if k.look(bare, &s) || len(s.Measures) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTrackerQuiet: rates and gauges speak, too, and once more when they fall silent.
func TestTrackerQuiet(t *testing.T) {
	k := newTracker(9)
	for i, tc := range []struct {
		current, rate uint64
		want          bool
	}{{0, 0, false}, {1, 0, true}, {0, 3, true}, {0, 0, true}, {0, 0, false}} {
		e := entry(1, "a", 5)
		e.Values[0], e.Values[2] = tc.current, tc.rate
		k.begin(at(2 * i))
		var s Sample
		if have := k.look(e, &s); have != tc.want {
			t.Errorf("round %d: %t, %+v", i, have, s)
		}
		k.end()
	}
}

// world is the oracle: a table as HAProxy keeps it, and every request with its time.
type world struct {
	entries map[string]*runtimeapi.TableEntry
	happens map[string][]time.Duration
	address uint64
	now     time.Duration
}

func (w *world) request(key string) {
	e := w.entries[key]
	if e == nil {
		w.address++
		e = entry(w.address, key, 0)
		w.entries[key] = e
	}
	e.Values[1]++
	e.Values[3] += 100
	w.happens[key] = append(w.happens[key], w.now)
}

// between counts the requests of a key in (from, to].
func (w *world) between(key string, from, to time.Duration) (n uint64) {
	for _, at := range w.happens[key] {
		if at > from && at <= to {
			n++
		}
	}
	return n
}

// TestTrackerOracle: whatever happens to the table, no delta is more than what truly
// happened in the sample's time, and it is exactly that unless the entry was made
// anew; over all, nothing is told twice.
func TestTrackerOracle(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 7))
		w := &world{entries: map[string]*runtimeapi.TableEntry{}, happens: map[string][]time.Duration{}}
		k := newTracker(12)
		told := map[string]uint64{}
		for range 120 {
			fresh := false
			for range random.IntN(20) {
				w.now += time.Millisecond
				key := fmt.Sprint("k", random.IntN(10))
				switch random.IntN(30) {
				case 0:
					delete(w.entries, key) // expired or cleared
				case 1:
					clear(w.entries) // reloaded; addresses begin anew
					w.address, fresh = 0, true
				default:
					w.request(key)
				}
			}
			w.now += time.Millisecond
			filtered, cut := random.IntN(3) == 0, random.IntN(6) == 0
			k.begin(round{at: w.now, fresh: fresh, filtered: filtered})
			for key, e := range w.entries {
				if filtered && random.IntN(2) == 0 || cut && random.IntN(2) == 0 {
					continue
				}
				var s Sample
				k.look(e, &s)
				m, _ := s.Measure("http_req_cnt")
				truth := w.between(key, w.now-s.Elapsed, w.now)
				if m.Delta > truth || s.Elapsed > 0 && !s.Restarted && m.Delta < truth && !s.First {
					t.Fatalf("seed %d: %s: %d happened in %v: %+v", seed, key, truth, s.Elapsed, s)
				}
				told[key] += m.Delta
			}
			if !cut {
				k.end()
			}
		}
		for key, n := range told {
			if all := uint64(len(w.happens[key])); n > all {
				t.Errorf("seed %d: %s: %d told of %d", seed, key, n, all)
			}
		}
	}
}

// TestTrackerMemory: keys that come and go do not add up.
func TestTrackerMemory(t *testing.T) {
	k := newTracker(180)
	for i := range 50 {
		k.begin(at(i))
		for j := range 90 {
			var s Sample
			k.look(entry(uint64(1+i*90+j), fmt.Sprint(i, "-", j), 1), &s)
		}
		k.end()
		if k.tracked() != 90 || len(k.names) > 180 || len(k.last) != len(k.names)*2 {
			t.Fatalf("round %d: %d tracked, %d slots, %d counters", i, k.tracked(), len(k.names), len(k.last))
		}
	}
}

// BenchmarkTracker: one look at a key that is known.
func BenchmarkTracker(b *testing.B) {
	const n = 100_000
	k := newTracker(n)
	entries := make([]*runtimeapi.TableEntry, n)
	for i := range entries {
		entries[i] = entry(uint64(i), fmt.Sprintf("repo:acme/app-%06d:ref:refs/heads/main", i), uint64(i))
	}
	b.ReportAllocs()
	i, s := 0, Sample{}
	for b.Loop() {
		if i%n == 0 {
			k.end()
			k.begin(at(i / n * 2))
		}
		k.look(entries[i%n], &s)
		i++
	}
}
