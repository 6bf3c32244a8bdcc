package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/edge/keys"
)

// Metrics are what a Refresher publishes. A nil *Metrics counts nothing.
type Metrics struct {
	refreshes   *prometheus.CounterVec // by issuer and outcome
	lastSuccess *prometheus.GaugeVec   // by issuer
	failures    *prometheus.GaugeVec   // by issuer
	usable      *prometheus.GaugeVec   // by issuer
	applies     *prometheus.CounterVec // by outcome
	unknown     prometheus.Counter
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	byIssuer := []string{"issuer"}
	m := &Metrics{
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_edge_key_refreshes_total", Help: "Times an issuer was asked for its keys, by outcome (ok, failed).",
		}, []string{"issuer", "outcome"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_edge_key_last_success_timestamp_seconds", Help: "When an issuer last answered with good keys; 0 if never.",
		}, byIssuer),
		failures: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_edge_key_failures", Help: "Failures in a row to get an issuer's keys; from 2 on people on call are told.",
		}, byIssuer),
		usable: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_edge_keys", Help: "Keys that verify an issuer's tokens now; 0 means all of them are denied.",
		}, byIssuer),
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_edge_applies_total", Help: "Times HAProxy was brought to the keys, by outcome (ok, failed).",
		}, []string{"outcome"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_edge_unknown_kid_total", Help: "Tokens that named a kid nobody knows, as far as they were noticed.",
		}),
	}
	r.MustRegister(m.refreshes, m.lastSuccess, m.failures, m.usable, m.applies, m.unknown)
	return m
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

func (m *Metrics) refreshed(issuer string, err error) {
	if m != nil {
		m.refreshes.WithLabelValues(issuer, outcome(err)).Inc()
	}
}

func (m *Metrics) applied(err error) {
	if m != nil {
		m.applies.WithLabelValues(outcome(err)).Inc()
	}
}

func (m *Metrics) unknownKid() {
	if m != nil {
		m.unknown.Inc()
	}
}

func (m *Metrics) observe(all []keys.IssuerStatus) {
	if m == nil {
		return
	}
	for _, s := range all {
		last := 0.0
		if !s.LastSuccess.IsZero() {
			last = float64(s.LastSuccess.Unix())
		}
		m.lastSuccess.WithLabelValues(s.Issuer).Set(last)
		m.failures.WithLabelValues(s.Issuer).Set(float64(s.Failures))
		m.usable.WithLabelValues(s.Issuer).Set(float64(s.Keys))
	}
}
