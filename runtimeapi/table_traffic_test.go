package runtimeapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// unixTransport sends requests to the socket at path.
func unixTransport(t testing.TB, path string) *http.Transport {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// request sends one with pairs of header names and values, and wants a 200.
func request(t testing.TB, transport *http.Transport, headers []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://gate/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
}

// fill makes n entries repo:acme/app-N with http_req_cnt=N, many to a connection.
func fill(t testing.TB, socket, table string, n int) {
	t.Helper()
	const batch = 100
	for from := 0; from < n; from += batch {
		var b strings.Builder
		for i := from; i < min(from+batch, n); i++ {
			fmt.Fprintf(&b, "set table %s key repo:acme/app-%d data.http_req_cnt %d\n", table, i, i)
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, b.String())
		reply, err := io.ReadAll(conn)
		_ = conn.Close()
		if text := strings.TrimSpace(string(reply)); err != nil || text != "" {
			t.Fatalf("%v, %.200q", err, text)
		}
	}
}
