package judge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/schema"
)

// Metrics are what a Judge publishes. A nil *Metrics counts nothing.
type Metrics struct {
	verdicts  *prometheus.CounterVec // by grade
	revisions prometheus.Counter
	findings  *prometheus.CounterVec // by kind and severity
	passes    *prometheus.CounterVec // by outcome
	seconds   prometheus.Counter
	uses      prometheus.Counter
	last      prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_judge_verdicts_total", Help: "Verdicts stored, new or changed, by grade: of a caller in an hour, its last.",
		}, []string{"grade"}),
		revisions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_judge_reattributions_total", Help: "Verdicts that changed after they had been stored: see the table reattributions.",
		}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_judge_findings_total", Help: "Findings made, by kind and severity; the same one is made again while its uses are looked at.",
		}, []string{"kind", "severity"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_judge_passes_total", Help: "Passes by outcome: ok, failed.",
		}, []string{"outcome"}),
		seconds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_judge_seconds_total", Help: "Time that passes took.",
		}),
		uses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_judge_uses_looked_at_total", Help: "Places of callers in which findings were looked for, again and again as they are used.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "haptrail_judge_last_success_timestamp_seconds", Help: "When a pass ended well; alert when that is long ago.",
		}),
	}
	r.MustRegister(m.verdicts, m.revisions, m.findings, m.passes, m.seconds, m.uses, m.last)
	return m
}

func (m *Metrics) attributed(rows []schema.Attribution, changed int) {
	if m == nil {
		return
	}
	for i := range rows {
		m.verdicts.WithLabelValues(rows[i].Grades[len(rows[i].Grades)-1]).Inc()
	}
	m.revisions.Add(float64(changed))
}

func (m *Metrics) looked(uses int, found []finding.Finding) {
	if m == nil {
		return
	}
	m.uses.Add(float64(uses))
	for i := range found {
		m.findings.WithLabelValues(found[i].Kind, found[i].Severity.String()).Inc()
	}
}

func (m *Metrics) passed(took time.Duration, err error) {
	if m == nil {
		return
	}
	m.seconds.Add(took.Seconds())
	if err != nil {
		m.passes.WithLabelValues("failed").Inc()
		return
	}
	m.passes.WithLabelValues("ok").Inc()
	m.last.SetToCurrentTime()
}
