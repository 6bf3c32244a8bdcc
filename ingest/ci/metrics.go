package ci

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what a Receiver and a Poller publish. A nil *Metrics counts nothing.
type Metrics struct {
	deliveries *prometheus.CounterVec // by source and outcome
	facts      *prometheus.CounterVec // by source and kind
	polls      *prometheus.CounterVec // by source and outcome
	lastPoll   *prometheus.GaugeVec   // by source
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ci_deliveries_total",
			Help: "Webhook requests by source and outcome: taken, repeated, unverified, malformed, too_large, media_type, method, broken, busy, source_failed, store_failed; unknown, without a source, is a path that none has.",
		}, []string{"source", "outcome"}),
		facts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ci_facts_total", Help: "Facts stored, of webhooks and polls, by source and kind (run, commit, principal).",
		}, []string{"source", "kind"}),
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ci_polls_total", Help: "Polls by source and outcome: ok, limited (the server wants fewer calls), refused (a person has to mend the credentials), failed, store_failed.",
		}, []string{"source", "outcome"}),
		lastPoll: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_ci_poll_last_success_timestamp_seconds", Help: "When a source was last polled to the end and its facts stored; absent if never.",
		}, []string{"source"}),
	}
	r.MustRegister(m.deliveries, m.facts, m.polls, m.lastPoll)
	return m
}

func (m *Metrics) delivered(source string, o outcome) {
	if m != nil {
		m.deliveries.WithLabelValues(source, string(o)).Inc()
	}
}

func (m *Metrics) stored(source string, facts []Fact) {
	if m == nil {
		return
	}
	for _, fact := range facts {
		switch {
		case fact.Run != nil:
			m.facts.WithLabelValues(source, "run").Inc()
		case fact.Commit != nil:
			m.facts.WithLabelValues(source, "commit").Inc()
		case fact.Principal != nil:
			m.facts.WithLabelValues(source, "principal").Inc()
		}
	}
}

func (m *Metrics) polled(source string, err error, now time.Time) {
	if m == nil {
		return
	}
	limit, result := new(LimitError), "failed"
	switch {
	case err == nil:
		result = "ok"
		m.lastPoll.WithLabelValues(source).Set(float64(now.UnixMilli()) / 1000)
	case errors.Is(err, errStore):
		result = "store_failed"
	case errors.As(err, &limit):
		result = "limited"
	case errors.Is(err, ErrRefused):
		result = "refused"
	}
	m.polls.WithLabelValues(source, result).Inc()
}
