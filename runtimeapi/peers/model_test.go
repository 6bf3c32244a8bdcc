package peers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// The model is a HAProxy with one table, in milliseconds, which knows what truly
// happened; a tracker is shown what a peer would be.
const (
	modelExpire = 4000
	modelPeriod = 1500
)

// modelEntry is an entry as HAProxy has it.
type modelEntry struct {
	count, curr, prev, start int
	touched                  int
	held                     bool
}

type model struct {
	t       *testing.T
	r       *rand.Rand
	now     int
	id      uint32
	entries map[string]*modelEntry
	truth   map[string][]int // when each request of a key happened
	told    map[string]int
	tracker *tracker
	gauge   bool // the table says which entries are held
	here    bool // connected
	retell  int  // when the next lesson is due
	log     []string
}

func newModel(t *testing.T, seed uint64, gauge bool) *model {
	m := &model{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), now: 1_000_000, entries: map[string]*modelEntry{}, truth: map[string][]int{},
		told: map[string]int{}, tracker: newTracker(1000, false),
	}
	d := definition{name: "t", keyType: runtimeapi.KeyString, keyLen: 20, expire: modelExpire * time.Millisecond, fields: []field{
		{Column: runtimeapi.Column{Name: "http_req_cnt"}},
		{Column: runtimeapi.Column{Name: "http_req_rate", Kind: runtimeapi.Rate, Period: modelPeriod * time.Millisecond}, form: rate},
	}}
	if m.gauge = gauge; gauge {
		d.fields = append(d.fields, field{Column: runtimeapi.Column{Name: "conn_cur", Kind: runtimeapi.Gauge}})
	}
	rateOf(d.fields)
	m.tracker.adopt(&d, false)
	m.connect()
	return m
}

// entry finds a key's entry, or makes it; one that has expired is gone.
func (m *model) entry(key string) *modelEntry {
	e := m.entries[key]
	if e == nil || !e.held && m.now-e.touched > modelExpire {
		e = &modelEntry{}
		m.entries[key] = e
	}
	e.touched = m.now
	return e
}

// request counts one.
func (m *model) request(key string) {
	e := m.entry(key)
	e.count++
	if m.now-e.start >= modelPeriod {
		e.prev, e.curr = e.curr, 0
		if e.start += modelPeriod; m.now-e.start >= modelPeriod {
			e.prev, e.start = 0, m.now
		}
	}
	e.curr++
	m.truth[key] = append(m.truth[key], m.now)
	m.push(key, e, false)
}

// push shows an entry, in a lesson or because it was touched.
func (m *model) push(key string, e *modelEntry, lesson bool) {
	if !m.here {
		return
	}
	m.id++
	last := recent{uint64(e.curr + e.prev), at(m.now - e.start)}
	if e.prev > 0 {
		last.within += modelPeriod * time.Millisecond
	}
	age := uint32(m.now - e.start)
	u := update{
		id: m.id, timed: lesson, key: []byte(key), recent: []recent{{}, last},
		values: []uint64{uint64(e.count), perPeriod(age, uint32(e.curr), uint32(e.prev), modelPeriod)},
		expire: at(max(e.touched+modelExpire-m.now, 0)),
	}
	if m.gauge {
		u.recent = append(u.recent, recent{})
		u.values = append(u.values, uint64(len(m.entries)))
		if !e.held {
			u.values[2] = 0
		}
	}
	var s poll.Sample
	if !m.tracker.look(&u, at(m.now), &s) {
		return
	}
	counted, _ := s.Measure("http_req_cnt")
	m.told[key] += int(counted.Delta)
	m.log = append(m.log, fmt.Sprintf("%d %s=%d +%d in %v restarted=%t first=%t", m.now, key, e.count, counted.Delta, s.Elapsed, s.Restarted, s.First))
	happened := 0
	for _, when := range m.truth[key] {
		if at(m.now-when) <= s.Elapsed {
			happened++
		}
	}
	if int(counted.Delta) > happened {
		m.fatal("%s: %d were told for the last %v, %d happened", key, counted.Delta, s.Elapsed, happened)
	}
}

func (m *model) fatal(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf(format+"\n%v", append(args, m.log[max(0, len(m.log)-30):])...)
}

// connect begins a connection with its lesson.
func (m *model) connect() {
	m.here = true
	m.log = append(m.log, fmt.Sprint(m.now, " connect"))
	m.tracker.connect(at(m.now))
	m.lesson()
}

// lesson shows all entries.
func (m *model) lesson() {
	m.log = append(m.log, fmt.Sprint(m.now, " lesson"))
	m.retell = 0
	m.tracker.learn()
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[key]
		if e.held || m.now-e.touched <= modelExpire {
			m.push(key, e, true)
		} else {
			delete(m.entries, key)
		}
	}
	m.tracker.learned(at(m.now), true)
}

func (m *model) lose() {
	m.here = false
	m.log = append(m.log, fmt.Sprint(m.now, " lost"))
	m.tracker.lost(at(m.now))
}

// step is something that happens, some time later.
func (m *model) step() {
	m.now += 1 + int(m.r.ExpFloat64()*float64([]int{2, 50, 900}[m.r.IntN(3)]))
	key := fmt.Sprint("k", m.r.IntN(6))
	if m.here && m.retell > 0 && m.now >= m.retell {
		m.lesson()
	}
	switch n := m.r.IntN(100); {
	case n < 80:
		m.request(key)
	case n < 86: // a stream begins to hold an entry, or lets it go
		e := m.entry(key)
		if e.count > 0 || e.held {
			e.held = !e.held
			m.push(key, e, false)
		}
	case n < 89:
		m.now += modelExpire + m.r.IntN(3*modelExpire)
	}
}

// TestModel: with a connection that lasts, every request is told once; and of no
// sample more than happened in the time that it names, also where the connection
// breaks and HAProxy is restarted meanwhile.
func TestModel(t *testing.T) {
	for seed := range uint64(400) {
		m := newModel(t, seed, seed%2 == 0)
		for range 300 {
			m.step()
		}
		total, told := 0, 0
		for key, all := range m.truth {
			total += len(all)
			told += m.told[key]
			if m.told[key] > len(all) {
				m.fatal("seed %d, %s: %d told, %d happened", seed, key, m.told[key], len(all))
			}
		}
		if told != total {
			m.fatal("seed %d: %d told, %d happened", seed, told, total)
		}
	}
}

// TestModelBreaks is TestModel with breaks, reloads and restarts.
func TestModelBreaks(t *testing.T) {
	for seed := range uint64(400) {
		m := newModel(t, seed, seed%2 == 0)
		for range 300 {
			m.step()
			switch n := m.r.IntN(100); {
			case n < 3 && m.here:
				m.lose()
			case n < 20 && !m.here:
				m.connect()
			case n == 20: // a restart: empty tables
				m.lose()
				m.now += m.r.IntN(2000)
				clear(m.entries)
			case n == 21: // a reload: the new worker counts before it is taught
				m.lose()
				m.reload()
			}
		}
		for key, all := range m.truth {
			if m.told[key] > len(all) {
				m.fatal("seed %d, %s: %d told, %d happened", seed, key, m.told[key], len(all))
			}
		}
	}
}

// reload begins with empty tables, to which the feed connects, and then takes the old
// worker's, over what it has. A worker that has not been taught itself teaches nobody.
func (m *model) reload() {
	old := m.entries
	if m.retell > 0 {
		old = nil
	}
	m.entries = map[string]*modelEntry{}
	m.here = true
	m.log = append(m.log, fmt.Sprint(m.now, " reload"))
	m.tracker.connect(at(m.now))
	m.tracker.learn()
	m.tracker.learned(at(m.now), false)
	for range m.r.IntN(10) {
		m.now += 1 + m.r.IntN(40)
		m.request(fmt.Sprint("k", m.r.IntN(6)))
	}
	for key, e := range old {
		if e.held || m.now-e.touched <= modelExpire {
			e.held = false // its stream is the old worker's
			m.entries[key] = e
		}
	}
	m.retell = m.now + m.r.IntN(3000)
}
