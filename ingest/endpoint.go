package ingest

// appendEndpoint appends the template of a path: segments that look like ids
// are replaced by what they are, so that requests to one kind of thing share an
// endpoint.
//
//	/builds/118/log            -> /builds/{n}/log
//	/packages/app/1.8.2        -> /packages/app/{version}
//	/blobs/9f31…4485           -> /blobs/{hex}
//	/users/6f1c…-…-…           -> /users/{uuid}
func appendEndpoint(dst, path []byte) []byte {
	for len(path) > 0 {
		if path[0] == '/' {
			dst = append(dst, '/')
			path = path[1:]
			continue
		}
		end := 0
		var s segment
		for end < len(path) && path[end] != '/' {
			s.count[classes[path[end]]]++
			end++
		}
		if name := s.template(path[:end]); name != "" {
			dst = append(dst, name...)
		} else {
			dst = append(dst, path[:end]...)
		}
		path = path[end:]
	}
	return dst
}

// The classes of bytes that tell ids from names.
const (
	classOther = iota
	classDigit
	classHex // a-f, A-F
	classDot
	classDash
	numClasses
)

var classes = func() (c [256]uint8) {
	for b := '0'; b <= '9'; b++ {
		c[b] = classDigit
	}
	for _, b := range "abcdefABCDEF" {
		c[b] = classHex
	}
	c['.'], c['-'] = classDot, classDash
	return c
}()

type segment struct{ count [numClasses]uint16 }

const (
	shortestHex = 7  // an abbreviated git hash
	longestName = 64 // nothing that people name is longer
)

func (s *segment) template(v []byte) string {
	n, digits := len(v), int(s.count[classDigit])
	if digits == 0 {
		if n > longestName {
			return "{id}"
		}
		return ""
	}
	hex := digits + int(s.count[classHex])
	switch {
	case digits == n:
		return "{n}"
	case n == 36 && hex == 32 && s.count[classDash] == 4 && isUUID(v):
		return "{uuid}"
	case hex == n && n >= shortestHex:
		return "{hex}"
	case s.count[classDot] > 0 && isVersion(v):
		return "{version}"
	case n > longestName:
		return "{id}"
	}
	return ""
}

func isUUID(v []byte) bool {
	return v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-'
}

// isVersion: an optional v, numbers between dots, then perhaps a pre-release or
// build part behind - or + (semver.org, items 2, 9 and 10).
func isVersion(v []byte) bool {
	if v[0] == 'v' {
		v = v[1:]
	}
	dots, digits := 0, 0
	for _, b := range v {
		switch {
		case b >= '0' && b <= '9':
			digits++
		case b == '.' && digits > 0:
			dots++
			digits = 0
		case (b == '-' || b == '+') && digits > 0:
			return dots > 0
		default:
			return false
		}
	}
	return dots > 0 && digits > 0
}
