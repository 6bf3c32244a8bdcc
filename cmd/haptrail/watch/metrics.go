package watch

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/analyze/burst"
	"github.com/haptrail/haptrail/runtimeapi/poll"
)

// Metrics are what a Watch publishes. A nil *Metrics counts nothing.
type Metrics struct {
	samples   *prometheus.CounterVec
	bursts    *prometheus.CounterVec
	open      *prometheus.GaugeVec
	watched   *prometheus.GaugeVec
	leftOut   *prometheus.GaugeVec
	fromLogs  prometheus.Gauge
	calibrate *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_burst_samples_total", Help: "Samples of stick tables, by proxy and table.",
		}, []string{"proxy", "table"}),
		bursts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_burst_verdicts_total", Help: "What was said of bursts (start, update, end), by measure and severity.",
		}, []string{"measure", "kind", "severity"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_bursts_open", Help: "Bursts that go on, by measure.",
		}, []string{"measure"}),
		watched: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_burst_keys", Help: "Keys that are watched, by measure.",
		}, []string{"measure"}),
		leftOut: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "haptrail_burst_left_out", Help: "Since the start, or the start of what was saved: keys forgotten to make room (evicted), counts that came too late (late), were of no time (refused), were announced, or come at that time of day (habitual).",
		}, []string{"measure", "reason"}),
		fromLogs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "haptrail_burst_requests_from_logs", Help: "1 while requests of identities are counted from the logs, as no stick table can be read.",
		}),
		calibrate: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_burst_calibrations_total", Help: "Calibrations of thresholds, by measure and outcome.",
		}, []string{"measure", "outcome"}),
	}
	r.MustRegister(m.samples, m.bursts, m.open, m.watched, m.leftOut, m.fromLogs, m.calibrate)
	return m
}

func (m *Metrics) sampled(s *poll.Sample) {
	if m != nil {
		m.samples.WithLabelValues(s.Proxy, s.Table).Inc()
	}
}

func (m *Metrics) told(k *kind, v *burst.Verdict) {
	if m != nil {
		m.bursts.WithLabelValues(k.name(), v.Kind.String(), v.Severity.String()).Inc()
	}
}

func (m *Metrics) keys(k *kind, s burst.Stats) {
	if m == nil {
		return
	}
	m.open.WithLabelValues(k.name()).Set(float64(s.Open))
	m.watched.WithLabelValues(k.name()).Set(float64(s.Keys))
	for reason, n := range map[string]uint64{"evicted": s.Evicted, "late": s.Late, "refused": s.Refused, "announced": s.Announced, "habitual": s.Habitual} {
		m.leftOut.WithLabelValues(k.name(), reason).Set(float64(n))
	}
}

func (m *Metrics) standIn(on bool) {
	if m == nil {
		return
	}
	m.fromLogs.Set(0)
	if on {
		m.fromLogs.Set(1)
	}
}

func (m *Metrics) calibrated(k *kind, err error) {
	if m == nil {
		return
	}
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.calibrate.WithLabelValues(k.name(), outcome).Inc()
}
