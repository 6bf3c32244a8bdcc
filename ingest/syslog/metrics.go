package syslog

import "github.com/prometheus/client_golang/prometheus"

// Reasons of a refused connection, the label "reason" of
// haptrail_syslog_connections_refused_total.
const (
	refusedLimit     = "max_connections"
	refusedPeer      = ReasonPeer
	refusedHandshake = "tls_handshake"
	refusedAccept    = "accept_error" // out of file descriptors or memory
)

// Metrics are the package's, shared by all listeners of a process.
type Metrics struct {
	messages    *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	rejects     *prometheus.CounterVec
	connections *prometheus.GaugeVec
	accepted    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	kernelDrops *prometheus.CounterVec
	buffer      *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them, unless reg is nil. It
// panics when reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "haptrail", Subsystem: "syslog", Name: name, Help: help,
		}, append([]string{"listener", "transport"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "haptrail", Subsystem: "syslog", Name: name, Help: help,
		}, []string{"listener", "transport"})
	}
	m := &Metrics{
		messages:    counter("messages_total", "Messages handed on."),
		bytes:       counter("bytes_total", "Bytes read, framing included."),
		rejects:     counter("rejects_total", "Messages that could not be read, by reason.", "reason"),
		connections: gauge("connections", "Open connections."),
		accepted:    counter("connections_total", "Connections accepted."),
		refused:     counter("connections_refused_total", "Connections closed unread, by reason.", "reason"),
		kernelDrops: counter("kernel_drops_total", "Datagrams that the kernel dropped because the receive buffer was full."),
		buffer:      gauge("receive_buffer_bytes", "Receive buffer of a datagram socket, as the kernel granted it."),
	}
	if reg != nil {
		reg.MustRegister(m.messages, m.bytes, m.rejects, m.connections, m.accepted, m.refused, m.kernelDrops, m.buffer)
	}
	return m
}

// listenerMetrics are Metrics with the listener's labels looked up.
type listenerMetrics struct {
	messages, bytes  prometheus.Counter
	rejects, refused *prometheus.CounterVec
	connections      prometheus.Gauge
	accepted         prometheus.Counter
	kernelDrops      prometheus.Counter
	buffer           prometheus.Gauge
}

// forStream leaves out what only datagrams have, and forDatagram what only
// streams have: a metric that cannot move must not be there.
func (m *Metrics) forStream(listener, transport string) listenerMetrics {
	lm := m.forListener(listener, transport)
	lm.connections = m.connections.WithLabelValues(listener, transport)
	lm.accepted = m.accepted.WithLabelValues(listener, transport)
	lm.refused = m.refused.MustCurryWith(prometheus.Labels{"listener": listener, "transport": transport})
	for _, reason := range []string{refusedLimit, refusedPeer, refusedAccept} {
		lm.refused.WithLabelValues(reason)
	}
	return lm
}

func (m *Metrics) forDatagram(listener, transport string) listenerMetrics {
	lm := m.forListener(listener, transport)
	lm.buffer = m.buffer.WithLabelValues(listener, transport)
	if transport == transportUDP {
		lm.kernelDrops = m.kernelDrops.WithLabelValues(listener, transport)
	}
	return lm
}

func (m *Metrics) forListener(listener, transport string) listenerMetrics {
	lm := listenerMetrics{
		messages: m.messages.WithLabelValues(listener, transport),
		bytes:    m.bytes.WithLabelValues(listener, transport),
		rejects:  m.rejects.MustCurryWith(prometheus.Labels{"listener": listener, "transport": transport}),
	}
	for _, reason := range []string{ReasonTooLong, ReasonGarbage} {
		lm.rejects.WithLabelValues(reason) // 0 is there before the first
	}
	return lm
}
