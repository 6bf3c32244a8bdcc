package ci

import "time"

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
