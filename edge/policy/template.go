package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// template is a compiled path template:
//
//	/releases/*               "*" is at least one byte, and never "/"
//	/files/v*.zip             also inside a segment
//	/artifacts/{project}/**   the caller's own project, which may hold "/";
//	                          "**" stands last, for "/artifacts/p/" and all beneath
//
// It is compared with the path decoded once. Everything else is compared byte by
// byte.
type template struct {
	text  string // as in the file
	group string // as it is logged: no blanks
	parts []part
}

type part struct {
	kind  partKind
	text  string // of a plain part
	claim claim  // of a bound part
}

type partKind uint8

const (
	plain   partKind = iota
	segment          // "*"
	bound            // "{claim}"
	rest             // "**"
)

// claim is a part of the normal form that a template can be bound to.
type claim uint8

// claims are the words for them, in the order of GrantKey.
var claims = GrantKey[3:11]

const (
	claimTenant claim = iota
	claimProject
	claimJob
	claimRun
	claimRef
	claimSHA
	claimActor
	claimSubject
)

// of is the identity's claim, "" where it has none.
func (c claim) of(id *Identity) string {
	switch c {
	case claimTenant:
		return id.Tenant
	case claimProject:
		return id.Project
	case claimJob:
		return id.Job
	case claimRun:
		return id.Run
	case claimRef:
		return id.Ref
	case claimSHA:
		return id.SHA
	case claimActor:
		return id.Actor
	}
	return id.Subject
}

const maxTemplate = 512

// parseTemplate compiles a path template; bind says whether claims may be in it.
func parseTemplate(text string, bind bool) (*template, error) {
	if err := checkTemplate(text); err != nil {
		return nil, err
	}
	t := &template{text: text, group: visible(text)}
	for i := 0; i < len(text); {
		p, n, err := parsePart(text[i:])
		if err != nil {
			return nil, err
		}
		if p.kind == bound && !bind {
			return nil, fmt.Errorf("%s in a public path: nobody has said who he is; write * or **", text[i:i+n])
		}
		i += n
		t.parts = append(t.parts, p)
	}
	return t, nil
}

// checkTemplate refuses what the gate would deny in any path, and "**" in other
// places than the last.
func checkTemplate(text string) error {
	if !strings.HasPrefix(text, "/") {
		return errors.New(`begins without "/": write the whole path, such as /artifacts/**`)
	}
	if len(text) > maxTemplate {
		return fmt.Errorf("%d bytes, at most %d", len(text), maxTemplate)
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20 || c == 0x7f:
			return fmt.Errorf("a control character (%q): no path that passes the gate holds one", c)
		case c == '%':
			return errors.New(`"%" in it: write the path decoded, such as "/a b" for /a%20b`)
		case c == '?':
			return errors.New(`"?" in it: a grant looks at the path alone, so leave the query out; one segment is "*"`)
		case c == '#':
			return errors.New(`"#" in it: a request has no fragment; leave it out`)
		case strings.IndexByte(`;\|`, c) >= 0:
			return fmt.Errorf(`%q in it: leave it out, or write "*" for the whole segment`, c)
		}
	}
	segments := strings.Split(text[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "" && !last:
			return errors.New(`"//" in it: no path with an empty segment passes the gate; write one "/"`)
		case s == "." || s == "..":
			return fmt.Errorf(`the segment %q: no path with one passes the gate; write where it leads to`, s)
		case strings.Contains(s, "**") && (s != "**" || !last):
			return errors.New(`"**" in another place than the last segment: write * for one segment, or end in /**`)
		}
	}
	return nil
}

// parsePart reads the part that text begins with and says how long it is.
func parsePart(text string) (part, int, error) {
	switch {
	case strings.HasPrefix(text, "**"):
		return part{kind: rest}, 2, nil
	case text[0] == '*':
		return part{kind: segment}, 1, nil
	case text[0] == '}':
		return part{}, 0, errors.New(`a "}" without "{": write {project} for the caller's project`)
	case text[0] == '{':
		word, _, closed := strings.Cut(text[1:], "}")
		if !closed {
			return part{}, 0, errors.New(`a "{" without "}": write {project} for the caller's project`)
		}
		i := slices.Index(claims, word)
		if i < 0 {
			return part{}, 0, fmt.Errorf("%s; there are %s", strictyaml.Unknown("claim", word, claims), strings.Join(claims, ", "))
		}
		return part{kind: bound, claim: claim(i)}, len(word) + 2, nil
	}
	n := strings.IndexAny(text, "*{}")
	if n < 0 {
		n = len(text)
	}
	return part{kind: plain, text: text[:n]}, n, nil
}

// visible writes a template so that it fits a map's value, a log and a stick
// table's key: what is no visible ASCII character is percent-encoded. A template
// holds no "%" of its own, so that no two become one.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' }) {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '"' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// match tells whether the whole of a decoded path fits, with the caller's claims
// in their places. It goes back to the last "*" only, see glob.match.
func (t *template) match(path string, id *Identity) bool {
	p, i := 0, 0
	star, from := -1, 0
	for {
		if p == len(t.parts) {
			if i == len(path) {
				return true
			}
		} else {
			switch k := &t.parts[p]; k.kind {
			case rest:
				return true
			case segment:
				if i < len(path) && path[i] != '/' {
					p, i = p+1, i+1
					star, from = p, i
					continue
				}
			default:
				text := k.text
				if k.kind == bound {
					if text = k.claim.of(id); text == "" {
						return false
					}
				}
				if strings.HasPrefix(path[i:], text) {
					p, i = p+1, i+len(text)
					continue
				}
			}
		}
		if star < 0 || from >= len(path) || path[from] == '/' {
			return false
		}
		from++
		p, i = star, from
	}
}
