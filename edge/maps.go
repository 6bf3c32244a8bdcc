package edge

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/edge/provider"
)

// table is a map file's lines in the order that HAProxy searches them (map_reg:
// the first match), under what its reader needs to know.
type table struct {
	comment string
	lines   []policy.Line
}

// text is the file. HAProxy parts key and value at the first blank; the keys
// have none.
func (t table) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(t.comment, "\n", "\n# "))
	for _, line := range t.lines {
		fmt.Fprintf(&b, "%s %s\n", line.Pattern, line.Value)
	}
	return b.Bytes()
}

// policyMaps are the maps that a policy alone decides, by their file's name.
func policyMaps(p *policy.Policy) map[string]table {
	issuers := table{comment: "iss  name|provider|mapping|max_age|max_lifetime|leeway (seconds; 0: not checked)"}
	audiences := table{comment: "issuer|aud  1"}
	projects := table{comment: "issuer|sub  project, for tokens that name none"}
	names := mappingNames(p)
	for i := range p.Issuers {
		issuer := &p.Issuers[i]
		issuers.add(issuer.Issuer, fmt.Sprintf("%s|%s|%s|%d|%d|%d", issuer.Name, issuer.Provider, names[issuer.Name],
			issuer.MaxAge.Seconds(), issuer.MaxLifetime.Seconds(), issuer.Leeway.Seconds()))
		for _, audience := range issuer.Audiences {
			audiences.add(issuer.Name+"|"+audience, "1")
		}
		for _, subject := range slices.Sorted(maps.Keys(issuer.Projects)) {
			projects.add(issuer.Name+"|"+subject, issuer.Projects[subject])
		}
	}
	roles, grants := coupled(p)
	rates := table{comment: "role  requests of one identity in " + p.RatePeriod()}
	for _, role := range p.Roles {
		rates.add(role.Name, fmt.Sprint(role.Rate.Requests))
	}
	return map[string]table{
		"maps/issuers.map":   issuers,
		"maps/audiences.map": audiences,
		"maps/projects.map":  projects,
		"maps/rates.map":     rates,
		"maps/roles.map":     {"The first match decides. " + strings.Join(policy.RoleKey, "|") + "  role|generation", roles},
		"maps/grants.map":    {"No match, no access. " + strings.Replace(strings.Join(policy.GrantKey, "|"), "role", "role|generation", 1) + "  what is granted", grants},
		"maps/public.map":    {"What needs no identity. " + strings.Join(policy.PublicKey, "|") + "  what is public", p.PublicLines()},
	}
}

// coupled are the lines of roles and grants, bound to each other: HAProxy swaps
// one map at a time, and a role of one policy must never meet the grants of
// another. The generation is a hash of both, so it changes when one of them does;
// what reads one map new and the other one old finds no grant.
func coupled(p *policy.Policy) (roles, grants []policy.Line) {
	roles, grants = p.RoleLines(), p.GrantLines()
	sum := sha256.New()
	for _, l := range slices.Concat(roles, grants) {
		fmt.Fprintf(sum, "%s %s\n", l.Pattern, l.Value)
	}
	generation := hex.EncodeToString(sum.Sum(nil)[:6])
	for i := range roles {
		roles[i].Value += "|" + generation
	}
	for i := range grants { // a role's name has no "|"
		grants[i].Pattern = strings.Replace(grants[i].Pattern, `\|`, `\|`+generation+`\|`, 1)
	}
	return roles, grants
}

func (t *table) add(key, value string) {
	t.lines = append(t.lines, policy.Line{Pattern: key, Value: value})
}

// keyMap says which file verifies the tokens of an issuer's kid, and under which
// algorithms.
func keyMap(stored []keys.Key, file func(keys.Key) string) table {
	t := table{comment: "issuer|kid  file         issuer|kid|algorithm  1, if the key may be used so\n" +
		"A key without its lines here is revoked: del map on the stats socket, until the next reload."}
	for _, key := range stored {
		name := key.Issuer + "|" + key.KID
		t.add(name, file(key))
		for _, algorithm := range key.Algorithms {
			t.add(name+"|"+algorithm, "1")
		}
	}
	return t
}

// mappingNames gives each issuer its mapping's name: its provider's, or its own
// when the policy overrides claims.
func mappingNames(p *policy.Policy) map[string]string {
	names := make(map[string]string)
	for _, issuer := range p.Issuers {
		names[issuer.Name] = issuer.Provider
		if len(issuer.Claims) > 0 {
			names[issuer.Name] = "issuer:" + issuer.Name
		}
	}
	return names
}

// indexed finds the lists in a claim's path.
var indexed = regexp.MustCompile(`\.((?:[^.\[\\]|\\.)+)\[`)

// lists are the names of the lists of which a path takes an element.
func lists(path provider.Path) (names []string) {
	for _, match := range indexed.FindAllStringSubmatch(path.String(), -1) {
		names = append(names, regexp.QuoteMeta(strings.ReplaceAll(match[1], `\`, "")))
	}
	return names
}

// mappings are all that the policy's issuers use, each once, by name.
func mappings(p *policy.Policy) []mapping {
	names := mappingNames(p)
	found := make(map[string]mapping)
	for i := range p.Issuers {
		issuer := &p.Issuers[i]
		m := mapping{Name: names[issuer.Name], Comment: "the claims of " + issuer.Provider}
		if len(issuer.Claims) > 0 {
			m.Comment += ", as the policy names them for " + issuer.Name
		}
		paths := issuer.ClaimPaths()
		for _, field := range provider.Fields() {
			for n, path := range paths[field] {
				m.Claims = append(m.Claims, claim{Field: field, Path: path.HAProxy(), Fallback: n > 0, Lists: lists(path)})
			}
		}
		found[m.Name] = m
	}
	return slices.SortedFunc(maps.Values(found), func(a, b mapping) int { return cmp.Compare(a.Name, b.Name) })
}
