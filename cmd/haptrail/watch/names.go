package watch

import (
	"slices"
	"strings"
)

// Detectors know an identity as issuer|subject, as the gate's stick tables have it, or
// as its subject alone where the issuer's name is not known; an identity at an endpoint
// as issuer|subject|METHOD endpoint, the issuer empty where it is not known. "|" stands
// in no issuer's name and in no subject that the gate lets through; subjects of others
// may have it ("auth0|123"), and are escaped.
const separator = "|"

var (
	escape   = strings.NewReplacer("%", "%25", separator, "%7C").Replace
	unescape = strings.NewReplacer("%25", "%", "%7C", separator).Replace
)

// names tie the identities of logs to those of stick tables.
type names struct {
	max      int
	roles    map[string]string // by identity's key
	bySticks map[string]string // an identity's key in stick tables, by subject; "" where it has several
}

func newNames(most int) *names {
	return &names{max: most, roles: map[string]string{}, bySticks: map[string]string{}}
}

// roleOf is the role of a key's identity, as the logs told it last.
func (n *names) roleOf(key string) string {
	if role, ok := n.roles[key]; ok {
		return role
	}
	if parts := strings.SplitN(key, separator, 3); len(parts) == 3 {
		return n.roles[strings.TrimPrefix(parts[0]+separator+parts[1], separator)]
	}
	return ""
}

// plays remembers an identity's role.
func (n *names) plays(identity, role string) {
	if former, known := n.roles[identity]; role == "" || known && former == role {
		return
	}
	if len(n.roles) >= n.max { // they are told again
		clear(n.roles)
	}
	n.roles[strings.Clone(identity)] = role
}

// seen remembers an identity of a stick table.
func (n *names) seen(key string) {
	_, subject, ok := strings.Cut(key, separator)
	if !ok {
		return
	}
	former, known := n.bySticks[subject]
	switch {
	case known && former != key && former != "":
		n.bySticks[subject] = ""
	case !known:
		if len(n.bySticks) >= n.max {
			clear(n.bySticks)
		}
		n.bySticks[strings.Clone(subject)] = strings.Clone(key)
	}
}

// identity is the key of whom the logs name by the issuer's URL and the subject. Of an
// issuer that no policy names the subject alone is it, unless stick tables know just
// one identity of that subject.
func (w *Watch) identity(issuer, subject string) string {
	subject = escape(subject)
	if w.Issuer != nil {
		if name := w.Issuer(issuer); name != "" {
			return name + separator + subject
		}
	}
	if key := w.names.bySticks[subject]; key != "" {
		return key
	}
	return subject
}

// at is the key of an identity at an endpoint.
func at(identity, method, endpoint string) string {
	if !strings.Contains(identity, separator) {
		identity = separator + identity
	}
	return identity + separator + strings.TrimSpace(method+" "+endpoint)
}

// who is whom a key names.
type who struct {
	issuer, subject, endpoint string
	shown                     string // the key for people
}

// whose takes a key of a kind apart.
func whose(k *kind, key string) (w who) {
	w.shown = key
	switch k.of {
	case ofIdentity:
		var ok bool
		if w.issuer, w.subject, ok = strings.Cut(key, separator); !ok {
			w.issuer, w.subject = "", key
		}
	case ofEndpoint:
		parts := append(strings.SplitN(key, separator, 3), "", "")
		w.issuer, w.subject, w.endpoint = parts[0], parts[1], parts[2]
	default:
		return w
	}
	w.subject = unescape(w.subject)
	w.shown = w.subject
	if w.issuer != "" {
		w.shown = w.issuer + separator + w.subject
	}
	if w.endpoint != "" {
		w.shown += separator + w.endpoint
	}
	return w
}

// patterns are those of detectors' keys that an expectation means: of an identity,
// with or without its issuer, and at any endpoint; or of another key as it is.
func patterns(identity string) []string {
	var all []string
	for _, p := range []string{identity, escape(identity)} {
		all = append(all, p, "*"+separator+p, p+separator+"*", "*"+separator+p+separator+"*")
	}
	slices.Sort(all)
	return slices.Compact(all)
}
