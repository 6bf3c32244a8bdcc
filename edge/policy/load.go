package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Load reads and checks a policy file. A relative path in it is taken from the
// file's own folder.
func Load(path string) (*Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(text, path)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for i := range p.Issuers {
		if file, ok := strings.CutPrefix(p.Issuers[i].JWKS, "file:"); ok && !filepath.IsAbs(file) {
			p.Issuers[i].JWKS = "file:" + filepath.Join(dir, file)
		}
	}
	return p, nil
}

// Parse reads and checks a policy's text; paths in it are left as they are. The
// name goes before each error, of which there is one for each fault, each with
// its line, its field and what to do.
func Parse(data []byte, name string) (*Policy, error) {
	p := &Policy{Gate: Gate{IdentityHeaders: "X-Identity-", ClaimedRunHeader: "X-CI-Run", StickSize: 100 << 10}}
	err := strictyaml.Decode(data, p)
	if err == nil {
		p.places, err = strictyaml.Locate(data)
	}
	if errors.Is(err, strictyaml.ErrEmpty) {
		err = errors.New("the policy is empty: a first one is in docs/edge.md")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.fill()
	if err := p.validate(name); err != nil {
		return nil, err
	}
	return p, nil
}

// fill sets the defaults of what stands in lists, and where it stands.
func (p *Policy) fill() {
	for i := range p.Issuers {
		p.fillIssuer(&p.Issuers[i], at("issuers", i))
	}
	for i := range p.Roles {
		role, field := &p.Roles[i], at("roles", i)
		role.Line = p.places.Find(field).Line
		if !p.places.Has(field + ".rate") {
			role.Rate = defaultRate
		}
		for j := range role.Match {
			role.Match[j].Line = p.places.Find(at(field+".match", j)).Line
		}
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		g.Line = p.places.Find(at("grants", i)).Line
		g.Methods = methodsOr(g.Methods)
	}
	for i := range p.Protect.Public {
		g := &p.Protect.Public[i]
		g.Line = p.places.Find(at("protect.public", i)).Line
		g.Methods = methodsOr(g.Methods)
	}
}

func (p *Policy) fillIssuer(i *Issuer, field string) {
	i.Line = p.places.Find(field).Line
	for key, value := range map[string]*Duration{"max_age": &i.MaxAge, "max_lifetime": &i.MaxLifetime, "key_overlap": &i.KeyOverlap} {
		if !p.places.Has(field + "." + key) {
			*value = Duration(24 * time.Hour)
		}
	}
	if !p.places.Has(field + ".leeway") {
		i.Leeway = Duration(30 * time.Second)
	}
	from, ok := provider.Lookup(i.Provider)
	if !ok {
		return // a fault, which validate names
	}
	if i.Issuer == "" {
		i.Issuer = from.Issuer
	}
	if i.JWKS == "" && from.JWKS != nil && i.Issuer != "" {
		i.JWKS = from.JWKS(i.Issuer)
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = slices.Clone(from.Algorithms)
	}
	i.paths = from.Claims
}

// at is the path of a list's value.
func at(list string, index int) string { return fmt.Sprintf("%s[%d]", list, index) }

func methodsOr(methods []string) []string {
	if len(methods) == 0 {
		return []string{"GET", "HEAD"}
	}
	return methods
}
