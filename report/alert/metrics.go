package alert

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/report/alert/journal"
)

// Metrics are what a Manager publishes. A nil *Metrics counts nothing.
type Metrics struct {
	changes  *prometheus.CounterVec   // by change
	messages *prometheus.CounterVec   // by channel and outcome
	notices  *prometheus.CounterVec   // by channel and state
	delay    *prometheus.HistogramVec // by channel
	waiting  *prometheus.GaugeVec     // by channel
	success  *prometheus.GaugeVec     // by channel
	beats    *prometheus.CounterVec   // by channel and outcome
	dead     *prometheus.CounterVec   // by channel and reason
	overflow *prometheus.CounterVec   // by what had to go
	entries  prometheus.Gauge
	bytes    prometheus.Gauge
	journal  prometheus.Counter
	torn     prometheus.Counter
	damaged  prometheus.Counter
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "haptrail_alerts_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "haptrail_alerts_" + name, Help: help}, labels)
	}
	m := &Metrics{
		changes:  counter("changes_total", "Changes of alerts: fire, update, resolve.", "change"),
		messages: counter("messages_total", "Messages by channel and outcome: ok, refused (never sent again), misdirected (a person has to mend it), later (the receiver asked for it), failed.", "channel", "outcome"),
		notices:  counter("notices_total", "Alerts told, by channel and state: fired, updated, resolved, missed (fired and resolved before it could be told).", "channel", "state"),
		waiting:  gauge("waiting", "Alerts that a channel has to be told, when it last looked.", "channel"),
		success:  gauge("last_success_timestamp_seconds", "When a channel last took a message; absent if never.", "channel"),
		beats:    counter("heartbeats_total", "Heartbeats by channel and outcome: ok, failed.", "channel", "outcome"),
		dead:     counter("dead_total", "Alerts that a channel was not told and will not be, by reason: refused, expired, overflow. They are in dead.journal.", "channel", "reason"),
		overflow: counter("overflow_total", "Alerts for which the outbox had no room: refused (new ones, lost), over (ended and untold, dead letters).", "what"),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "haptrail_alerts_delay_seconds", Help: "From the change of an alert to the receiver's answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 15, 60, 300, 3600},
		}, []string{"channel"}),
		entries: prometheus.NewGauge(prometheus.GaugeOpts{Name: "haptrail_alerts_outbox_entries", Help: "Alerts in the outbox: firing, or over and not yet told everywhere."}),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "haptrail_alerts_outbox_bytes", Help: "What they take, about."}),
		journal: prometheus.NewCounter(prometheus.CounterOpts{Name: "haptrail_alerts_journal_failures_total", Help: "Writes and fsyncs of the outbox that failed."}),
		torn:    prometheus.NewCounter(prometheus.CounterOpts{Name: "haptrail_alerts_journal_torn_bytes_total", Help: "Bytes at the outbox's end that a crash had cut off, at the start."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "haptrail_alerts_journal_damaged_total", Help: "Records of the outbox that the disk has damaged, at the start."}),
	}
	r.MustRegister(m.changes, m.messages, m.notices, m.delay, m.waiting, m.success, m.beats, m.dead, m.overflow,
		m.entries, m.bytes, m.journal, m.torn, m.damaged)
	return m
}

func outcome(err error) string {
	later := new(LaterError)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrMisdirected):
		return "misdirected"
	case errors.As(err, &later):
		return "later"
	}
	return "failed"
}

func (m *Metrics) changed(op string) {
	if m != nil {
		m.changes.WithLabelValues(op).Inc()
	}
}

func (m *Metrics) sent(channel string, err error, now time.Time) {
	if m == nil {
		return
	}
	m.messages.WithLabelValues(channel, outcome(err)).Inc()
	if err == nil {
		m.success.WithLabelValues(channel).Set(float64(now.UnixMilli()) / 1000)
	}
}

func (m *Metrics) told(channel string, n Notice, delay time.Duration) {
	if m == nil {
		return
	}
	state := map[State]string{Fired: "fired", Updated: "updated", Resolved: "resolved"}[n.State]
	if n.Missed {
		state = "missed"
	}
	m.notices.WithLabelValues(channel, state).Inc()
	m.delay.WithLabelValues(channel).Observe(delay.Seconds())
}

func (m *Metrics) waits(channel string, n int) {
	if m != nil {
		m.waiting.WithLabelValues(channel).Set(float64(n))
	}
}

func (m *Metrics) beat(channel string, err error, now time.Time) {
	if m == nil {
		return
	}
	if err != nil {
		m.beats.WithLabelValues(channel, "failed").Inc()
		return
	}
	m.beats.WithLabelValues(channel, "ok").Inc()
	m.success.WithLabelValues(channel).Set(float64(now.UnixMilli()) / 1000)
}

func (m *Metrics) died(channel, reason string) {
	if m != nil {
		m.dead.WithLabelValues(channel, reason).Inc()
	}
}

func (m *Metrics) overflowed(what string) {
	if m != nil {
		m.overflow.WithLabelValues(what).Inc()
	}
}

func (m *Metrics) outbox(entries, bytes int) {
	if m != nil {
		m.entries.Set(float64(entries))
		m.bytes.Set(float64(bytes))
	}
}

func (m *Metrics) journalFailed() {
	if m != nil {
		m.journal.Inc()
	}
}

func (m *Metrics) recovered(found journal.Recovered) {
	if m != nil {
		m.torn.Add(float64(found.Torn))
		m.damaged.Add(float64(found.Damaged))
	}
}
