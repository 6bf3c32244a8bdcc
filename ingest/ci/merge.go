package ci

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Merge is what two facts of the same attempt say together. It is commutative,
// associative and idempotent, so that facts in any order, and twice, come to one
// state: the earliest queueing and start, the latest end, the farthest status.
// Every other field stays the same for an attempt's life, and is known or not;
// should two messages differ, the greater text wins, for want of a better reason
// that would not depend on their order.
//
// A status is the farthest, not the last: a server's clock is as coarse as a
// second, its messages overtake each other, and a run that has ended does not go
// on (a new attempt is another run).
func (r Run) Merge(other Run) Run {
	for _, field := range []struct {
		to   *string
		with string
	}{
		{&r.Job, other.Job}, {&r.Name, other.Name}, {&r.Ref, other.Ref}, {&r.Commit, other.Commit}, {&r.Trigger, other.Trigger},
		{&r.Actor, other.Actor}, {&r.Agent, other.Agent}, {&r.Principal, other.Principal}, {&r.Approver, other.Approver},
	} {
		*field.to = max(*field.to, field.with)
	}
	r.Status = max(r.Status, other.Status)
	r.Queued, r.Started = earliest(r.Queued, other.Queued), earliest(r.Started, other.Started)
	r.Finished, r.Said = latest(r.Finished, other.Finished), latest(r.Said, other.Said)
	return r
}

// Merge is what two facts of the same commit say together; see Run.Merge. Its
// signature is the one that was said last: a key is revoked, an account verified.
// That time is remembered on its own (Checked): if Said stood for it, a message
// that says nothing of the signature would make an old verdict look new, and the
// outcome would depend on the order.
//
// Of two times of authorship the earlier counts, of committing the later: where a
// provider tells one time for both, without saying which, the right ones win.
func (c Commit) Merge(other Commit) Commit {
	mine, theirs := c.checked(), other.checked()
	if theirs.After(mine) || theirs.Equal(mine) && other.Signature > c.Signature {
		c.Signature, mine = other.Signature, theirs
	}
	for _, field := range []struct {
		to   *string
		with string
	}{{&c.Author, other.Author}, {&c.AuthorEmail, other.AuthorEmail}, {&c.Committer, other.Committer}, {&c.Subject, other.Subject}} {
		*field.to = max(*field.to, field.with)
	}
	c.Authored, c.Committed = earliest(c.Authored, other.Authored), latest(c.Committed, other.Committed)
	c.Said = latest(c.Said, other.Said)
	c.Checked = time.Time{}
	if c.Signature != "" && !mine.Equal(c.checked()) {
		c.Checked = mine
	}
	return c
}

// checked is when the signature was said. One that was said at no time is older
// than any other, and one that was not said is older still.
func (c Commit) checked() time.Time {
	switch {
	case c.Signature == "":
		return time.Time{}
	case !c.Checked.IsZero():
		return c.Checked
	case !c.Said.IsZero():
		return c.Said
	}
	return time.Time{}.Add(1)
}

// Merge is what two facts of the same principal say together; see Run.Merge. What
// changes is as it was said last. No credential is ever left out, even one that a
// later listing does not have: should a message about it come late, or again, it
// would be back.
func (p Principal) Merge(other Principal) Principal {
	p.Name, p.Owner = p.Name.merge(other.Name, strings.Compare), p.Owner.merge(other.Owner, strings.Compare)
	p.Project = max(p.Project, other.Project)
	p.Archived = p.Archived.merge(other.Archived, func(mine, theirs bool) int {
		switch {
		case mine == theirs:
			return 0
		case mine:
			return 1
		}
		return -1
	})
	p.Rights = p.Rights.merge(other.Rights, slices.Compare)
	p.Created, p.LastUsed = earliest(p.Created, other.Created), latest(p.LastUsed, other.LastUsed)
	p.Said = latest(p.Said, other.Said)
	p.Credentials = mergeCredentials(p.Credentials, other.Credentials)
	if p.Listed = maps.Clone(p.Listed); p.Listed == nil && len(other.Listed) > 0 {
		p.Listed = make(map[string]time.Time)
	}
	for kind, at := range other.Listed {
		p.Listed[kind] = latest(p.Listed[kind], at)
	}
	return p
}

// merge is the one of two that was said later, of the same time the greater.
func (l Last[T]) merge(other Last[T], compare func(mine, theirs T) int) Last[T] {
	if !other.Known || l.Known && cmp.Or(l.Said.Compare(other.Said), compare(l.Value, other.Value)) >= 0 {
		return l
	}
	return other
}

// mergeCredentials is each of the credentials once, by kind and name. A client
// secret that is made anew keeps its name: the latest creation counts.
func mergeCredentials(mine, theirs []Credential) []Credential {
	all := slices.Concat(mine, theirs)
	slices.SortStableFunc(all, func(a, b Credential) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	var merged []Credential
	for _, one := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].Kind == one.Kind && merged[last].ID == one.ID {
			same := &merged[last]
			same.Created, same.Expires = latest(same.Created, one.Created), latest(same.Expires, one.Expires)
			same.LastUsed, same.Said = latest(same.LastUsed, one.LastUsed), latest(same.Said, one.Said)
			continue
		}
		merged = append(merged, one)
	}
	return merged
}

// earliest is the earlier of two times that are known.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
