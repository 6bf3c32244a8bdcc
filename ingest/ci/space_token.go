package ci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Lifetimes of a client-credentials token.
const (
	spaceLifetime = 10 * time.Minute // where expires_in is missing; not documented
	spaceEarly    = time.Minute      // before its end a token is renewed, or a fifth of its life
	maxTokenReply = 1 << 20          // bytes
)

// spaceTokens gives the token of API calls: one for all callers, renewed before its
// end by one of them while the others wait.
type spaceTokens struct {
	endpoint  string
	clientID  string
	scope     string
	secret    Secret // of the client; nil: permanent
	permanent Secret
	http      *http.Client
	now       func() time.Time

	flight singleflight.Group

	mu      sync.Mutex // guards what follows
	token   string
	renewAt time.Time
	endAt   time.Time
}

func newSpaceTokens(base string, config SpaceConfig) *spaceTokens {
	plain := *config.HTTP
	// A redirect would carry our secret to where we were not told to send it.
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &spaceTokens{
		endpoint: base + "/oauth/token", clientID: config.ClientID, scope: config.Scope,
		secret: config.ClientSecret, permanent: config.PermanentToken, http: &plain, now: config.Now,
	}
}

// get is a token that is good for a while, and is not the one that was refused.
func (t *spaceTokens) get(ctx context.Context, refused string) (string, error) {
	if t.secret == nil {
		token, err := t.permanent()
		if err != nil {
			return "", fmt.Errorf("space: PermanentToken: %w", err)
		}
		return token, nil
	}
	token, fresh := t.current(refused)
	if fresh {
		return token, nil
	}
	done := t.flight.DoChan("", func() (any, error) {
		if token, fresh := t.current(refused); fresh {
			return token, nil // from a flight that has just landed
		}
		// The caller that came first may go while others wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		return t.renew(ctx)
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case result := <-done:
		if result.Err != nil && token != "" {
			return token, nil // early renewal failed, and the old one is still good
		}
		if result.Err != nil {
			return "", result.Err
		}
		return result.Val.(string), nil
	}
}

// current is the token that can still be used, "" if there is none, and whether it
// is not time to renew it.
func (t *spaceTokens) current(refused string) (token string, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.token == refused || !now.Before(t.endAt) {
		return "", false
	}
	return t.token, now.Before(t.renewAt)
}

// renew gets a token and keeps it.
func (t *spaceTokens) renew(ctx context.Context) (string, error) {
	asked := t.now() // its life began after that
	token, life, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.endAt = token, asked.Add(life)
	t.renewAt = t.endAt.Add(-min(spaceEarly, life/5))
	return token, nil
}

// fetch asks for a token by the client credentials grant (RFC 6749, section 4.4).
// A failure that may be gone at the next try is a *retryError, for Client.Get.
func (t *spaceTokens) fetch(ctx context.Context) (token string, life time.Duration, err error) {
	secret, err := t.secret()
	if err != nil {
		return "", 0, fmt.Errorf("space: ClientSecret: %w", err)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {t.scope}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	request.SetBasicAuth(t.clientID, secret)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "haptrail")
	response, err := t.http.Do(request)
	if err != nil {
		return "", 0, &retryError{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenReply))
	if err != nil {
		return "", 0, &retryError{err: fmt.Errorf("%s: the answer broke off: %w", t.endpoint, err)}
	}
	if response.StatusCode != http.StatusOK {
		return "", 0, t.refusal(response, body, secret)
	}
	var answer struct {
		Token   spaceText   `json:"access_token"`
		Seconds spaceNumber `json:"expires_in"`
	}
	if err := spaceDecode(body, &answer); err != nil {
		return "", 0, &retryError{err: fmt.Errorf("%s: %w", t.endpoint, err)}
	}
	if answer.Token == "" {
		return "", 0, fmt.Errorf("%s: %w: there is no access_token", t.endpoint, ErrMalformed)
	}
	if answer.Seconds <= 0 || int64(answer.Seconds) > int64(24*time.Hour/time.Second) {
		return string(answer.Token), spaceLifetime, nil
	}
	return string(answer.Token), time.Duration(answer.Seconds) * time.Second, nil
}

// refusal is the error of an answer without a token. What the server says of it is
// shown without our secret, should it repeat it.
func (t *spaceTokens) refusal(response *http.Response, body []byte, secret string) error {
	status := response.StatusCode
	err := fmt.Errorf("%s: %d%s", t.endpoint, status, spaceError(body, secret, response.Request.Header.Get("Authorization")))
	if status == http.StatusTooManyRequests || status >= 500 {
		return &retryError{err: err, after: retryAfter(response.Header), limited: status == http.StatusTooManyRequests}
	}
	return fmt.Errorf("space: %w: %w: %w: are client_id and client secret right, and is the application not archived?", errSpaceCredentials, ErrRefused, err)
}

// spaceError is ": code: description" of an error's body, in bounds and without
// what is secret; "" where there is none.
func spaceError(body []byte, secrets ...string) string {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" {
		return ""
	}
	for _, secret := range secrets {
		if secret != "" {
			said.Code = strings.ReplaceAll(said.Code, secret, "[redacted]")
			said.Description = strings.ReplaceAll(said.Description, secret, "[redacted]")
		}
	}
	return fmt.Sprintf(": %.40q: %.200q", said.Code, said.Description)
}
