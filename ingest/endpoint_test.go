package ingest

import "testing"

func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/", "/"},
		{"", ""},
		{"/health", "/health"},
		{"/builds/118/log", "/builds/{n}/log"},
		{"/builds//118/", "/builds//{n}/"},
		{"/packages/app/1.8.2", "/packages/app/{version}"},
		{"/packages/app/v2.0.0-rc.1+b5/x", "/packages/app/{version}/x"},
		{"/packages/left-pad-1.3.0.tgz", "/packages/left-pad-1.3.0.tgz"},
		{"/blobs/9f31c07f0a3344857766aa", "/blobs/{hex}"},
		{"/blobs/deadbeef", "/blobs/deadbeef"}, // a word, as far as one can tell
		{"/commit/3f9c1d7", "/commit/{hex}"},
		{"/users/6f1c2a0e-8d3b-4c55-9a10-0123456789ab", "/users/{uuid}"},
		{"/users/6f1c2a0e-8d3b-4c55-9a10-0123456789ag", "/users/6f1c2a0e-8d3b-4c55-9a10-0123456789ag"},
		{"/api/v2/x", "/api/v2/x"},
		{"/2026.11.23/x", "/{version}/x"},
		{"relative/7", "relative/{n}"},
		{"/x1." + "/..7", "/x1./..7"},
		{"/t/" + longName(65), "/t/{id}"},
		{"/t/" + longName(64), "/t/" + longName(64)},
	} {
		if have := string(appendEndpoint(nil, []byte(c.path))); have != c.want {
			t.Errorf("%q: have %q, want %q", c.path, have, c.want)
		}
	}
}

func longName(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}
