package poll

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what a Poller publishes. A nil *Metrics counts nothing.
type Metrics struct {
	polls    *prometheus.CounterVec // by proxy, table and outcome
	samples  *prometheus.CounterVec // by proxy and table
	entries  *prometheus.CounterVec // by proxy and table
	seconds  *prometheus.CounterVec // by proxy and table
	untold   *prometheus.CounterVec // by proxy, table and reason
	reloads  *prometheus.CounterVec // by proxy and table
	jumps    prometheus.Counter
	interval *prometheus.GaugeVec // by proxy and table
	over     *prometheus.GaugeVec // by proxy and table
	keys     *prometheus.GaugeVec // by proxy and table
	lastPoll *prometheus.GaugeVec // by proxy and table
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	byTable := []string{"proxy", "table"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "haptrail_stick_" + name, Help: help}, append(byTable, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "haptrail_stick_" + name, Help: help}, byTable)
	}
	m := &Metrics{
		polls:   counter("polls_total", "Polls by outcome: ok, missing, not_a_socket, forbidden, nobody, unreachable, cut, slow, unknown_table, level, malformed, stopping, failed.", "outcome"),
		samples: counter("samples_total", "Keys with something to tell."),
		entries: counter("entries_total", "Entries read, of polls that came to their end or not."),
		seconds: counter("dump_seconds_total", "Time that dumps took; its rate is the share of time to compare with the budget."),
		untold:  counter("untold_total", "Deltas that are not told: max_keys (the key has no place in memory), behind (a peer brought an older count).", "reason"),
		reloads: counter("reloads_total", "Times another worker answered than before."),
		jumps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_stick_clock_jumps_total", Help: "Times this machine's clock jumped by more than a second between two polls.",
		}),
		interval: gauge("poll_interval_seconds", "Time from one poll to the next, as the budget allows it."),
		over:     gauge("poll_over_budget", "1 while the budget is exceeded at the longest interval, else 0."),
		keys:     gauge("tracked_keys", "Keys whose counters are remembered."),
		lastPoll: gauge("poll_last_success_timestamp_seconds", "When a table was last read to its end; absent if never."),
	}
	r.MustRegister(m.polls, m.samples, m.entries, m.seconds, m.untold, m.reloads, m.jumps, m.interval, m.over, m.keys, m.lastPoll)
	return m
}

// outcome is what one poll adds.
type outcome struct {
	proxy, table     string
	state            State
	samples, entries int
	took             time.Duration
	untold, behind   uint64
	reloaded, jumped bool
	at               time.Time
	plan             plan
	tracked          int
}

func (m *Metrics) polled(o outcome) {
	if m == nil {
		return
	}
	m.polls.WithLabelValues(o.proxy, o.table, string(o.state)).Inc()
	m.samples.WithLabelValues(o.proxy, o.table).Add(float64(o.samples))
	m.entries.WithLabelValues(o.proxy, o.table).Add(float64(o.entries))
	m.seconds.WithLabelValues(o.proxy, o.table).Add(o.took.Seconds())
	m.untold.WithLabelValues(o.proxy, o.table, "max_keys").Add(float64(o.untold))
	m.untold.WithLabelValues(o.proxy, o.table, "behind").Add(float64(o.behind))
	m.interval.WithLabelValues(o.proxy, o.table).Set(o.plan.wait.Seconds())
	m.keys.WithLabelValues(o.proxy, o.table).Set(float64(o.tracked))
	m.over.WithLabelValues(o.proxy, o.table).Set(flag(o.plan.over))
	m.reloads.WithLabelValues(o.proxy, o.table).Add(flag(o.reloaded))
	if o.jumped {
		m.jumps.Inc()
	}
	if o.state == StateOK {
		m.lastPoll.WithLabelValues(o.proxy, o.table).Set(float64(o.at.UnixMilli()) / 1000)
	}
}

// flag is 1 for true.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
