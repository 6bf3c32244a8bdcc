package ingest

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the pipeline's counters and gauges.
type Metrics struct {
	lines      *prometheus.CounterVec // by transport and outcome
	bytes      *prometheus.CounterVec // by transport
	rejects    *prometheus.CounterVec // by reason
	notKept    prometheus.Counter
	marked     *prometheus.CounterVec // by mark
	blockRows  prometheus.Histogram
	blockAge   prometheus.Histogram
	insert     prometheus.Histogram
	insertErrs prometheus.Counter
	stored     prometheus.Counter
	queue      prometheus.Gauge
	lost       prometheus.Counter
}

// NewMetrics registers the pipeline's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ingest_lines_total",
			Help: "Log lines by transport and outcome: request, event, rejected or dropped (queue full, datagrams only).",
		}, []string{"transport", "outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ingest_bytes_total", Help: "Bytes of log lines by transport, headers left out.",
		}, []string{"transport"}),
		rejects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ingest_rejects_total", Help: "Lines that became no row, by reason.",
		}, []string{"reason"}),
		notKept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_ingest_rejects_not_kept_total", Help: "Rejected lines that were counted but not kept in the table rejects, because too many came at once.",
		}),
		marked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "haptrail_ingest_marked_total", Help: "Rows stored with a mark, by mark.",
		}, []string{"mark"}),
		blockRows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "haptrail_ingest_block_rows", Help: "Rows per inserted block.", Buckets: prometheus.ExponentialBuckets(1, 4, 10),
		}),
		blockAge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "haptrail_ingest_block_age_seconds", Help: "From a block's first line to its storage.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}),
		insert: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "haptrail_ingest_insert_seconds", Help: "Duration of block inserts that succeeded.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
		insertErrs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_ingest_insert_errors_total", Help: "Inserts that failed and were tried again.",
		}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_ingest_rows_stored_total", Help: "Rows that the engine acknowledged.",
		}),
		queue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "haptrail_ingest_queue_blocks", Help: "Sealed blocks that wait for their insert.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "haptrail_ingest_rows_lost_total", Help: "Rows given up at shutdown because the engine did not take them in time.",
		}),
	}
	r.MustRegister(m.lines, m.bytes, m.rejects, m.notKept, m.marked, m.blockRows, m.blockAge, m.insert, m.insertErrs, m.stored, m.queue, m.lost)
	return m
}
