package ci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scripted is what a server says to one request.
type scripted struct {
	status int
	header map[string]string
	body   string
}

// script is a server that gives these answers in turn, the last one for ever, and
// what it was asked.
func script(t *testing.T, answers ...scripted) (base string, asked *[]*http.Request) {
	t.Helper()
	asked = new([]*http.Request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answers[min(len(*asked), len(answers)-1)]
		*asked = append(*asked, r)
		for name, value := range a.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		fmt.Fprint(w, a.body)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestClientTries(t *testing.T) {
	ok := scripted{status: 200, body: `{"n":1}`}
	no := func(status int, pairs ...string) scripted {
		a := scripted{status: status, header: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			a.header[pairs[i]] = pairs[i+1]
		}
		return a
	}
	words := func(status int, body string) scripted { return scripted{status: status, body: body} }
	// The server's clock is two hours ahead: only differences to its Date count.
	theirs := time.Now().Add(2 * time.Hour)
	date, in := theirs.UTC().Format(http.TimeFormat), func(d time.Duration) string { return strconv.FormatInt(theirs.Add(d).Unix(), 10) }
	for name, row := range map[string]clientCase{
		"good":                        {answers: []scripted{ok}, asked: 1, limit: -1},
		"made":                        {answers: []scripted{words(201, `{"n":1}`)}, asked: 1, limit: -1},
		"500, 502, good":              {answers: []scripted{no(500), no(502), ok}, pauses: []time.Duration{1e9, 2e9}, asked: 3, limit: -1},
		"always 500":                  {answers: []scripted{no(500)}, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}, asked: 5, want: errOther, limit: -1},
		"503, soon":                   {answers: []scripted{no(503, "Retry-After", "20"), ok}, pauses: []time.Duration{20e9}, asked: 2, limit: -1},
		"503, much later":             {answers: []scripted{no(503, "Retry-After", "600")}, asked: 1, limit: 10 * time.Minute},
		"429, soon":                   {answers: []scripted{no(429, "Retry-After", "3"), ok}, pauses: []time.Duration{3e9}, asked: 2, limit: -1},
		"429, at once":                {answers: []scripted{no(429, "Retry-After", "0"), ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"429, no word":                {answers: []scripted{no(429)}, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}, asked: 5, limit: 0},
		"429, nonsense":               {answers: []scripted{no(429, "Retry-After", "soon"), ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"429, negative":               {answers: []scripted{no(429, "Retry-After", "-5"), ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"429, longer than time lasts": {answers: []scripted{no(429, "Retry-After", "99999999999")}, asked: 1, limit: maxWait},
		"429, at a date":              {answers: []scripted{no(429, "Date", date, "Retry-After", theirs.Add(30*time.Second).UTC().Format(http.TimeFormat)), ok}, pauses: []time.Duration{30e9}, asked: 2, limit: -1},
		"429, at a date in the past":  {answers: []scripted{no(429, "Date", date, "Retry-After", theirs.Add(-time.Hour).UTC().Format(http.TimeFormat)), ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"limit, reset soon":           {answers: []scripted{no(403, "Date", date, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", in(40*time.Second)), ok}, pauses: []time.Duration{40e9}, asked: 2, limit: -1},
		"limit, reset later":          {answers: []scripted{no(403, "Date", date, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", in(45*time.Minute))}, asked: 1, limit: 45 * time.Minute},
		"limit, reset never":          {answers: []scripted{no(429, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "9223372036854775807")}, asked: 1, limit: maxWait},
		"calls are left":              {answers: []scripted{no(403, "X-RateLimit-Remaining", "17", "X-RateLimit-Reset", in(time.Hour))}, asked: 1, want: ErrRefused, limit: -1},
		"secondary limit, in words":   {answers: []scripted{words(403, `{"message":"You have exceeded a secondary rate limit"}`), ok}, pauses: []time.Duration{60e9}, asked: 2, limit: -1},
		"403":                         {answers: []scripted{words(403, `{"message":"Resource not accessible"}`)}, asked: 1, want: ErrRefused, limit: -1},
		"401, then good":              {answers: []scripted{no(401), ok}, asked: 2, limit: -1},
		"401, 500, good":              {answers: []scripted{no(401), no(500), ok}, pauses: []time.Duration{1e9}, asked: 3, limit: -1},
		"401 twice":                   {answers: []scripted{no(401)}, asked: 2, want: ErrRefused, limit: -1},
		"404":                         {answers: []scripted{no(404)}, asked: 1, want: ErrNotFound, limit: -1},
		"410":                         {answers: []scripted{no(410)}, asked: 1, want: ErrNotFound, limit: -1},
		"400":                         {answers: []scripted{no(400)}, asked: 1, want: errOther, limit: -1},
		"204":                         {answers: []scripted{no(204)}, asked: 1, want: errOther, limit: -1},
		"cut, then good":              {answers: []scripted{words(200, `{"n":`), ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"always cut":                  {answers: []scripted{words(200, `{"n":`)}, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}, asked: 5, want: ErrMalformed, limit: -1},
		"cut in HTTP":                 {answers: []scripted{{status: 200, header: map[string]string{"Content-Length": "99"}, body: `{"n":1}`}, ok}, pauses: []time.Duration{1e9}, asked: 2, limit: -1},
		"nothing":                     {answers: []scripted{words(200, "")}, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}, asked: 5, want: ErrMalformed, limit: -1},
		"a wrong type stays so":       {answers: []scripted{words(200, `{"n":"very secret"}`)}, asked: 1, want: ErrMalformed, limit: -1},
		"a bomb":                      {answers: []scripted{words(200, strings.Repeat("[", 100_000))}, pauses: []time.Duration{1e9, 2e9, 4e9, 8e9}, asked: 5, want: ErrMalformed, limit: -1},
		"too long":                    {answers: []scripted{words(200, strings.Repeat(" ", maxReply+1))}, asked: 1, want: ErrMalformed, limit: -1},
	} {
		t.Run(name, func(t *testing.T) {
			row.check(t, strings.HasPrefix(name, "401"))
		})
	}
}

// clientCase is what a server answers, and what a Client makes of it.
type clientCase struct {
	answers []scripted
	pauses  []time.Duration
	asked   int
	want    error         // nil: none; errOther: one without a name
	limit   time.Duration // of a LimitError; -1: none
}

// check calls once. renewed: the credentials were asked for anew, once.
func (row clientCase) check(t *testing.T, renewed bool) {
	t.Helper()
	base, asked := script(t, row.answers...)
	var pauses []time.Duration
	var fresh []bool
	client := Client{Base: base, Pause: func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil },
		Authorize: func(_ context.Context, r *http.Request, f bool) error { fresh = append(fresh, f); return nil }}
	var into struct {
		N int `json:"n"`
	}
	_, err := client.Get(t.Context(), "a", nil, &into)
	limit := new(LimitError)
	switch is := errors.As(err, &limit); {
	case is != (row.limit >= 0) || is && limit.After != row.limit:
		t.Errorf("limit %+v, want %v: %v", limit, row.limit, err)
	case !is && row.want == nil && (err != nil || into.N != 1):
		t.Errorf("%+v, %v", into, err)
	case row.want != nil && (err == nil || row.want != errOther && !errors.Is(err, row.want)):
		t.Errorf("have %v, want %v", err, row.want)
	}
	if err != nil && (!strings.Contains(err.Error(), base) || strings.Contains(err.Error(), "very secret")) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(pauses, row.pauses) || len(*asked) != row.asked {
		t.Errorf("pauses %v, want %v; asked %d times, want %d", pauses, row.pauses, len(*asked), row.asked)
	}
	renewals := 0
	for _, f := range fresh {
		if f {
			renewals++
		}
	}
	if renewed != (renewals == 1) || renewals > 1 {
		t.Errorf("credentials were renewed %d times", renewals)
	}
}

var errOther = errors.New("an error without a name")

func TestClientTarget(t *testing.T) {
	base, asked := script(t, scripted{status: 200, body: `{}`})
	base += "/api/v3"
	client := Client{Base: base}
	for path, want := range map[string]string{
		"repos/a": "/api/v3/repos/a?q=1", "/repos/a": "/api/v3/repos/a?q=1", base + "/repos/a": "/api/v3/repos/a?q=1", "a?page=2": "/api/v3/a?page=2&q=1",
		"a/b%2Fc": "/api/v3/a/b%2Fc?q=1", "key:X/y": "/api/v3/key:X/y?q=1",
	} {
		if _, err := client.Get(t.Context(), path, url.Values{"q": {"1"}}, new(any)); err != nil {
			t.Fatal(err)
		}
		last := (*asked)[len(*asked)-1]
		if have := last.URL.RequestURI(); have != want {
			t.Errorf("%s: asked for %s, want %s", path, have, want)
		}
		if last.Header.Get("User-Agent") == "" || last.Header.Get("Accept") == "" {
			t.Errorf("%v", last.Header)
		}
	}
	before := len(*asked)
	for _, elsewhere := range []string{"http://localhost:1/x", strings.TrimSuffix(base, "/v3") + "/other", base + ".example.com/x", "https://example.com/"} {
		if _, err := client.Get(t.Context(), elsewhere, nil, new(any)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", elsewhere, err)
		}
	}
	if len(*asked) != before {
		t.Error("asked for what is not below the base")
	}
}

// A header with a token of its own goes to no other host.
func TestClientRedirects(t *testing.T) {
	var leaked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = append(leaked, r.Header.Get("Private-Token"))
		fmt.Fprint(w, `{}`)
	}))
	defer elsewhere.Close()
	home := httptest.NewServer(nil)
	defer home.Close()
	home.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			http.Redirect(w, r, elsewhere.URL+"/x", http.StatusMovedPermanently)
		case "/renamed":
			http.Redirect(w, r, "/new", http.StatusMovedPermanently)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		default:
			fmt.Fprintf(w, `{"token":%q}`, r.Header.Get("Private-Token"))
		}
	})
	tries := 0
	for _, custom := range []*http.Client{nil, {Timeout: time.Minute}} {
		client := Client{Base: home.URL, HTTP: custom, Pause: func(context.Context, time.Duration) error { tries++; return nil },
			Authorize: func(_ context.Context, r *http.Request, _ bool) error {
				r.Header.Set("Private-Token", "very secret")
				return nil
			}}
		for _, path := range []string{"out", "round"} {
			if _, err := client.Get(t.Context(), path, nil, new(any)); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "very secret") {
				t.Errorf("%s: %v", path, err)
			}
		}
		var into struct{ Token string }
		if _, err := client.Get(t.Context(), "renamed", nil, &into); err != nil || into.Token != "very secret" {
			t.Errorf("%+v, %v", into, err)
		}
	}
	if len(leaked) != 0 || tries != 0 {
		t.Errorf("%q went elsewhere, %d tries", leaked, tries)
	}
}

func TestClientStops(t *testing.T) {
	base, asked := script(t, scripted{status: 500})
	ctx, cancel := context.WithCancel(t.Context())
	client := Client{Base: base, Pause: func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }}
	if _, err := client.Get(ctx, "a", nil, new(any)); !errors.Is(err, context.Canceled) || len(*asked) != 1 {
		t.Errorf("%v after %d requests", err, len(*asked))
	}
	if _, err := client.Get(ctx, "a", nil, new(any)); !errors.Is(err, context.Canceled) || len(*asked) != 1 {
		t.Errorf("%v after %d requests", err, len(*asked))
	}
	broken := errors.New("no key")
	client = Client{Base: base, Authorize: func(context.Context, *http.Request, bool) error { return broken }}
	if _, err := client.Get(t.Context(), "a", nil, new(any)); !errors.Is(err, broken) || len(*asked) != 1 {
		t.Errorf("%v after %d requests", err, len(*asked))
	}
	tries := 0
	client = Client{Base: "http://127.0.0.1:1", Pause: func(context.Context, time.Duration) error { tries++; return nil }}
	if _, err := client.Get(t.Context(), "a", nil, new(any)); err == nil || tries != maxTries-1 {
		t.Errorf("nobody listens: %v after %d pauses", err, tries)
	}
}

// Links as RFC 8288 has them, and as they should not be.
func TestGitHubNext(t *testing.T) {
	for header, want := range map[string]string{
		``: "", `<https://x/a?page=2>; rel="next"`: "https://x/a?page=2", `<https://x/1>; rel="first", <https://x/2>; rel="next"`: "https://x/2",
		`<https://x/1>; rel="prev",<https://x/2?a=1,2;3>;rel=next`: "https://x/2?a=1,2;3", `<https://x/1>; title="next"; rel="last"`: "",
		`<https://x/1>; REL="last next"`: "https://x/1", `<https://x/1>; rel="nextish"`: "", `<https://x/1; rel="next"`: "", `https://x/1; rel="next"`: "", `<>; rel="next"`: "", `<<>>`: "",
	} {
		if have := githubNext(http.Header{"Link": {header}}); have != want {
			t.Errorf("%s: %q, want %q", header, have, want)
		}
	}
	if have := githubNext(http.Header{"Link": {`<a>; rel="prev"`, `<b>; rel="next"`}}); have != "b" {
		t.Errorf("two headers: %q", have)
	}
}

func TestRecent(t *testing.T) {
	r := recent[int, int]{limit: 100}
	for i := range 1000 {
		r.put(i, -i)
		for _, back := range []int{0, 50, 99} {
			if value, ok := r.get(i - back); i >= back && (!ok || value != back-i) {
				t.Fatalf("%d forgot %d", i, i-back)
			}
		}
		if len(r.young)+len(r.old) > 200 {
			t.Fatalf("%d and %d are remembered", len(r.young), len(r.old))
		}
	}
	if _, ok := r.get(500); ok {
		t.Error("nothing is forgotten")
	}
}
