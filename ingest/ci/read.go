package ci

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// clockSlack is by how much clocks differ that should agree: ours and a server's,
// a server's and its agents'. What is asked for begins so much earlier.
const clockSlack = 10 * time.Minute

// decodeHook reads the JSON of a webhook. The error is ErrMalformed; it names the
// field, and holds nothing of what was in it: a body may carry secrets, and 25 MiB.
func decodeHook(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("%w: %s is not what it should be, %s", ErrMalformed, wrong.Field, shapeOf(wrong.Type))
	case errors.As(err, &wrong):
		return fmt.Errorf("%w: the body is no JSON object", ErrMalformed)
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: the body is no JSON, from byte %d on", ErrMalformed, syntax.Offset)
	}
	return fmt.Errorf("%w: the body is no JSON", ErrMalformed)
}

// shapeOf is a type in the words of JSON.
func shapeOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[wireID]():
		return "a whole number"
	case reflect.TypeFor[gitlabTime](), reflect.TypeFor[teamcityTime]():
		return "a time"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// badShape is a value that is not of type T; encoding/json adds the field's name.
func badShape[T any]() error {
	return &json.UnmarshalTypeError{Value: "value", Type: reflect.TypeFor[T]()}
}

// wireID is a number that names something: digits, or digits in quotes, as some
// templates of webhooks write them. null is "".
type wireID string

// maxID is the digits of the largest unsigned 64-bit number.
const maxID = 20

// UnmarshalJSON takes null, digits and digits in quotes.
func (id *wireID) UnmarshalJSON(text []byte) error {
	digits := strings.Trim(string(text), `"`)
	if digits == "null" {
		return nil
	}
	if digits == "" && len(text) == 2 {
		return nil
	}
	if !isNumber(digits) {
		return badShape[wireID]()
	}
	*id = wireID(digits)
	return nil
}

// isNumber reports whether a text is an id: nothing that a path or a locator would
// read as more than that.
func isNumber(text string) bool {
	return text != "" && len(text) <= maxID && strings.Trim(text, "0123456789") == ""
}

// isRevision reports whether a text may be a revision: a sha, or the number that
// another version control system gives. It is not the name of a branch.
func isRevision(text string) bool {
	return text != "" && len(text) <= 64 && strings.Trim(strings.ToLower(text), "0123456789abcdef") == ""
}

// parseWireTime reads a JSON text by the first layout that fits, as UTC to the
// second: a provider's webhooks are that coarse, and its API must say the same.
func parseWireTime(text []byte, layouts ...string) (time.Time, bool) {
	var value string
	if json.Unmarshal(text, &value) != nil {
		return time.Time{}, false
	}
	if value == "" {
		return time.Time{}, true
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, value); err == nil {
			return at.UTC().Truncate(time.Second), true
		}
	}
	return time.Time{}, false
}

// newestOf is the latest of some times.
func newestOf(times ...time.Time) time.Time {
	var newest time.Time
	for _, at := range times {
		newest = latest(newest, at)
	}
	return newest
}

// subjectOf is the first line of a commit's message.
func subjectOf(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return strings.TrimSpace(line)
}

// anySecret reports whether a text is one of some secrets, in a time that tells
// neither which nor how much of it was right. The error is that of a secret that
// cannot be read, when none of the others was it.
func anySecret(got string, secrets []Secret) (bool, error) {
	var failed error
	found := 0
	have := sha256.Sum256([]byte(got))
	for _, secret := range secrets {
		value, err := secret()
		if err != nil {
			failed = err
			continue
		}
		want := sha256.Sum256([]byte(value))
		found |= subtle.ConstantTimeCompare(have[:], want[:])
	}
	if found == 1 {
		return true, nil
	}
	return false, failed
}

// checkBase takes a server's URL without its trailing slash, and refuses one that
// would show our token to those on the way.
func checkBase(field, text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return "", fmt.Errorf("%s: this is no URL: write https://HOST", field)
	case u.User != nil:
		return "", fmt.Errorf("%s %s: the token has a field of its own: take the user out of the URL", field, u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%s %s: write it without ? and #", field, text)
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return "", fmt.Errorf("%s %s: anybody on the way could read our token: use https (http is for a loopback host only)", field, text)
	}
	return strings.TrimRight(text, "/"), nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// stayHome is a client that does not follow a redirect to another host: net/http
// takes Authorization off such a request, and no other header that holds a token.
func stayHome(client *http.Client) *http.Client {
	var home http.Client
	if client != nil {
		home = *client
	} else {
		home.Timeout = callTimeout
	}
	follow := home.CheckRedirect
	home.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
			return fmt.Errorf("redirected to %s: configure the URL that the server has now", hostOf(next.URL))
		}
		if follow != nil {
			return follow(next, via)
		}
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		return nil
	}
	return &home
}

func hostOf(u *url.URL) string { return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), portOf(u)) }

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

// oneTargetOnly reports whether an error is about one project, which is gone or
// forbidden, so that the others are still worth asking for.
func oneTargetOnly(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, ErrRefused) }
