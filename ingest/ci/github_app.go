package ci

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// GitHubApp is a GitHub App that is installed where the repositories are: see
// "Authenticating as a GitHub App installation" in GitHub's documentation.
type GitHubApp struct {
	ID           string // the app's id or client id
	Installation string // the installation's id, in digits
	Key          Secret // the app's private key: RSA, PEM, PKCS #1 as GitHub gives it or PKCS #8
}

// Times of an app's tokens. GitHub takes a JWT for 10 minutes at most, and gives
// installation tokens for an hour.
const (
	githubJWTBack  = time.Minute     // issued so long ago, for clocks that differ
	githubJWTLife  = 9 * time.Minute // from now
	githubRenewal  = 5 * time.Minute // before the end
	githubMinSkew  = 5 * time.Second // of a Date header: less is its rounding
	githubLifeless = time.Minute     // of a token that does not say how long it lives
)

// githubApp gets installation tokens, and keeps each while it is good.
type githubApp struct {
	GitHubApp
	client Client

	mu      sync.Mutex // held while a token is asked for, so that one is
	current string
	until   time.Time     // by our clock: when to ask for another
	skew    time.Duration // GitHub's clock less ours, as far as it had to be known
}

func newGitHubApp(config GitHubApp, client Client) (*githubApp, error) {
	switch {
	case config.ID == "":
		return nil, errors.New("id: missing: write the app's id or client id")
	case !isNumber(config.Installation):
		return nil, fmt.Errorf("installation: %q is not the digits at the end of the installation's URL", config.Installation)
	case config.Key == nil:
		return nil, errors.New("key: missing: the app's private key, as PEM")
	}
	client.Authorize = nil // each call has its own JWT
	return &githubApp{GitHubApp: config, client: client}, nil
}

// token is an installation token. fresh: the last one was refused.
func (a *githubApp) token(ctx context.Context, fresh bool) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !fresh && a.current != "" && time.Now().Before(a.until) {
		return a.current, nil
	}
	a.current = ""
	answer, header, err := a.ask(ctx)
	if errors.Is(err, ErrRefused) && a.measure(header) {
		answer, header, err = a.ask(ctx) // GitHub refuses a JWT from the future
	}
	if err != nil {
		return "", fmt.Errorf("app: %w", err)
	}
	if answer.Token == "" {
		return "", fmt.Errorf("app: %w: the answer has no token", ErrMalformed)
	}
	a.measure(header)
	life := answer.Expires.Sub(time.Now().Add(a.skew))
	if answer.Expires.IsZero() || life <= githubRenewal {
		life = githubRenewal + githubLifeless
	}
	a.current, a.until = answer.Token, time.Now().Add(life-githubRenewal)
	return a.current, nil
}

type githubToken struct {
	Token   string     `json:"token"`
	Expires githubTime `json:"expires_at"`
}

// ask asks for an installation token once, tries aside.
func (a *githubApp) ask(ctx context.Context) (githubToken, http.Header, error) {
	signed, err := a.sign(time.Now().Add(a.skew))
	if err != nil {
		return githubToken{}, nil, err
	}
	client := a.client
	client.Authorize = func(_ context.Context, r *http.Request, _ bool) error {
		githubHeaders(r)
		r.Header.Set("Authorization", "Bearer "+signed)
		return nil
	}
	var answer githubToken
	header, err := client.call(ctx, http.MethodPost, "app/installations/"+a.Installation+"/access_tokens", nil, &answer)
	return answer, header, err
}

// measure compares GitHub's clock with ours, and reports whether that was news.
func (a *githubApp) measure(h http.Header) bool {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return false
	}
	before := a.skew
	a.skew = time.Until(at)
	if a.skew.Abs() < githubMinSkew {
		a.skew = 0
	}
	return (a.skew - before).Abs() > githubMinSkew
}

// sign makes the app's JWT (RS256).
func (a *githubApp) sign(now time.Time) (string, error) {
	text, err := a.Key()
	if err != nil {
		return "", fmt.Errorf("app key: %w", err)
	}
	key, err := rsaKey(text)
	if err != nil {
		return "", fmt.Errorf("app key: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("app key: %w", err)
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: a.ID, IssuedAt: jwt.NewNumericDate(now.Add(-githubJWTBack)), Expiry: jwt.NewNumericDate(now.Add(githubJWTLife)),
	}).Serialize()
}

// rsaKey reads a private key. Its errors hold nothing of it.
func rsaKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil {
		return nil, errors.New("this is no PEM: write the file that GitHub gave for the app")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("a PEM block %q that is no RSA private key without a password", block.Type)
	}
	return key, nil
}
