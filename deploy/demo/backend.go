package demo

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strings"
	"time"
)

// The paths of the application that do not simply work, and the one for everybody.
const (
	healthPath = "/healthz"               // public in deploy/policy.yaml
	mirrorPath = "/packages/mirror/"      // a mirror under maintenance: 503
	slowPath   = "/artifacts/billing/raw" // a download that takes longer than a job waits
)

// backend is the application behind the gate: a package registry, a deployment
// service and a vault in one. It trusts the gate, and the gate alone: a request
// without X-Identity-Sub is a hole, and answered as one, but on the public path.
func backend() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == healthPath {
			fmt.Fprintln(w, "ok")
			return
		}
		if r.Header.Get("X-Identity-Sub") == "" || r.Header.Get("Authorization") != "" {
			http.Error(w, "the gate let through a request without an identity, or with its token", http.StatusInternalServerError)
			return
		}
		switch {
		case strings.HasPrefix(r.URL.Path, mirrorPath):
			http.Error(w, "under maintenance", http.StatusServiceUnavailable)
		case strings.HasPrefix(r.URL.Path, slowPath):
			serveSlowly(w, r)
		case r.Method == http.MethodGet:
			serveFile(w, r.URL.Path)
		default:
			n, _ := io.Copy(io.Discard, r.Body) // cut off: the client knows
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "stored %d bytes for %s\n", n, r.Header.Get("X-Identity-Sub"))
		}
	})
}

// serveSlowly sends 64 KiB every 50 ms, 4 MiB in all, or until the client is gone.
func serveSlowly(w http.ResponseWriter, r *http.Request) {
	piece := make([]byte, 64<<10)
	for range 64 {
		if _, err := w.Write(piece); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil || pause(r.Context(), 50*time.Millisecond) != nil {
			return
		}
	}
}

// serveFile answers with the same content for the same path, 200 to 8391 bytes.
func serveFile(w http.ResponseWriter, path string) {
	h := fnv.New32a()
	h.Write([]byte(path))
	io.WriteString(w, strings.Repeat("x", 200+int(h.Sum32()%8192)))
}
