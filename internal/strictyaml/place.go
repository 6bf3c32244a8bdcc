package strictyaml

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Place is where in a file a value begins; lines and columns count from 1.
type Place struct{ Line, Column int }

// Places are the values of a file, by their path: "gate.log",
// "roles[0].match[1].ref". A key's place is where its value begins; a value that
// an alias or a merge key stands for is where it was written first.
type Places map[string]Place

// maxPlaces bounds what aliases of aliases may unfold to.
const maxPlaces = 1 << 18

// Locate finds the values of the one document of text, which Decode has read.
func Locate(text []byte) (places Places, err error) {
	defer func() {
		if p := recover(); p != nil {
			places, err = nil, errUnreadable
		}
	}()
	file, err := parser.ParseBytes(bytes.TrimPrefix(text, byteOrderMark), 0)
	if err != nil {
		return nil, errUnreadable
	}
	l := locator{places: Places{}, anchors: map[string]ast.Node{}}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			l.walk("", doc.Body, 0)
		}
	}
	if l.tooMuch {
		return nil, fmt.Errorf("aliases (*) stand for more than %d values: write them out, or share less", maxPlaces)
	}
	return l.places, nil
}

// Has tells whether the file sets a value; null sets none.
func (p Places) Has(path string) bool { _, ok := p[path]; return ok }

// Find is the place of a value or, where the file does not set it, of the
// nearest one around it.
func (p Places) Find(path string) Place {
	for path != "" {
		if place, ok := p[path]; ok {
			return place
		}
		path = parent(path)
	}
	return Place{1, 1}
}

// parent cuts the last ".key" or "[index]" off a path.
func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}

type locator struct {
	places  Places
	anchors map[string]ast.Node
	tooMuch bool
}

const maxDepth = 100

func (l *locator) walk(path string, node ast.Node, depth int) {
	if depth > maxDepth || len(l.places) > maxPlaces {
		l.tooMuch = true
		return
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		l.anchors[n.Name.GetToken().Value] = n.Value
		l.walk(path, n.Value, depth+1)
		return
	case *ast.AliasNode:
		if target := l.anchors[n.Value.GetToken().Value]; target != nil {
			l.walk(path, target, depth+1)
		}
		return
	case *ast.TagNode:
		l.walk(path, n.Value, depth+1)
		return
	case *ast.NullNode, nil:
		return
	}
	if _, ok := l.places[path]; !ok && path != "" {
		p := begin(node).GetToken().Position
		l.places[path] = Place{p.Line, p.Column}
	}
	switch n := node.(type) {
	case *ast.SequenceNode:
		for i, value := range n.Values {
			l.walk(fmt.Sprintf("%s[%d]", path, i), value, depth+1)
		}
	case *ast.MappingNode:
		l.members(path, n.Values, depth)
	case *ast.MappingValueNode:
		l.members(path, []*ast.MappingValueNode{n}, depth)
	}
}

// begin is the node that a value begins with: the token of a block mapping is its
// first colon.
func begin(node ast.Node) ast.Node {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key
		}
	case *ast.MappingValueNode:
		return n.Key
	}
	return node
}

// members walks a mapping's own keys first: they win over merged ones.
func (l *locator) members(path string, values []*ast.MappingValueNode, depth int) {
	for _, v := range values {
		if !v.Key.IsMergeKey() {
			key := v.Key.GetToken().Value
			if path != "" {
				key = path + "." + key
			}
			l.walk(key, v.Value, depth+1)
		}
	}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			l.walk(path, v.Value, depth+1)
		}
	}
}
