package embedded

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// User may use an endpoint.
type User struct {
	Name     string
	Password string
	// ReadOnly allows only statements that leave no trace, on the tables alone:
	// no files, no network, nobody else's statements (see gate.go). Other users
	// get the same for a request with the setting readonly=1 or 2 in its URL.
	ReadOnly bool
}

// Access says who may use a handler. Without users anyone may, with full
// rights: only for handlers that are guarded otherwise, such as a unix socket
// of mode 0600.
type Access struct {
	Users []User
}

// rights are what a request may do.
type rights uint8

const (
	rightsAll  rights = iota
	rightsGet         // GET by someone with all rights: reads, as ClickHouse has it
	rightsRead        // a read-only user, or one who asks to be treated as such
)

// admit authenticates a request as ClickHouse does: by the headers
// X-ClickHouse-User and -Key, basic authentication, or the URL parameters user
// and password, in this order.
func (a Access) admit(r *http.Request) (rights, error) {
	if len(a.Users) == 0 {
		return rightsAll, nil
	}
	name, password, given := credentials(r)
	if !given {
		return 0, refuse(codeRequiredPassword, "REQUIRED_PASSWORD", "user and password are required")
	}
	wantName, wantPassword := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(password))
	var found *User
	for i := range a.Users { // all of them, so that the time taken tells nothing
		user := &a.Users[i]
		hasName, hasPassword := sha256.Sum256([]byte(user.Name)), sha256.Sum256([]byte(user.Password))
		if subtle.ConstantTimeCompare(wantName[:], hasName[:])&subtle.ConstantTimeCompare(wantPassword[:], hasPassword[:]) == 1 {
			found = user
		}
	}
	switch {
	case found == nil:
		return 0, refuse(codeAuthentication, "AUTHENTICATION_FAILED", "%s: Authentication failed: password is incorrect, or there is no user with such name.", name)
	case found.ReadOnly:
		return rightsRead, nil
	}
	return rightsAll, nil
}

func credentials(r *http.Request) (name, password string, given bool) {
	if name = r.Header.Get("X-ClickHouse-User"); name != "" {
		return name, r.Header.Get("X-ClickHouse-Key"), true
	}
	if name, password, ok := r.BasicAuth(); ok {
		return name, password, true
	}
	query := r.URL.Query()
	return query.Get("user"), query.Get("password"), query.Has("user")
}
