package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// opsServer answers for those who run the daemon:
//
//	/healthz  200 while the process runs
//	/readyz   200 when the engine answers and takes inserts, else 503 and why
//	/metrics  Prometheus
func (d *server) opsServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{}))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
}

func (d *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if d.pipeline.Failing() {
		http.Error(w, "the last insert failed; see the log", http.StatusServiceUnavailable)
		return
	}
	if err := d.checkEngine(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// checkEngine tells whether the engine answers, and an embedded one still has
// its directory.
func (d *server) checkEngine(ctx context.Context) error {
	if engine := d.store.Engine(); engine != nil {
		if err := engine.Check(); err != nil {
			return err
		}
	}
	return d.store.Ping(ctx)
}
