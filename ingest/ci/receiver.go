package ci

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Store keeps facts.
type Store interface {
	// Apply merges facts into what is known: see Run.Merge. After nil they are
	// stored for good; after an error they may be, and will come again.
	Apply(ctx context.Context, facts []Fact) error
}

// errStore marks the store's failures, which are not the source's.
var errStore = errors.New("the facts could not be stored")

// webhookPath is where a Receiver finds its sources, by name.
const webhookPath = "/webhooks/"

// Bounds of webhooks.
const (
	maxWebhook     = 25 << 20         // bytes of a body: GitHub sends no more
	maxWebhooks    = 8 * maxWebhook   // of all bodies that are in memory at one time
	webhookTimeout = 10 * time.Second // GitHub waits no longer
	warnInterval   = time.Minute      // between two lines of the log with one cause
)

// outcome is what became of a delivery: a label of its metric.
type outcome string

const (
	taken        outcome = "taken"
	repeated     outcome = "repeated"
	unknown      outcome = "unknown"
	wrongMethod  outcome = "method"
	wrongType    outcome = "media_type"
	tooLarge     outcome = "too_large"
	broken       outcome = "broken" // off, or too slow
	busy         outcome = "busy"
	unverified   outcome = "unverified"
	malformed    outcome = "malformed"
	sourceFailed outcome = "source_failed"
	storeFailed  outcome = "store_failed"
)

// answer is the status and the text for an outcome. None says why: that is for the
// log, and not for whoever tries signatures. Providers send again after 5xx, and
// some after 4xx.
func (o outcome) answer() (status int, text string) {
	switch o {
	case taken, repeated:
		return http.StatusAccepted, "taken"
	case unknown:
		return http.StatusNotFound, "no such webhook"
	case wrongMethod:
		return http.StatusMethodNotAllowed, "POST webhooks here"
	case wrongType:
		return http.StatusUnsupportedMediaType, "send JSON, uncompressed"
	case tooLarge:
		return http.StatusRequestEntityTooLarge, "too large"
	case broken:
		return http.StatusRequestTimeout, "the body did not come"
	case unverified:
		return http.StatusUnauthorized, "not verified"
	case malformed:
		return http.StatusBadRequest, "cannot be read"
	}
	return http.StatusServiceUnavailable, "not now: send it again"
}

// Receiver takes the webhooks of CI servers, POST /webhooks/NAME. Sources and
// Store are needed; the rest may be left out.
//
// A delivery counts once, by its source and the hash of its body: providers send
// again what was not answered in time, and anybody who saw one can. One that is
// older than the memory of that changes nothing either, as Store.Apply merges.
type Receiver struct {
	Sources map[string]Source // by the name in the path
	Store   Store

	// Timeout is for a whole delivery: to read it, to check it and to store it.
	// Default 10 s.
	Timeout time.Duration

	Metrics *Metrics
	Log     *slog.Logger // never given a body, a header or a part of them

	held   atomic.Int64 // bytes of bodies that are in memory
	recent recent[[sha256.Size]byte, struct{}]
	warned sometimes
}

// ServeHTTP takes one delivery: 202 when it is stored or was before, 401 when it is
// not genuine, 400 when it cannot be read, 413 above 25 MiB, 415 when it cannot be
// JSON, and 503 when it should be sent again.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	name := request.PathValue("name")
	if name == "" {
		name, _ = strings.CutPrefix(request.URL.Path, webhookPath)
	}
	// The deadline is also for net/http's own reading: of what is left of a body,
	// before an answer goes out. Without a connection, as in a test, there is none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(cmp.Or(r.Timeout, webhookTimeout)))
	result, err := unknown, error(nil)
	source := r.Sources[name]
	if source == nil {
		name = "" // a label must not be what anybody chooses
	} else {
		result, err = r.deliver(w, request, name, source)
	}
	r.Metrics.delivered(name, result)
	if err != nil && r.Log != nil && request.Context().Err() == nil && r.warned.due(name+" "+string(result), time.Now(), warnInterval) {
		r.Log.Warn("webhook not taken; more of the same are counted only", "source", name, "outcome", string(result), "error", err)
	}
	status, text := result.answer()
	if result == wrongMethod {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // whoever has gone needs no answer
}

// deliver is everything but the answer. The error is for the log.
func (r *Receiver) deliver(w http.ResponseWriter, request *http.Request, name string, source Source) (outcome, error) {
	received := time.Now()
	if request.Method != http.MethodPost {
		return wrongMethod, nil
	}
	if !maybeJSON(request.Header) {
		return wrongType, errors.New("neither JSON nor a form, or compressed: set the webhook's content type to application/json")
	}
	ctx, cancel := context.WithTimeout(request.Context(), cmp.Or(r.Timeout, webhookTimeout))
	defer cancel()
	body := metered{of: &r.held}
	defer body.release()
	if result, err := body.read(w, request); err != nil {
		return result, err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // all is here; the connection may be used again
	facts, err := source.Webhook(ctx, Delivery{Header: request.Header, Body: body.Bytes(), Received: received})
	switch {
	case errors.Is(err, ErrUnverified):
		return unverified, err
	case errors.Is(err, ErrMalformed):
		return malformed, err
	case err != nil: // keys that could not be fetched, a secret that could not be read
		return sourceFailed, err
	}
	return r.keep(ctx, name, body.Bytes(), facts)
}

// keep stores what a genuine delivery tells, unless that was done. Others get here
// never: they must neither be remembered nor learn what is.
func (r *Receiver) keep(ctx context.Context, name string, body []byte, facts []Fact) (outcome, error) {
	hasher := sha256.New()
	_, _ = io.WriteString(hasher, name+"\x00") // a hash does not fail
	_, _ = hasher.Write(body)
	hash := [sha256.Size]byte(hasher.Sum(nil))
	if _, before := r.recent.get(hash); before {
		return repeated, nil
	}
	if len(facts) > 0 {
		if err := r.Store.Apply(ctx, facts); err != nil {
			return storeFailed, fmt.Errorf("%w: %w", errStore, err)
		}
	}
	r.Metrics.stored(name, facts)
	r.recent.put(hash, struct{}{})
	return taken, nil
}

// maybeJSON reports whether a body may be JSON, or a form that holds some. Vendors
// are not strict about it, and neither are the templates that people write.
func maybeJSON(h http.Header) bool {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	text := h.Get("Content-Type")
	if text == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	switch kind {
	case "application/json", "text/json", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded":
		return true
	}
	return strings.HasSuffix(kind, "+json")
}

// metered is a body in memory, its bytes counted among those of all bodies: any
// sender can have us read one before we know who he is.
type metered struct {
	bytes.Buffer
	of   *atomic.Int64
	mine int64
}

var errBusy = errors.New("too many bytes of webhooks at one time")

// read takes the whole body, in bounds.
func (m *metered) read(w http.ResponseWriter, request *http.Request) (outcome, error) {
	if request.ContentLength > maxWebhook {
		return tooLarge, fmt.Errorf("%d bytes, more than %d", request.ContentLength, maxWebhook)
	}
	m.Grow(int(min(max(request.ContentLength, 0), 64<<10)) + bytes.MinRead)
	reader := http.MaxBytesReader(w, request.Body, maxWebhook)
	_, err := m.ReadFrom(counting{reader, m})
	large := new(http.MaxBytesError)
	switch {
	case err == nil:
		return taken, nil
	case errors.As(err, &large):
		return tooLarge, err
	case errors.Is(err, errBusy):
		return busy, err
	}
	return broken, err
}

// release gives the bytes back.
func (m *metered) release() { m.of.Add(-m.mine) }

// counting counts what a metered reads.
type counting struct {
	io.Reader
	m *metered
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.m.mine += int64(n)
	if c.m.of.Add(int64(n)) > maxWebhooks {
		return n, errBusy
	}
	return n, err
}
