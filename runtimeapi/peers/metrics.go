package peers

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what Feeds publish. A nil *Metrics counts nothing.
type Metrics struct {
	updates     *prometheus.CounterVec // by proxy and table
	samples     *prometheus.CounterVec // by proxy and table
	untold      *prometheus.CounterVec // by proxy, table and reason
	keys        *prometheus.GaugeVec   // by proxy and table
	connections *prometheus.CounterVec // by proxy and outcome
	up          *prometheus.GaugeVec   // by proxy
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "haptrail_peers_" + name, Help: help}, append([]string{"proxy"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "haptrail_peers_" + name, Help: help}, append([]string{"proxy"}, labels...))
	}
	m := &Metrics{
		updates:     counter("updates_total", "Entries that HAProxy sent, of tables that were asked for.", "table"),
		samples:     counter("samples_total", "Updates with something to tell.", "table"),
		untold:      counter("untold_total", "Deltas that are not told: max_keys (the key has no place in memory), behind (a peer brought an older count).", "table", "reason"),
		keys:        gauge("tracked_keys", "Keys whose counters are remembered.", "table"),
		connections: counter("connections_ended_total", "Connections by how they ended: refused, tables, unreachable, malformed, silent, closed.", "outcome"),
		up:          gauge("up", "1 while what is touched arrives, else 0."),
	}
	r.MustRegister(m.updates, m.samples, m.untold, m.keys, m.connections, m.up)
	return m
}

// counted is what the metrics have of a table.
type counted struct{ updates, samples, untold, behind uint64 }

// ended counts the end of a connection.
func (m *Metrics) ended(proxy, outcome string) {
	if m != nil {
		m.connections.WithLabelValues(proxy, outcome).Inc()
	}
}

// state shows whether the feed is in step.
func (m *Metrics) state(proxy string, s State) {
	if m == nil {
		return
	}
	up := 0.0
	if s == StateOK {
		up = 1
	}
	m.up.WithLabelValues(proxy).Set(up)
}

// counted adds what a table has counted since it was asked last.
func (m *Metrics) counted(proxy string, t *table) {
	now := counted{t.updates, t.samples, t.keys.untold, t.keys.behind}
	if m == nil || !t.wanted || now == t.counted {
		return
	}
	m.updates.WithLabelValues(proxy, t.name).Add(float64(now.updates - t.counted.updates))
	m.samples.WithLabelValues(proxy, t.name).Add(float64(now.samples - t.counted.samples))
	m.untold.WithLabelValues(proxy, t.name, "max_keys").Add(float64(now.untold - t.counted.untold))
	m.untold.WithLabelValues(proxy, t.name, "behind").Add(float64(now.behind - t.counted.behind))
	m.keys.WithLabelValues(proxy, t.name).Set(float64(t.keys.tracked()))
	t.counted = now
}

// dropped forgets the gauge of a table that is no more.
func (m *Metrics) dropped(proxy string, t *table) {
	if m != nil {
		m.keys.DeleteLabelValues(proxy, t.name)
	}
}
