package keys

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Bounds of a fetch.
const (
	maxBody      = 1 << 20 // bytes; a set of 64 keys is 50 kB
	maxRedirects = 3
	dialTimeout  = 5 * time.Second
)

// answer is a key set as it was fetched.
type answer struct {
	body               []byte
	notModified        bool // then there is no body
	etag, lastModified string
}

// fetcher gets one key set, once.
type fetcher struct {
	tls *tls.Config
	url *url.URL
	// elsewhere are the hosts, with port, that a redirect led to.
	elsewhere map[string]bool
}

// fetch gets a key set. known is what the server named the last one's version; a
// set with the same name is not sent again.
func (s *Store) fetch(ctx context.Context, address string, known answer) (answer, error) {
	target, err := parseURL(address)
	if err != nil {
		return answer{}, err
	}
	if target.Scheme == "file" {
		return readFile(target.Path)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no whole answer within %v", s.timeout))
	defer cancel()
	f := &fetcher{tls: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}, url: target, elsewhere: make(map[string]bool)}
	got, err := f.get(ctx, known)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", address, err)
	}
	return got, nil
}

// parseURL reads a Source's URL and refuses one that is not to be fetched from.
func parseURL(address string) (*url.URL, error) {
	if path, ok := strings.CutPrefix(address, "file:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("key set %q: write file: and an absolute path", address)
		}
		return &url.URL{Scheme: "file", Path: path}, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("key set %q: this is no URL: write https://HOST/PATH, or file:PATH", address)
	}
	if u.User != nil {
		return nil, fmt.Errorf("key set %s: a key set is public: take the user name out of the URL", u.Redacted())
	}
	return u, allowScheme(u)
}

// allowScheme refuses a URL whose answer somebody on the way could write.
func allowScheme(u *url.URL) error {
	switch {
	case u.Scheme == "https", u.Scheme == "http" && loopbackName(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("key set %s: anybody on the way could put his own key in: use https (http is for a loopback host only)", u)
	}
	return fmt.Errorf("key set %s: use https, or file:PATH", u)
}

// loopbackName reports whether a URL's host is this machine. What localhost
// resolves to is looked at when it is dialled.
func loopbackName(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// readFile reads a key set that somebody else keeps fresh.
func readFile(path string) (answer, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would wait for a writer
	if err != nil {
		return answer{}, err
	}
	if !info.Mode().IsRegular() {
		return answer{}, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return answer{}, err
	}
	defer file.Close()
	body, err := readBody(file)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", path, err)
	}
	return answer{body: body}, nil
}

func readBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("more than %d bytes: is this the right URL?", maxBody)
	}
	return body, nil
}

func (f *fetcher) get(ctx context.Context, known answer) (answer, error) {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // never asked for a loopback host
		DialContext:            f.dial,
		TLSClientConfig:        f.tls,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
		DisableCompression:     true, // a bound on bytes means those that were sent
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: f.follow}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url.String(), nil)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "haptrail")
	conditional := known.etag != "" || known.lastModified != ""
	if known.etag != "" {
		request.Header.Set("If-None-Match", known.etag)
	}
	if known.lastModified != "" {
		request.Header.Set("If-Modified-Since", known.lastModified)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotModified && conditional {
		return answer{notModified: true, etag: known.etag, lastModified: known.lastModified}, nil
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("the answer is %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	body, err := readBody(response.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{body: body, etag: validator(response, "ETag"), lastModified: validator(response, "Last-Modified")}, nil
}

// validator is a header that is sent back with the next request; one of a
// strange length is not.
func validator(response *http.Response, name string) string {
	if value := response.Header.Get(name); len(value) <= 256 {
		return value
	}
	return ""
}

// withoutURL takes away what http.Client puts before an error: fetch names the
// URL, once.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// follow allows a redirect or says why not. The scheme stays: an issuer's key set
// does not move between the safe and the unsafe, nor from another machine to ours.
func (f *fetcher) follow(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects: configure the URL that they lead to", maxRedirects)
	}
	if next.URL.Scheme != f.url.Scheme {
		return fmt.Errorf("a redirect from %s to %s is not followed: configure the URL that it leads to", f.url.Scheme, next.URL.Redacted())
	}
	if next.URL.User != nil || strings.ContainsFunc(next.URL.Host, func(r rune) bool { return r >= 0x80 }) {
		return errors.New("a redirect to a URL with a user name, or a host outside ASCII, is not followed")
	}
	if err := allowScheme(next.URL); err != nil {
		return fmt.Errorf("after a redirect: %w", err)
	}
	if !strings.EqualFold(next.URL.Hostname(), f.url.Hostname()) {
		f.elsewhere[hostPort(next.URL)] = true
	}
	return nil
}

// hostPort is the address that http.Transport dials for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dial looks at the address that a name has become: plain http stays on this
// machine, and a redirect to another host does not lead into a network that its
// sender cannot reach himself.
func (f *fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		ip := at.Addr().Unmap()
		switch {
		case f.url.Scheme == "http" && !ip.IsLoopback():
			return fmt.Errorf("plain http to %s, which is not this machine: use https", ip)
		case f.url.Scheme == "https" && f.elsewhere[address] && !public(ip):
			return fmt.Errorf("a redirect to %s leads to %s, an address that is not public: configure the URL that it leads to", address, ip)
		}
		return nil
	}}
	return dialer.DialContext(ctx, network, address)
}

// sharedSpace is used behind carriers' address translation (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether an address is one of the internet's.
func public(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedSpace.Contains(ip)
}
