package citest

import (
	"cmp"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Space is a fake JetBrains Space: the HTTP API below /api/http, /oauth/token, and
// webhooks (see Events and Sign). The exported fields are its world; change it
// between requests, or with Update.
type Space struct {
	Fake

	// ClientID and ClientSecret are the application's that may get tokens, which
	// live for TokenLife (0: ten minutes); PermanentToken is taken as it is.
	ClientID, ClientSecret, PermanentToken string
	TokenLife                              time.Duration
	// SigningKey signs webhooks by HMAC, Bearer and Basic authorize them.
	SigningKey, Bearer, BasicUser, BasicPassword string
	// Skew is how far the server's clock is ahead; Now is the clock, nil the real one.
	Skew time.Duration
	Now  func() time.Time
	// Old is a server without get-commit. OldestFirst lists against expectation.
	Old, OldestFirst bool
	// Deny are endpoints that answer 403: the path contains one of them.
	Deny []string

	Runs         []SpaceRun // in the order in which they were triggered
	Repositories []SpaceRepository
	Apps         []SpaceApp

	mu     sync.Mutex
	keys   []*rsa.PrivateKey // that sign, newest last
	tokens map[string]time.Time
	nexts  map[string]bool // handed out, as path and next
}

// SpaceRun is an execution. Status is the API's word; Trigger is the class of the
// webhook's trigger after "JobExecutionTrigger.".
type SpaceRun struct {
	ProjectID, ProjectKey, JobID, Job, ID, Repository, Branch, Commit, Status, Trigger, Actor string
	Number                                                                                    int64
	Queued, Started, Finished                                                                 time.Time
}

// SpaceRepository is a repository with its commits, newest first.
type SpaceRepository struct {
	ProjectKey, Name string
	Commits          []SpaceCommit
}

// SpaceCommit is a commit; Signature is a class after "GitCommitSignature.", ""
// where it has none.
type SpaceCommit struct {
	SHA, Message, Author, Email, Signature string
	At                                     time.Time
}

// SpaceApp is an application; Rights are those granted in a context.
type SpaceApp struct {
	ID, ClientID, Name, Owner, ProjectID, ProjectKey string
	Archived                                         bool
	Created, LastAccess                              time.Time
	Rights                                           map[string][]string // by "global" or a project's key
	Tokens                                           []SpaceToken
}

// SpaceToken is a permanent token of an application.
type SpaceToken struct {
	ID                         string
	Created, Expires, Accessed time.Time
}

// Update changes the world while requests come in.
func (s *Space) Update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// clock is the server's, right or not.
func (s *Space) clock() time.Time { return s.rightClock().Add(s.Skew) }

func (s *Space) rightClock() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// ServeHTTP answers as Space does.
func (s *Space) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Serve(w, r, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/oauth/token" {
			s.token(w, r)
			return
		}
		path, below := strings.CutPrefix(r.URL.Path, "/api/http/")
		switch {
		case !below || r.Method != http.MethodGet:
			s.Violate("%s %s: no such call", r.Method, r.URL.Path)
			spaceRefuse(w, http.StatusNotFound, "not-found", "no such call")
		case !s.authorized(r):
			spaceRefuse(w, http.StatusUnauthorized, "authentication-required", "Access token has expired")
		case slices.ContainsFunc(s.Deny, func(part string) bool { return strings.Contains(path, part) }):
			spaceRefuse(w, http.StatusForbidden, "permission-denied", "missing a right")
		default:
			s.api(w, r, path)
		}
	})
}

// spaceRefuse answers with an error as Space writes it.
func spaceRefuse(w http.ResponseWriter, status int, code, description string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
}

// token is the client credentials grant.
func (s *Space) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		s.Violate("token: %s %s", r.Method, r.Header.Get("Content-Type"))
	}
	if r.URL.RawQuery != "" {
		s.Violate("token: secrets do not belong in a query")
	}
	if r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") == "" {
		s.Violate("token: grant_type %q, scope %q", r.PostFormValue("grant_type"), r.PostFormValue("scope"))
	}
	if id, secret, ok := r.BasicAuth(); !ok || id != s.ClientID || secret != s.ClientSecret {
		spaceRefuse(w, http.StatusUnauthorized, "authentication-required", "bad client credentials "+secret)
		return
	}
	if s.tokens == nil {
		s.tokens = make(map[string]time.Time)
	}
	life := cmp.Or(s.TokenLife, 10*time.Minute)
	token := fmt.Sprintf("space-token-%d", len(s.tokens)+1)
	s.tokens[token] = s.clock().Add(life)
	spaceAnswer(w, map[string]any{"access_token": token, "expires_in": int(life.Seconds()), "token_type": "Bearer"})
}

// Revoke makes every token that was handed out invalid.
func (s *Space) Revoke() {
	s.Update(func() {
		for token := range s.tokens {
			s.tokens[token] = time.Time{}
		}
	})
}

func (s *Space) authorized(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		s.Violate("%s: no bearer token", r.URL.Path)
	}
	if r.Header.Get("Accept") != "application/json" {
		s.Violate("%s: Accept %q", r.URL.Path, r.Header.Get("Accept"))
	}
	return token == s.PermanentToken && token != "" || s.clock().Before(s.tokens[token])
}

// spaceCall is one call of the API: what its query may have, and what it answers.
type spaceCall struct {
	prefix, suffix string
	query          string // parameters beside $fields, $skip and $top, by blanks; those with ! are required
	paged, plain   bool   // plain: no $fields
	answer         func(s *Space, name string, q url.Values) any
}

// spaceCalls are those of the vendor's model that we know of. The part of the path
// between prefix and suffix is the name.
func spaceCalls() []spaceCall {
	return []spaceCall{
		{"projects/automation/graph-executions/", "", "", false, false, (*Space).execution},
		{"projects/", "/automation/graph-executions", "jobId!", true, false, (*Space).executions},
		{"projects/", "/get-commit", "commit!", false, false, (*Space).commit},
		{"projects/", "/commits", "query", true, false, (*Space).commits},
		{"applications/paged", "", "withArchived", true, false, (*Space).apps},
		{"applications/", "/public-keys", "", false, true, (*Space).publicKeys},
		{"applications/", "/authorizations/authorized-contexts", "", false, false, (*Space).contexts},
		{"applications/", "/authorizations/authorized-rights", "contextIdentifier!", false, false, (*Space).rights},
		{"applications/", "/last-client-credentials-access", "", false, false, (*Space).lastAccess},
		{"applications/", "/permanent-tokens", "", true, false, (*Space).permanentTokens},
	}
}

func (s *Space) api(w http.ResponseWriter, r *http.Request, path string) {
	for _, call := range spaceCalls() {
		name, starts := strings.CutPrefix(path, call.prefix)
		name, ends := strings.CutSuffix(name, call.suffix)
		if !starts || !ends {
			continue
		}
		q := r.URL.Query()
		if missing := s.check(call, path, q); missing != "" {
			spaceRefuse(w, http.StatusBadRequest, "validation-error", missing+" is required")
			return
		}
		answer := call.answer(s, name, q)
		if answer == nil {
			spaceRefuse(w, http.StatusNotFound, "not-found", "there is none")
			return
		}
		if rows, ok := answer.([]any); ok && call.paged {
			answer = s.page(path, rows, q)
		}
		if !call.plain {
			answer = spacePrune(spacePlain(answer), parseFields(q.Get("$fields")))
		}
		spaceAnswer(w, answer)
		return
	}
	s.Violate("%s: no such call", path)
	spaceRefuse(w, http.StatusNotFound, "not-found", "no such call")
}

// check holds a query against the documentation, and returns a parameter that is
// required and missing.
func (s *Space) check(call spaceCall, path string, q url.Values) string {
	allowed := strings.Fields(call.query)
	for _, name := range allowed {
		if base, required := strings.CutSuffix(name, "!"); required && q.Get(base) == "" {
			s.Violate("%s: %s is required", path, base)
			return base
		}
	}
	if !call.plain && q.Get("$fields") == "" {
		s.Violate("%s: without $fields nested values do not come", path)
	}
	for name := range q {
		switch {
		case name == "$fields" && !call.plain, slices.Contains(allowed, name), slices.Contains(allowed, name+"!"):
		case call.paged && (name == "$top" || name == "$skip"):
		default:
			s.Violate("%s: no parameter %s", path, name)
		}
	}
	return ""
}

// page is the part of a list that was asked for. $skip has to be a next that was
// handed out.
func (s *Space) page(path string, rows []any, q url.Values) any {
	top, err := strconv.Atoi(q.Get("$top"))
	if err != nil || top < 1 || top > 100 {
		s.Violate("%s: $top %q", path, q.Get("$top"))
		top = 100
	}
	skip := 0
	if text := q.Get("$skip"); text != "" {
		if !s.nexts[path+" "+text] {
			s.Violate("%s: $skip %q is no next of ours", path, text)
		}
		skip, _ = strconv.Atoi(text)
	}
	skip = min(skip, len(rows))
	end := min(skip+top, len(rows))
	next := strconv.Itoa(end) // also after the last page, which is then empty
	if s.nexts == nil {
		s.nexts = make(map[string]bool)
	}
	s.nexts[path+" "+next] = true
	return map[string]any{"next": next, "totalCount": len(rows), "data": rows[skip:end]}
}

func spaceAnswer(w http.ResponseWriter, value any) {
	_ = json.NewEncoder(w).Encode(value)
}

// publicKeys is a JSON string that holds a key set.
func (s *Space) publicKeys(name string, _ url.Values) any {
	if name != "clientId:"+s.ClientID {
		s.Violate("public-keys of %q", name)
		return nil
	}
	list := []any{map[string]string{"kty": "EC", "kid": "not-ours", "crv": "P-256", "x": "AA", "y": "AA"}}
	for i, key := range s.keys {
		list = append(list, map[string]string{
			"kty": "RSA", "use": "sig", "kid": strconv.Itoa(i), "alg": "RS512",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		})
	}
	text, _ := json.Marshal(map[string]any{"keys": list})
	return string(text)
}
