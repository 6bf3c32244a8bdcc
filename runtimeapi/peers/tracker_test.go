package peers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// tracked is a tracker of stick's table, and what it says.
type tracked struct {
	*tracker
	d    definition
	id   uint32
	said []string
}

func newTracked(t testing.TB, maxKeys int, shared bool, content string) *tracked {
	t.Helper()
	d, err := parseDefinition([]byte(content), dataTypes())
	if err != nil || d.unread != "" {
		t.Fatal(err, d.unread)
	}
	k := &tracked{tracker: newTracker(maxKeys, shared), d: d}
	k.adopt(&d, false)
	return k
}

// say shows an update and keeps what is said: "key+delta/elapsed", with ! for
// restarted and ? for first.
func (k *tracked) say(ms int, kind byte, content string) {
	var u update
	k.id++
	head := map[byte]string{tableUpdate: four(k.id), tableUpdateTimed: four(k.id) + four(60_000)}[kind]
	c, err := u.parseHead(message{classTable, kind, []byte(head + content)}, 0)
	if err == nil {
		err = u.parse(c, &k.d)
	}
	if err != nil {
		panic(err) // the test's own content
	}
	var s poll.Sample
	if !k.look(&u, time.Duration(ms)*time.Millisecond, &s) {
		return
	}
	text := s.Key
	if m, ok := s.Measure("http_req_cnt"); ok {
		text += fmt.Sprintf("+%d", m.Delta)
	}
	text += "/" + s.Elapsed.String()
	if s.Restarted {
		text += "!"
	}
	if s.First {
		text += "?"
	}
	k.said = append(k.said, text)
}

// on the fly, and in a lesson; the rate has seen recent of the requests, all within
// the last 5 ms.
func (k *tracked) now(ms int, key string, requests, recent uint64) {
	k.say(ms, tableUpdate, prefixed(key)+number(requests)+number(5)+number(recent)+number(0)+number(0))
}

func (k *tracked) then(ms int, key string, requests uint64) {
	k.say(ms, tableUpdateTimed, prefixed(key)+number(requests)+number(2000)+number(1)+number(0)+number(0))
}

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// first is a first connection with a whole lesson of these keys, which count 100 each.
func (k *tracked) first(keys ...string) {
	k.connect(at(0))
	k.learn()
	for _, key := range keys {
		k.then(0, key, 100)
	}
	k.learned(at(10), true)
	k.said = nil
}

// TestTracker: each way in which a counter can come to its value.
func TestTracker(t *testing.T) {
	for name, tc := range map[string]struct {
		shared bool
		do     func(k *tracked)
		want   string
	}{
		"a lesson has no deltas": {false, func(k *tracked) {
			k.connect(0)
			k.learn()
			k.then(0, "a", 100)
			k.then(0, "b", 5)
		}, "a+0/0s? b+0/0s?"},
		"grows, at once and after a rest": {false, func(k *tracked) {
			k.first("a")
			k.now(300, "a", 103, 3)
			k.now(300, "a", 104, 4)
			k.now(50_000, "a", 110, 6)
		}, "a+3/300ms a+1/1ms a+6/1s"},
		"new after the lesson": {false, func(k *tracked) {
			k.first("a")
			k.now(200, "b", 2, 2)
			k.now(90_000, "c", 3, 3)
		}, "b+2/190ms? c+3/1s?"},
		"new, and older than its rates": {false, func(k *tracked) {
			k.first("a")
			k.now(5000, "b", 500, 2)
			k.now(5100, "c", 500, 0)
			k.now(5200, "c", 501, 1)
		}, "b+2/5ms? c+1/100ms"},
		"new, in a table that others fill": {true, func(k *tracked) {
			k.first("a")
			k.now(200, "b", 2, 2)
			k.now(300, "b", 4, 4)
		}, "b+0/0s? b+2/100ms"},
		"new, before a whole lesson": {false, func(k *tracked) {
			k.connect(0)
			k.learn()
			k.learned(0, false)
			k.now(200, "b", 2, 2)
			k.now(210, "c", 50, 2)
			k.now(220, "d", 50, 0)
			k.now(230, "d", 90, 3) // taught
			k.now(240, "d", 92, 5)
		}, "b+2/5ms? c+2/5ms? d+0/10ms d+2/10ms"},
		"goes back": {false, func(k *tracked) {
			k.first("a")
			k.now(20_000, "a", 3, 3)
			k.now(20_100, "a", 5, 5)
		}, "a+3/1s! a+2/100ms"},
		"goes back where others fill": {true, func(k *tracked) {
			k.first("a")
			k.now(20_000, "a", 3, 3)
			k.now(20_100, "a", 5, 5)
		}, "a+0/1s a+2/100ms"},
		"wraps": {false, func(k *tracked) {
			k.first("a")
			k.now(200, "a", 1<<32-5, 1)
			k.said = nil
			k.now(300, "a", 7, 12)
		}, "a+12/100ms"},
		"expires, and counts as much again": {false, func(k *tracked) {
			k.first()
			k.now(100, "a", 2, 2)
			k.now(70_000, "a", 2, 2)
			k.now(140_000, "a", 5, 5)
		}, "a+2/90ms? a+2/1s! a+5/1s!"},
		"rests for longer than it lives, while a stream holds it": {false, func(k *tracked) {
			k.first("a")
			k.now(100, "a", 101, 1)
			k.now(100_000, "a", 101, 0)
			k.now(170_000, "a", 103, 2)
		}, "a+1/100ms a+0/1s a+2/1s"},
		"away: the change is in the time away": {false, func(k *tracked) {
			k.first("a", "b", "c")
			k.now(5000, "a", 101, 1)
			k.lost(at(8000))
			k.connect(at(20_000))
			k.learn()
			k.then(21_000, "a", 110)
			k.then(21_000, "b", 100)
			k.then(21_000, "new", 4)
			k.learned(at(21_500), true)
			k.now(22_000, "a", 111, 1)
			k.now(23_000, "c", 7, 7)
		}, "a+1/1s a+9/13s b+0/13s new+4/13s? a+1/1s c+7/1s?"},
		"away: touched before the lesson": {false, func(k *tracked) {
			k.first("a")
			k.lost(at(8000))
			k.connect(at(9000))
			k.now(9100, "a", 102, 2)
			k.learn()
			k.then(9200, "a", 103)
		}, "a+2/1.1s a+1/1.2s"},
		"away: a lesson that is cut off": {false, func(k *tracked) {
			k.first("a", "b")
			k.lost(at(8000))
			k.connect(at(9000))
			k.learn()
			k.then(9100, "a", 105)
			k.lost(at(9200))
			k.connect(at(10_000))
			k.learn()
			k.then(10_100, "a", 106)
			k.then(10_100, "b", 101)
			k.then(10_100, "c", 1)
			k.then(10_100, "d", 3) // its rate has seen one
		}, "a+5/1.1s a+1/2.1s b+1/2.1s c+1/2.1s? d+1/2s?"},
		"a reload: the old worker's count comes back": {false, func(k *tracked) {
			k.first("a")
			k.lost(at(30_000))
			k.connect(at(30_100))
			k.now(30_200, "a", 2, 2)   // of the new worker alone
			k.now(30_300, "a", 3, 3)   //
			k.now(30_400, "a", 101, 1) // it was taught 100, and counted one more
			k.now(30_500, "a", 102, 2)
			k.learn()
			k.then(31_000, "a", 102)
			k.learned(at(31_001), true)
			k.now(31_500, "a", 103, 3)
		}, "a+2/200ms! a+1/300ms a+1/400ms a+1/500ms a+0/1s a+1/500ms"},
		"a restart: a count rises again, for long": {false, func(k *tracked) {
			k.first("a")
			k.lost(at(30_000))
			k.connect(at(30_100))
			k.learn()
			k.then(30_120, "a", 1)
			k.learned(at(30_150), true)
			k.now(30_200, "a", 2, 2)
			k.now(60_000, "a", 150, 9)
		}, "a+1/120ms! a+1/80ms a+148/1s"},
		"a lesson sets a count back": {false, func(k *tracked) {
			k.first("a")
			k.lost(at(30_000))
			k.connect(at(30_100))
			k.now(30_200, "a", 101, 101)
			k.now(30_300, "a", 100, 40) // the old worker's, of before
			k.now(30_400, "a", 101, 1)
		}, "a+1/200ms a+40/300ms! a+0/400ms"},
		"sent once more after a lesson": {false, func(k *tracked) {
			k.connect(0)
			k.learn()
			k.then(0, "a", 100)
			k.learned(0, true)
			k.id--
			k.now(1, "a", 100, 1)
			k.now(2, "a", 101, 2)
		}, "a+0/0s? a+1/1ms"},
		"a reload with other data types": {false, func(k *tracked) {
			k.first("a")
			k.now(300, "a", 103, 3)
			k.lost(at(400))
			k.connect(at(500))
			k.learn()
			k.d.fields = k.d.fields[:2]
			k.adopt(&k.d, false)
			k.d.fields = k.d.fields[:3]
			k.adopt(&k.d, false)
			k.then(510, "a", 103) // told already
			k.now(520, "a", 104, 4)
		}, "a+3/300ms a+0/0s? a+1/10ms"},
		"other data types": {false, func(k *tracked) {
			k.first("a")
			k.d.fields = k.d.fields[:2]
			k.adopt(&k.d, false)
			k.d.fields = k.d.fields[:3]
			k.adopt(&k.d, false)
			k.now(300, "a", 103, 3)
			k.now(400, "a", 104, 4)
		}, "a+3/5ms? a+1/100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTracked(t, 10, tc.shared, stick(1, "st"))
			tc.do(k)
			if have := strings.Join(k.said, " "); have != tc.want {
				t.Errorf("have %s\nwant %s", have, tc.want)
			}
			k.check(t)
		})
	}
}

// check holds the list of slots against the map.
func (k *tracked) check(t testing.TB) {
	t.Helper()
	n, before := 0, int32(none)
	for slot := k.tracker.first; slot != none; slot = k.seen[slot].next {
		if k.slots[k.names[slot]] != slot || k.seen[slot].prev != before {
			t.Fatalf("slot %d of %q is linked wrongly", slot, k.names[slot])
		}
		if before != none && k.seen[before].at > k.seen[slot].at {
			t.Fatalf("%q is before %q", k.names[before], k.names[slot])
		}
		before = slot
		n++
	}
	if n != len(k.slots) || n+len(k.free) != len(k.names) || k.last != before || len(k.counts) != len(k.names)*k.stride {
		t.Fatalf("%d in the list, %d keys, %d free of %d", n, len(k.slots), len(k.free), len(k.names))
	}
}

// TestGauge: without rates, that nobody tracks an entry tells that it expired.
func TestGauge(t *testing.T) {
	content := number(1) + prefixed("t") + number(6) + number(32) + number(1<<6|1<<9) + number(60_000)
	k := newTracked(t, 10, false, content)
	k.first()
	now := func(ms int, held, requests uint64) {
		k.say(ms, tableUpdate, prefixed("a")+number(held)+number(requests))
	}
	now(1000, 1, 1)
	now(1001, 0, 1)    // ends
	now(200_000, 1, 1) // another one
	now(400_000, 1, 2) // held all the time
	now(400_001, 0, 2)
	if have, want := strings.Join(k.said, " "), "a+1/990ms? a+0/1ms a+1/1s! a+1/1s a+0/1ms"; have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

// TestMaxKeys: keys without a place have no delta, and dead ones make place.
func TestMaxKeys(t *testing.T) {
	k := newTracked(t, 3, false, stick(1, "st"))
	k.first("a", "b", "c")
	k.now(200, "d", 4, 4)
	k.now(300, "d", 5, 5)
	if have, want := strings.Join(k.said, " "), "d+0/0s? d+0/0s?"; have != want || k.untold != 2 || k.complete {
		t.Errorf("have %s, want %s; %d untold", have, want, k.untold)
	}
	k.now(3_700_000, "c", 101, 1) // lives
	k.said = nil
	k.now(3_730_000, "d", 6, 6)
	k.now(3_730_100, "d", 8, 8)
	if have, want := strings.Join(k.said, " "), "d+6/5ms? d+2/100ms"; have != want || len(k.slots) != 2 {
		t.Errorf("have %s, want %s; %d keys", have, want, len(k.slots))
	}
	k.check(t)
	k.learn()
	k.then(3_731_000, "c", 101)
	k.learned(at(3_731_000), true)
	if !k.complete || len(k.slots) != 1 {
		t.Errorf("complete %t, %d keys after a lesson of one", k.complete, len(k.slots))
	}
	k.check(t)
}
