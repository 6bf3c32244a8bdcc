package ci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Bounds of a call to a provider's API.
const (
	callTimeout  = 30 * time.Second // of one try
	maxReply     = 16 << 20         // bytes of one page
	maxComplaint = 64 << 10         // bytes that are read of an answer that is no page
	maxTries     = 5
	maxRedirects = 3
	firstPause   = time.Second    // before the second try; doubles
	maxPause     = time.Minute    // also of a Retry-After: longer ones are the caller's to wait
	maxWait      = 24 * time.Hour // that a server can ask for
)

// Client calls a JSON API, politely: it waits when told to, tries again what may
// be better next time, and gives up in bounds.
type Client struct {
	// Base is the API's URL, without a trailing slash.
	Base string
	// HTTP makes the requests; nil is one with callTimeout. Unless it has a
	// CheckRedirect of its own, a redirect is followed only to the same scheme and
	// host: credentials in a header of their own would go with it.
	HTTP *http.Client
	// Authorize adds credentials to a request. fresh asks for new ones: the server
	// has refused those before. An error of its own ends the call, and one of a
	// Client that it asked is tried again like ours. May be nil.
	Authorize func(ctx context.Context, r *http.Request, fresh bool) error
	// Pause waits between two tries; nil is by the clock.
	Pause func(ctx context.Context, d time.Duration) error
}

// Get asks for a path below Base and decodes the JSON of the answer. The path may
// be a whole URL below Base, as paging links are. The errors are ErrRefused,
// ErrNotFound, ErrMalformed, *LimitError, or what else failed in the last try.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) (http.Header, error) {
	return c.call(ctx, http.MethodGet, path, query, into)
}

// call is Get with a method; a request has no body.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, into any) (http.Header, error) {
	target, err := c.target(path, query)
	if err != nil {
		return nil, err
	}
	pause, renew, renewed := firstPause, false, false
	for try := 1; ; try++ {
		header, err := c.try(ctx, method, target, renew, into)
		renew = false
		var again *retryError
		if err == nil || !errors.As(err, &again) || try == maxTries || ctx.Err() != nil {
			return header, final(err, target)
		}
		if again.unauthorized {
			if renewed || c.Authorize == nil {
				return header, final(err, target)
			}
			renew, renewed = true, true // the token may have run out just now
			continue
		}
		wait := max(pause, again.after)
		if wait > maxPause {
			return header, final(err, target)
		}
		if err := c.pause(ctx, wait); err != nil {
			return header, err
		}
		pause *= 2
	}
}

// target is the URL to call. One that is not below Base, as a paging link of a
// server gone wrong may be, would carry our credentials there.
func (c *Client) target(path string, query url.Values) (string, error) {
	target := path
	if !strings.HasPrefix(path, c.Base+"/") {
		if strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://") {
			return "", fmt.Errorf("%w: a link leads to %s, which is not below %s: is that the URL by which the server knows itself?", ErrRefused, path, c.Base)
		}
		target = c.Base + "/" + strings.TrimPrefix(path, "/")
	}
	if len(query) == 0 {
		return target, nil
	}
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + query.Encode(), nil
}

// LimitError: the server wants no more calls for so long.
type LimitError struct {
	After time.Duration // 0 where it does not say
	URL   string
}

// Error names the server and the time.
func (e *LimitError) Error() string {
	if e.After == 0 {
		return fmt.Sprintf("%s: the server wants no more calls for now", e.URL)
	}
	return fmt.Sprintf("%s: the server wants no more calls for now; the next may be made in %s", e.URL, e.After)
}

// retryError is a failure that may be gone at the next try.
type retryError struct {
	err          error
	after        time.Duration // as the server wants it; 0: our own pause
	limited      bool
	unauthorized bool // with credentials that may have run out
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// statusError is an answer that means something to one provider only.
type statusError struct {
	status int
	target string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: unexpected answer %d %s", e.target, e.status, http.StatusText(e.status))
}

// final is the error of the last try, as callers see it.
func final(err error, target string) error {
	var again *retryError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &again) && (again.limited || again.after > maxPause):
		// 503 with a Retry-After too long to wait here is a limit as well
		return &LimitError{After: again.after, URL: target}
	case errors.As(err, &again) && again.unauthorized:
		return fmt.Errorf("%s: %w: 401: are the credentials right, and not expired?", target, ErrRefused)
	}
	return err
}

func (c *Client) try(ctx context.Context, method, target string, fresh bool, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "haptrail")
	if c.Authorize != nil {
		if err := c.Authorize(ctx, request, fresh); err != nil {
			return nil, err
		}
	}
	response, err := c.http().Do(request)
	if errors.Is(err, errElsewhere) {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return nil, &retryError{err: err}
	}
	defer response.Body.Close()
	if err := judge(response, target); err != nil {
		return response.Header, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err != nil {
		return response.Header, &retryError{err: fmt.Errorf("%s: the answer broke off: %w", target, err)}
	}
	if len(body) > maxReply {
		return response.Header, fmt.Errorf("%s: %w: more than %d bytes", target, ErrMalformed, maxReply)
	}
	if jsonErr := json.Unmarshal(body, into); jsonErr != nil {
		err := fmt.Errorf("%s: %w: %s", target, ErrMalformed, jsonFault(jsonErr))
		if syntax := new(json.SyntaxError); errors.As(jsonErr, &syntax) {
			// cut by a proxy as a rule, and whole the next time
			return response.Header, &retryError{err: err}
		}
		return response.Header, err
	}
	return response.Header, nil
}

// jsonFault says what is wrong with a JSON text, by its field where that is known,
// and nothing of what stands in it: that may be a secret, and as long as the text.
func jsonFault(err error) string {
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		return fmt.Sprintf("%s is not %s", cmp.Or(wrong.Field, "the whole"), jsonShape(wrong.Type))
	}
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		return fmt.Sprintf("no JSON, from byte %d on", syntax.Offset)
	}
	return "a value is not in the form that it should have"
}

// jsonShape is what a type is in JSON, for people.
func jsonShape(t reflect.Type) string {
	if own, ok := reflect.Zero(t).Interface().(interface{ jsonShape() string }); ok {
		return own.jsonShape()
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return fmt.Sprintf("a whole number that fits %s", t.Kind())
}

// errElsewhere: a redirect that is not followed.
var errElsewhere = errors.New("the credentials are not for the host that a redirect leads to: configure the URL that the server is reached by")

// http is the caller's client, or one of our own, that stays on the host.
func (c *Client) http() *http.Client {
	client := http.Client{Timeout: callTimeout}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
			if next.URL.Scheme != via[0].URL.Scheme || next.URL.Host != via[0].URL.Host || len(via) > maxRedirects {
				return errElsewhere
			}
			return nil
		}
	}
	return &client
}

// judge turns a status into an error, nil for 200 and 201. It reads what there is
// of an answer that is no page, so that the connection can be used again.
func judge(response *http.Response, target string) error {
	status := response.StatusCode
	if status == http.StatusOK || status == http.StatusCreated {
		return nil
	}
	complaint, _ := io.ReadAll(io.LimitReader(response.Body, maxComplaint))
	after := retryAfter(response.Header)
	limited := status == http.StatusTooManyRequests
	if status == http.StatusForbidden {
		limited = response.Header.Get("Retry-After") != "" || response.Header.Get("X-RateLimit-Remaining") == "0"
		if !limited && strings.Contains(strings.ToLower(string(complaint)), "rate limit") {
			// GitHub's secondary limit may show in the text alone; its documentation
			// asks for a minute then
			limited, after = true, time.Minute
		}
	}
	switch {
	case limited:
		return &retryError{err: fmt.Errorf("%s: %d", target, status), after: after, limited: true}
	case status == http.StatusUnauthorized:
		return &retryError{err: fmt.Errorf("%s: 401", target), unauthorized: true}
	case status == http.StatusForbidden:
		return fmt.Errorf("%s: %w: 403: the credentials lack a permission; docs/providers.md lists them", target, ErrRefused)
	case status == http.StatusNotFound || status == http.StatusGone:
		return fmt.Errorf("%s: %w", target, ErrNotFound)
	case status >= 500:
		return &retryError{err: fmt.Errorf("%s: %s", target, response.Status), after: after}
	}
	return &statusError{status: status, target: target}
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3), or GitHub's time of the
// limit's end. Times are compared with the server's own clock, which need not be
// ours.
func retryAfter(h http.Header) time.Duration {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			return bounded(seconds)
		}
		if at, err := http.ParseTime(text); err == nil {
			return min(max(at.Sub(now), 0), maxWait)
		}
	}
	if h.Get("X-RateLimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && at > 0 {
			return bounded(at - now.Unix())
		}
	}
	return 0
}

// bounded is so many seconds, and no nonsense.
func bounded(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), int64(maxWait/time.Second))) * time.Second
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.Pause != nil {
		return c.Pause(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
