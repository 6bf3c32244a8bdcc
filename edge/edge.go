// Package edge turns a policy file and the issuers' public keys into a HAProxy
// that lets a CI job through by its short-lived OIDC token (a gate):
//
//	policy.yaml --edge/policy--+
//	  claims -> normal form <--+-- edge/provider
//	                           v
//	JWKS --edge/keys--> keys --Render--> DIR/haptrail.cfg   rules; changes need a reload
//	                                     DIR/keys.cfg       names every key; likewise
//	                                     DIR/maps/*.map     who may what; swapped at run time
//	                                     DIR/keys/*/*.pem   public keys
//
// Maps carry all that changes from day to day: issuers' audiences and ages,
// roles, grants, rates, public paths, and which key is whose. So a changed grant
// takes effect by a transaction over the Runtime API (see Apply), while the
// files keep what a restart reads.
package edge

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/edge/provider"
	"github.com/haptrail/haptrail/ingest/logformat"
	"github.com/haptrail/haptrail/runtimeapi"
)

//go:embed haptrail.cfg.tmpl keys.cfg.tmpl
var templates embed.FS

// The names of the rendered files, below DIR.
const (
	GateFile = "haptrail.cfg"
	KeysFile = "keys.cfg"
	KeysMap  = "maps/keys.map"
)

// Oldest is the oldest HAProxy that Render knows: rules in a named defaults
// section came with 2.5, and 2.6 is the oldest branch that is still maintained.
var Oldest = runtimeapi.Version{Major: 2, Minor: 6}

// audienceElements is how many elements of a token's aud list are read: HAProxy
// cannot search a JSON list, and 2.x cannot even show one as a text.
const audienceElements = 6

// Options says for what Render renders.
type Options struct {
	// Version is the HAProxy that will read the files; only its branch counts.
	Version runtimeapi.Version

	// Base is the folder's absolute path as that HAProxy sees it.
	Base string

	// RuntimeKeys verifies with certificates in a crt-store, which HAProxy 3.3 and
	// newer take without a reload, instead of files that a reload reads. It is for
	// a HAProxy that cannot be reloaded: its jwt_verify_cert gives up when another
	// thread is just looking a certificate up, and so denies good tokens under
	// load, as sig_bad (docs/decisions/0007).
	RuntimeKeys bool

	// Source is the policy file's name, for the header of the rendered file.
	Source string
}

// Files are rendered files: slash paths below DIR, and their content.
type Files map[string][]byte

// base is what a path may consist of to stand unquoted in HAProxy's arguments.
var base = regexp.MustCompile(`\A/[A-Za-z0-9_./-]+\z`)

// Render returns the gate's configuration and maps. The same input gives the
// same bytes. Errors name the option or the field of the policy.
func Render(p *policy.Policy, stored *keys.Store, o Options) (Files, error) {
	if !o.Version.AtLeast(Oldest.Major, Oldest.Minor) {
		return nil, fmt.Errorf("HAProxy %s: the gate needs %s or newer (rules in a named defaults section, jwt_verify, host_only)", o.Version, branch(Oldest))
	}
	if !base.MatchString(o.Base) || path.Clean(o.Base) != o.Base {
		return nil, fmt.Errorf("folder %q: HAProxy's arguments take an absolute path of letters, digits, \"_\", \".\", \"-\" and \"/\" alone; choose such a folder", o.Base)
	}
	if o.RuntimeKeys && !TakesKeys(o.Version) {
		return nil, fmt.Errorf("HAProxy %s takes no key at run time (%s and newer do): leave runtime keys off, and have it reloaded", branch(o.Version), branch(storeSince))
	}
	if err := supported(p, o.Version); err != nil {
		return nil, err
	}
	files := Files{}
	gate, err := expand("haptrail.cfg.tmpl", newGate(p, o))
	if err != nil {
		return nil, err
	}
	files[GateFile] = gate
	for name, lines := range policyMaps(p) {
		files[name] = lines.text()
	}
	return files, renderKeys(files, p, stored, o)
}

// RenderKeys returns those of Render's files that depend on the keys: keys.cfg
// and maps/keys.map.
func RenderKeys(p *policy.Policy, stored *keys.Store, o Options) (Files, error) {
	files := Files{}
	return files, renderKeys(files, p, stored, o)
}

// psSince is the first branch whose jwt_verify knows PS256, PS384 and PS512.
var psSince = runtimeapi.Version{Major: 2, Minor: 8}

// algorithms are those that a version can verify.
func algorithms(v runtimeapi.Version) []string {
	all := []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}
	if v.AtLeast(psSince.Major, psSince.Minor) {
		all = append(all, "PS256", "PS384", "PS512")
	}
	return all
}

// supported refuses an issuer none of whose algorithms the version knows.
func supported(p *policy.Policy, v runtimeapi.Version) error {
	var faults []error
	for _, issuer := range p.Issuers {
		for _, algorithm := range issuer.Algorithms {
			if !slices.Contains(algorithms(v), algorithm) {
				faults = append(faults, fmt.Errorf("issuer %s: HAProxy %s cannot verify %s (2.8 and newer can); take it off the issuer's algorithms, or upgrade",
					issuer.Name, branch(v), algorithm))
			}
		}
	}
	return errors.Join(faults...)
}

// gate is what haptrail.cfg.tmpl shows.
type gate struct {
	Options
	Gate            policy.Gate
	Branch          string
	RatePeriod      string
	HeaderPattern   string // the identity headers' prefix, as a regular expression over lower-case names
	LogFormat       string
	ErrorLogFormat  string
	Patterns        patterns
	Algorithms      []string
	Verify          string // the converter that verifies
	Attempts        []int  // how often it is tried
	Mappings        []mapping
	Fields          []provider.Field
	AudienceIndexes []int
	Headers         []header
	RoleKey         string
	GrantKey        string
}

// patterns are package policy's, which judges by the same.
type patterns struct{ Encoded, Unsafe, Method, Host string }

// mapping is one way of reading the normal form out of claims; issuers with the
// same one share it.
type mapping struct {
	Name, Comment string
	Claims        []claim
}

type claim struct {
	Field    provider.Field
	Path     string
	Fallback bool     // only when an earlier claim was missing
	Lists    []string // the lists that it takes an element of, as regular expressions
}

// header is an identity header and the variable that it shows.
type header struct{ Name, Variable string }

func newGate(p *policy.Policy, o Options) gate {
	g := gate{
		Options: o, Gate: p.Gate, Branch: branch(o.Version), RatePeriod: p.RatePeriod(),
		HeaderPattern: headerPattern(p.Gate.IdentityHeaders),
		LogFormat:     logformat.Haptrail, ErrorLogFormat: errorFormat(),
		Patterns:   patterns{policy.EncodedPattern, policy.UnsafePattern, policy.MethodPattern, policy.HostPattern},
		Algorithms: algorithms(o.Version), Verify: "jwt_verify", Attempts: make([]int, 1),
		Mappings: mappings(p), Fields: provider.Fields(),
		RoleKey: key(policy.RoleKey[1:]), GrantKey: key(policy.GrantKey[1:]),
	}
	if o.RuntimeKeys {
		g.Verify, g.Attempts = "jwt_verify_cert", make([]int, 4)
	}
	for i := range audienceElements {
		g.AudienceIndexes = append(g.AudienceIndexes, i)
	}
	for _, h := range []header{
		{"Provider", "provider"}, {"Issuer", "iss"}, {"Sub", "sub"}, {"Token-Id", "jti"}, {"Tenant", "tenant"},
		{"Project", "project"}, {"Job", "job"}, {"Run", "run"}, {"Run-Attempt", "run_attempt"}, {"Ref", "ref"},
		{"Sha", "sha"}, {"Actor", "actor"}, {"Runner", "runner"}, {"Role", "role"},
	} {
		g.Headers = append(g.Headers, header{p.Gate.IdentityHeaders + h.Name, h.Variable})
	}
	return g
}

// branch is a version's first two numbers: all that the rendered files depend on.
func branch(v runtimeapi.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// headerPattern matches a lower-case header name that begins with the prefix, or
// looks so to what takes "_" for "-" (CGI, and with it WSGI and Rack), or "." for "_".
func headerPattern(prefix string) string {
	return strings.ReplaceAll(strings.ToLower(prefix), "-", "[-_.]")
}

// errorFormat is the log-format of what no rule has judged: its decision and
// reason are literals, since no rule set the variables.
func errorFormat() string {
	return strings.NewReplacer("var(txn.decision)", "str(deny)", "var(txn.reason)", "str(bad_request)").Replace(logformat.Haptrail)
}

// keyVariables are the variables behind the parts of a map's key.
var keyVariables = map[string]string{
	"provider": "req.provider", "tenant": "txn.tenant", "project": "txn.project", "job": "txn.job", "run": "txn.run",
	"ref": "txn.ref", "sha": "txn.sha", "actor": "txn.actor", "runner": "txn.runner", "subject": "txn.sub",
	"method": "txn.method", "host": "req.host", "path": "req.dpath",
}

// key is the converter chain that appends "|" and each part. concat leaves a
// missing variable out and keeps its separator.
func key(parts []string) string {
	var b strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&b, ",concat(|,%s)", keyVariables[part])
	}
	return b.String()
}

func expand(name string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"deny": deny, "quote": quote, "oneline": oneline}).ParseFS(templates, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return stamp(reset(b.Bytes())), nil
}

// variable is where a rule sets a variable.
var variable = regexp.MustCompile(`set-var(?:-fmt)?\(((?:req|txn)\.[a-z0-9_]+)\)`)

// reset puts rules into the file that forget every variable which later ones
// set: one that a rule cannot set (a claim is missing, a look-up fails) keeps its
// value, and a user's "tcp-request content set-var" comes before all of ours.
// What is remembered for the connection (sess.) is not among them.
func reset(text []byte) []byte {
	names := make(map[string]bool)
	for _, match := range variable.FindAllSubmatch(text, -1) {
		names[string(match[1])] = true
	}
	var rules []byte
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rules = fmt.Appendf(rules, "    http-request unset-var(%s)\n", name)
	}
	return bytes.Replace(text, []byte("@reset@\n"), rules, 1)
}

// The variables by which a running HAProxy says which rendered files it has
// read, and what stands for their value until the file is complete.
const (
	gateVariable = "HAPTRAIL_GATE"
	keysVariable = "HAPTRAIL_KEYS"
	unstamped    = "@fingerprint@"
)

// stamp puts a fingerprint of the rest of the file into it.
func stamp(text []byte) []byte {
	sum := sha256.Sum256(text)
	return bytes.Replace(text, []byte(unstamped), []byte(hex.EncodeToString(sum[:8])), 1)
}

// ReasonUnknownKID is the logged reason of a token whose kid no issuer's keys
// have: the issuer has a new key, or somebody made the kid up.
const ReasonUnknownKID = "kid_unknown"

// deny is the two rules that turn a request away unless a condition holds.
func deny(status int, reason, condition string) string {
	return fmt.Sprintf(`http-request set-var(txn.reason) str(%s)
    http-request deny deny_status %d content-type application/json lf-string "${HAPTRAIL_DENIED}" unless %s || haptrail_public`,
		reason, status, condition)
}

// oneline keeps what a file may be called within a comment.
func oneline(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// quote writes a word for HAProxy, strongly quoted (configuration manual 2.2).
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
