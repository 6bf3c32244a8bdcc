package watch

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/runtimeapi/poll"
	"github.com/haptrail/haptrail/schema"
)

// leader is the proxy that is listened to of those that fill a table together: each
// has all counts of it.
type leader struct {
	proxy   string
	at      time.Time     // when it said something last
	elapsed time.Duration // since the time before
}

// apart is for how long samples of several proxies are added up: a detector takes no
// counts that are ten seconds late. Of a longer one its last part counts, at the rate of
// the whole.
const apart = 9 * time.Second

// Sample takes what a stick table told. It does not keep the sample.
func (w *Watch) Sample(s poll.Sample) {
	table, known := w.Tables[s.Table]
	counted, ok := s.Measure(table.Counter)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Metrics.sampled(&s)
	if s.Joint && !w.follow(&s) {
		return
	}
	if n, in, ok := w.fromRate(&s, table.Counter); ok {
		counted.Delta, s.Elapsed = n, in
	}
	w.samples.add(&s, counted)
	key := table.Keys.detectors(s.Table, s.Key)
	if known && table.Keys == IdentityKeys {
		w.names.seen(key)
	}
	if !known || !ok || s.Elapsed <= 0 || !w.judging {
		return
	}
	k := table.kind()
	if k == requestsOfIdentity && w.fromLogs {
		return
	}
	if w.Proxies > 1 && !s.Joint && s.Elapsed > apart {
		counted.Delta, s.Elapsed = uint64(float64(counted.Delta)*float64(apart)/float64(s.Elapsed)), apart
	}
	series := w.all[k]
	w.book.tell(series.kind, heard{s.Table, s.Proxy}, series.detector.Sample(key, s.At, s.Elapsed, fit(counted.Delta)))
}

// detectors is a stick table's key as detectors know it.
func (k Keys) detectors(table, key string) string {
	switch k {
	case SubjectKeys:
		return escape(key)
	case IdentityKeys:
		if issuer, subject, ok := strings.Cut(key, separator); ok {
			return issuer + separator + escape(subject)
		}
		return escape(key)
	case GroupKeys:
		if parts := strings.SplitN(key, separator, 3); len(parts) == 3 {
			return parts[0] + separator + escape(parts[1]) + separator + parts[2]
		}
	case AddressKeys: // a table of type ipv6 has IPv4 clients as ::ffff:192.0.2.7
		if address, err := netip.ParseAddr(key); err == nil {
			return address.Unmap().String()
		}
	case OtherKeys:
		return table + separator + key
	}
	return key
}

// fromRate is what a key did that came up in a shared table since the look before: in
// the time of HAProxy's own rate, if the table has it. Its counter may tell of another
// time, when a peer counted, and so says nothing.
func (w *Watch) fromRate(s *poll.Sample, counter string) (n uint64, in time.Duration, ok bool) {
	table := [2]string{s.Proxy, s.Table}
	first, looked := w.looked[table]
	if !looked {
		w.looked[table] = s.At
	}
	if !s.Shared || !s.First || s.Elapsed > 0 || !looked || first.Equal(s.At) {
		return 0, 0, false
	}
	rate, ok := s.Measure(strings.TrimSuffix(counter, "_cnt") + "_rate")
	return rate.Value, rate.Period, ok && rate.Value > 0
}

// follow tells whether a shared table's sample is of the proxy that is listened to.
func (w *Watch) follow(s *poll.Sample) bool {
	now := w.leaders[s.Table]
	if now.proxy != s.Proxy && s.At.Sub(now.at).Abs() < 3*max(w.Interval, now.elapsed) {
		return false
	}
	w.leaders[s.Table] = leader{s.Proxy, s.At, s.Elapsed}
	return true
}

// errorCounter counts an address's requests that were answered with 4xx: with those of
// who has no good token among them, whom no table of identities knows.
const errorCounter = "http_err_cnt"

// kind is the place among kinds of what a table counts.
func (t Table) kind() int {
	switch t.Keys {
	case IdentityKeys, SubjectKeys:
		return requestsOfIdentity
	case GroupKeys:
		return requestsOfEndpoint
	case AddressKeys:
		if t.Counter == errorCounter {
			return errorsOfAddress
		}
		return requestsOfAddress
	}
	return requestsOfOther
}

// counts tells whether some stick table counts for a kind.
func (w *Watch) counts(kind int) bool {
	for _, t := range w.Tables {
		if t.kind() == kind {
			return true
		}
	}
	return false
}

// fed is how many kinds are told anything: they share the budget.
func (w *Watch) fed() (n int) {
	for kind := range kinds {
		if w.tells(kind) {
			n++
		}
	}
	return n
}

// tells tells whether stick tables or the logs count for a kind.
func (w *Watch) tells(kind int) bool {
	switch kind {
	case requestsOfAddress, errorsOfAddress, requestsOfOther:
		return w.counts(kind)
	}
	return true
}

// Stored takes a block of requests that was stored, as ingest.Config.Stored does.
func (w *Watch) Stored(b *schema.RequestBlock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.Tally(w.count)
	b.Denials(w.denied)
}

// count has the detectors know of what one caller did in one second. The caller holds
// mu.
func (w *Watch) count(t *schema.Tally) {
	if t.Subject == "" {
		if w.judging && t.Denied > 0 {
			w.step(denialsOfAddress, t.Client.String(), t.Second, t.Denied)
		}
		return
	}
	identity := w.identity(t.Issuer, t.Subject)
	w.names.plays(identity, t.Role)
	if !w.judging {
		return
	}
	if w.fromLogs {
		w.step(requestsOfIdentity, identity, t.Second, t.Requests)
	}
	if !w.counts(requestsOfEndpoint) {
		w.step(requestsOfEndpoint, at(identity, t.Method, t.Endpoint), t.Second, t.Requests)
	}
	if t.Denied > 0 {
		w.step(denialsOfIdentity, identity, t.Second, t.Denied)
	}
	if t.Failed > 0 {
		w.step(errorsOfIdentity, identity, t.Second, t.Failed)
	}
	if t.Bytes > 0 {
		w.step(kilobytesOfIdentity, identity, t.Second, (t.Bytes+999)/1000)
	}
}

func (w *Watch) step(kind int, key string, second int64, n uint64) {
	s := w.all[kind]
	w.book.tell(s.kind, heard{feed: schema.FeedLogs}, s.detector.Step(key, second, fit(n)))
}

// fit is a count as detectors take it.
func fit(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// blindFor is how long no stick table may be read before the logs stand in.
const blindFor = 15 * time.Second

// Sees is told, now and then, whether the stick tables of identities can be read: of
// some proxy at least.
func (w *Watch) Sees(ok bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case ok && w.fromLogs:
		w.fromLogs, w.blindAt = false, time.Time{}
		w.Log.Info("requests of identities are counted by stick tables")
	case ok:
		w.blindAt = time.Time{}
	case w.fromLogs:
	case w.blindAt.IsZero():
		w.blindAt = now
	case now.Sub(w.blindAt) >= blindFor:
		w.fromLogs = true
		w.gap(w.all[requestsOfIdentity], w.blindAt, now)
		w.Log.Warn("requests of identities are counted from the logs, a second or two later: no stick table of identities can be read", "since", w.blindAt)
	}
	w.Metrics.standIn(w.fromLogs)
}

// gap tells a detector of a time of which nothing is known.
func (w *Watch) gap(s *series, from, until time.Time) {
	if s.detector != nil && from.Before(until) {
		s.detector.Gap(from, until)
	}
}

// Bounds of what waits for the table stick_samples.
const (
	maxBatch   = 50_000
	maxWaiting = 500_000
)

// samples are rows of stick_samples that are not stored yet. The watch's lock guards
// them.
type samples struct {
	waiting []schema.StickSample
	trying  batch // the rows of an insert that may have failed; the same again until it does not
	lost    uint64
	slowest time.Duration // the longest sample of late
	slowAt  time.Time
}

type batch struct {
	rows []schema.StickSample
	id   schema.BlockID
}

// add keeps a sample, if there is something in it.
func (s *samples) add(sample *poll.Sample, counted poll.Measure) {
	if sample.Elapsed > s.slowest || sample.At.Sub(s.slowAt) > time.Minute {
		s.slowest, s.slowAt = sample.Elapsed, sample.At
	}
	counts := counted.Delta > 0
	for _, m := range sample.Measures {
		counts = counts || m.Kind == runtimeapi.Counter && m.Delta > 0
	}
	if !counts {
		return
	}
	if len(s.waiting) >= maxWaiting {
		s.lost++
		return
	}
	row := schema.StickSample{
		Time: sample.At.UTC(), Proxy: sample.Proxy, Table: sample.Table, Key: strings.Clone(sample.Key),
		Elapsed: uint64(max(0, sample.Elapsed.Milliseconds())), Requests: counted.Delta,
		Counted: map[string]uint64{}, Levels: map[string]uint64{},
	}
	for _, m := range sample.Measures {
		switch {
		case m.Kind == runtimeapi.Counter && m.Name != counted.Name && m.Delta > 0:
			row.Counted[m.Name] = m.Delta
		case m.Kind == runtimeapi.Rate || m.Kind == runtimeapi.Gauge:
			if m.Value > 0 {
				row.Levels[m.Name] = m.Value
			}
		}
	}
	s.waiting = append(s.waiting, row)
}

// take is what is to be stored next, the same until stored.
func (s *samples) take() batch {
	if len(s.trying.rows) == 0 && len(s.waiting) > 0 {
		n := min(len(s.waiting), maxBatch)
		s.trying = batch{s.waiting[:n:n], schema.NewBlockID()}
		s.waiting = s.waiting[n:]
	}
	return s.trying
}

func (s *samples) stored() { s.trying = batch{} }

// lag is how old the newest counts may be.
func (s *samples) lag(interval time.Duration) time.Duration {
	return max(interval, s.slowest) + interval + time.Second
}
