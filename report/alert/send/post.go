// Package send has the senders of alerts: Alertmanager, PagerDuty, Slack and
// webhooks. Each is one file, over net/http, and says which contract it keeps.
//
// Routing keys, URLs that are credentials, and HMAC keys come as alert.Secret: they
// are read when they are used, and are in no error.
package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// maxAnswer is how many bytes of an answer are read: enough to see what is wrong.
const maxAnswer = 4 << 10

// call is one POST.
type call struct {
	client  *http.Client // nil: one of our own
	url     string
	header  http.Header // beside Content-Type and User-Agent
	body    []byte
	secrets []string // that must not be in an error; the URL is one in any case
}

// post sends JSON, and makes of the answer an error that a lane understands, nil for
// 2xx.
func (c call) post(ctx context.Context) error {
	target, err := url.Parse(c.url)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		// Not err: it has the URL in it.
		return fmt.Errorf("%w: the URL is not an absolute http or https one", alert.ErrMisdirected)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		return fmt.Errorf("%w: no request can be made for its URL", alert.ErrMisdirected)
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "haptrail")
	response, err := c.http().Do(request)
	if err != nil {
		return c.failed(target, err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // the status is what counts
	return c.judge(target, response, answer)
}

// http is the caller's client, or net/http's, that follows no redirect: what we send
// is for the configured receiver only.
func (c call) http() *http.Client {
	var client http.Client
	if c.client != nil {
		client = *c.client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// failed is the error of a request without an answer. net/http's own has the whole
// URL in it.
func (c call) failed(target *url.URL, err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &wayError{text: c.redact(target, fmt.Sprintf("%s: %v", target.Host, err)), cause: err}
}

// wayError is a failure on the way to the receiver, in words that may be shown.
type wayError struct {
	text  string
	cause error
}

func (e *wayError) Error() string        { return e.text }
func (e *wayError) Is(target error) bool { return errors.Is(e.cause, target) }

// judge makes an error of a status (RFC 9110, section 15).
func (c call) judge(target *url.URL, response *http.Response, answer []byte) error {
	status := response.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	text := c.redact(target, fmt.Sprintf("%s answers %d %s: %s", target.Host, status, http.StatusText(status), line(answer)))
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return &alert.LaterError{After: retryAfter(response.Header, time.Now()), Err: errors.New(text)}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed, status == http.StatusProxyAuthRequired, status == http.StatusGone, status < 400:
		err := fmt.Errorf("%w: %s: are its URL and credentials right?", alert.ErrMisdirected, text)
		if after := retryAfter(response.Header, time.Now()); after > 0 {
			return &alert.LaterError{After: after, Err: err}
		}
		return err
	}
	return fmt.Errorf("%w: %s", alert.ErrRefused, text)
}

// line is the beginning of an answer, on one line.
func line(answer []byte) string {
	text := strings.ToValidUTF8(string(answer), "?")
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	return alert.Cut(strings.Join(strings.Fields(text), " "), 300)
}

// redact takes secrets out of a text: receivers echo what they were sent.
func (c call) redact(target *url.URL, text string) string {
	secrets := append([]string{c.url, target.RequestURI(), target.Path, target.RawQuery, target.Fragment}, c.secrets...)
	for _, values := range target.Query() {
		secrets = append(secrets, values...)
	}
	if password, ok := target.User.Password(); ok {
		secrets = append(secrets, password)
	}
	for part := range strings.SplitSeq(target.Path, "/") {
		if len(part) >= 8 { // of a short word nobody makes a secret, and every text has some
			secrets = append(secrets, part)
		}
	}
	for _, secret := range secrets {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3), 0 without one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if server, err := http.ParseTime(h.Get("Date")); err == nil {
		now = server // its clock need not be ours
	}
	return max(at.Sub(now), 0)
}

// read reads a secret; what fails is for a person to mend.
func read(secret alert.Secret, what string) (string, error) {
	if secret == nil {
		return "", fmt.Errorf("%w: %s is not configured", alert.ErrMisdirected, what)
	}
	value, err := secret()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", alert.ErrMisdirected, what, err)
	}
	return value, nil
}
