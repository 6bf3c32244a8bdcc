package logformat

import "bytes"

// badRequest is what HAProxy writes for a request that it could not parse.
const badRequest = "<BADREQ>"

// setRequest stores the parts of %r for which the format has no item of their
// own: the first word is the method, the last one the version when it begins
// with HTTP/, and the rest the URI. A request line that was cut at
// tune.http.logurilen has no version.
func (r *Record) setRequest(v []byte) {
	if string(v) == badRequest {
		return
	}
	method, uri, ok := cutByte(v, ' ')
	r.fill(Method, method)
	if !ok {
		return
	}
	if k := bytes.LastIndexByte(uri, ' '); k >= 0 && isVersion(uri[k+1:]) {
		r.fill(HTTPVersion, uri[k+1:])
		uri = uri[:k]
	}
	r.fill(URI, uri)
}

// cutRequest stores the parts of a %r that the end of the line cut.
func (r *Record) cutRequest(v []byte) {
	method, uri, ok := cutByte(v, ' ')
	if !ok || string(v[:min(len(v), len(badRequest))]) == badRequest {
		return
	}
	r.fill(Method, method)
	if k := bytes.LastIndexByte(uri, ' '); k >= 0 {
		if version := uri[k+1:]; isVersion(version) && len(version) == len("HTTP/1.1") {
			r.fill(HTTPVersion, version)
			r.fill(URI, uri[:k])
			return
		} else if n := min(len(version), len("HTTP/")); string(version[:n]) == "HTTP/"[:n] {
			r.fill(URI, uri[:k])
			return
		}
	}
	if r.fill(URI, decodeHash.whole(uri)) {
		r.Cut = URI
	}
}

func isVersion(v []byte) bool {
	return len(v) >= 5 && string(v[:5]) == "HTTP/"
}

// fill stores an encoded value in a field that has none yet.
func (r *Record) fill(f Field, v []byte) bool {
	if len(v) == 0 || r.Has(f) {
		return false
	}
	r.setText(f, r.decoded(decodeHash, v))
	return true
}

// derive fills Path, Query and Host from the URI where the format has no item
// of their own. A request in absolute form (HTTP/2, proxies) names its host;
// so does CONNECT.
func (r *Record) derive() {
	if r.Has(Path) {
		r.relativePath()
	}
	if !r.Has(URI) {
		return
	}
	uri := r.Text[URI]
	if uri[0] != '/' {
		if r.Has(Method) && string(r.Text[Method]) == "CONNECT" {
			r.setHost(uri)
			return
		}
		authority, path, ok := splitAbsolute(uri)
		if !ok {
			return
		}
		r.setHost(authority)
		uri = path
	}
	path, query := uri, []byte(nil)
	if k := bytes.IndexByte(uri, '?'); k >= 0 {
		path, query = uri[:k], uri[k:]
	}
	if !r.Has(Path) {
		if len(path) == 0 {
			path = rootPath
		}
		r.setText(Path, path)
	}
	if len(query) > 1 && !r.Has(Query) {
		r.setText(Query, query)
	}
}

var rootPath = []byte("/")

// relativePath makes %HP of a request in absolute form what %HPO is.
func (r *Record) relativePath() {
	p := r.Text[Path]
	if p[0] == '/' {
		return
	}
	if authority, path, ok := splitAbsolute(p); ok {
		r.setHost(authority)
		if len(path) == 0 {
			path = rootPath
		}
		r.Text[Path] = path
	}
}

// setHost stores an authority without its user information.
func (r *Record) setHost(authority []byte) {
	if k := bytes.LastIndexByte(authority, '@'); k >= 0 {
		authority = authority[k+1:]
	}
	if len(authority) > 0 && !r.Has(Host) {
		r.setText(Host, authority)
	}
}

// splitAbsolute splits "http://host:port/path?query" behind the authority.
func splitAbsolute(uri []byte) (authority, rest []byte, ok bool) {
	k := bytes.Index(uri, []byte("://"))
	if k <= 0 || bytes.IndexByte(uri[:k], '/') >= 0 || bytes.IndexByte(uri[:k], '?') >= 0 {
		return nil, nil, false
	}
	authority = uri[k+3:]
	if end := bytes.IndexAny(authority, "/?"); end >= 0 {
		return authority[:end], authority[end:], true
	}
	return authority, nil, true
}

func cutByte(v []byte, sep byte) (before, after []byte, found bool) {
	if k := bytes.IndexByte(v, sep); k >= 0 {
		return v[:k], v[k+1:], true
	}
	return v, nil, false
}
