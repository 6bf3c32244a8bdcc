package attribute

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// defaultBranch is how TeamCity may name the default branch, whatever it is called.
const defaultBranch = "<default>"

// id is the run that the use names, signed or not.
func (u *Use) id() string {
	if u.Run != "" {
		return u.Run
	}
	return u.ClaimedRun
}

// of tells whether a run is of the use's CI server, or may be.
func (u *Use) of(r *Run) bool { return u.Provider == "" || u.Provider == r.Provider }

// names tells whether a run has the id that the use names, and is one that this id
// can mean: where each project counts its own runs, another project's number 7 is
// just another run.
func (u *Use) names(r *Run) bool {
	id := u.id()
	return id != "" && r.ID == id && u.of(r) && (u.Project == "" || u.Project == r.Project || global(r.Provider, id))
}

// global tells whether one id means one run on all of a CI server: it does with
// those known to, and wherever an id is more than a number.
func global(provider, id string) bool {
	switch provider {
	case "space", "teamcity", "github", "gitlab", "circleci":
		return true
	}
	return strings.Trim(id, "0123456789") != ""
}

// mayBe tells whether a run is one that the use can be inferred to be of, at some
// time: what the token says of it is not denied.
func (u *Use) mayBe(r *Run) bool {
	return u.Run == "" && r.Principal == u.Subject && u.of(r) && !r.Started.IsZero() &&
		(u.Project == "" || u.Project == r.Project) && u.denial(r) == nothing
}

// statement is what of a token the CI's record of a run denies.
type statement uint8

const (
	nothing statement = iota
	itsCommit
	itsRef
	itsPrincipal
	itsProject
)

// denial finds what a run's record denies of the ref and the commit that are signed.
func (u *Use) denial(r *Run) statement {
	switch {
	case u.Ref == "" && u.Commit == "" || merges(u.Ref, r):
		return nothing
	case !sameCommit(strings.ToLower(u.Commit), strings.ToLower(r.Commit)):
		return itsCommit
	case !sameRef(u.Ref, r):
		return itsRef
	}
	return nothing
}

// merges tells whether a run is of a pull or merge request. Its token and its
// record may then name the head, the merge commit or the base, and their refs, and
// both be right.
func merges(ref string, r *Run) bool {
	return requested(ref) || requested(r.Ref) || r.Trigger == "pull_request" || r.Trigger == "pull_request_target"
}

func requested(ref string) bool {
	return strings.HasPrefix(ref, "refs/pull/") || strings.HasPrefix(ref, "refs/merge-requests/")
}

// sameCommit tells whether two hashes may be of one commit: one may be unknown, or
// short.
func sameCommit(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// sameRef tells whether a ref may be a run's. Webhooks take tags for branches, and
// TeamCity's branch specifications cut names short.
func sameRef(ref string, r *Run) bool {
	if ref == "" || r.Ref == "" || ref == defaultBranch || r.Ref == defaultBranch {
		return true
	}
	a, b := shortRef(ref), shortRef(r.Ref)
	return a == b || r.Provider == "teamcity" && (strings.HasSuffix(a, "/"+b) || strings.HasSuffix(b, "/"+a))
}

func shortRef(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if short, ok := strings.CutPrefix(ref, prefix); ok {
			return short
		}
	}
	return ref
}

// sameFork tells whether a run that is recorded under another project may still be
// the token's: GitLab's token of a fork's merge request names the fork, and its
// record the parent where the fork has been deleted or is hidden.
func sameFork(r *Run) bool {
	return r.Provider == "gitlab" && (requested(r.Ref) || r.Trigger == "merge_request_event")
}

// relevant appends to list the runs that matter, each attempt once, in an order
// that depends on nothing but them. Records of one attempt that differ, which a
// merged table has none of, are merged.
func relevant(list []*Run, runs []Run, matters func(*Run) bool) []*Run {
	for i := range runs {
		if r := &runs[i]; matters(r) {
			list = append(list, r)
		}
	}
	if len(list) < 2 {
		return list
	}
	slices.SortFunc(list, (*Run).compare)
	unique := list[:1]
	for _, r := range list[1:] {
		if last := &unique[len(unique)-1]; (*last).compare(r) != 0 {
			unique = append(unique, r)
		} else if **last != *r {
			merged := (*last).merge(r)
			*last = &merged
		}
	}
	return unique
}

// resolve narrows the runs that have the id to those that the use means by it.
// elsewhere: only another project has such a run; several: it cannot be told whose
// it is, for there is no claim that says it.
func (u *Use) resolve(named []*Run) (meant []*Run, elsewhere *Run, several string) {
	if len(named) == 0 {
		return nil, nil, ""
	}
	if named[0].Provider != named[len(named)-1].Provider { // only where the use says no provider
		return nil, nil, "CI servers"
	}
	if !slices.ContainsFunc(named, func(r *Run) bool { return u.Project != "" && r.Project != u.Project }) {
		return named, nil, ""
	}
	first := named[0]
	meant = slices.DeleteFunc(slices.Clone(named), func(r *Run) bool { return r.Project != u.Project })
	if len(meant) == 0 {
		meant = slices.DeleteFunc(named, func(r *Run) bool { return !sameFork(r) })
	}
	if len(meant) == 0 {
		return nil, first, ""
	}
	return meant, nil, ""
}

// compare orders attempts by what names them.
func (r *Run) compare(o *Run) int {
	return cmp.Or(r.compareRun(o), cmp.Compare(r.Attempt, o.Attempt))
}

func (r *Run) compareRun(o *Run) int {
	return cmp.Or(strings.Compare(r.Provider, o.Provider), strings.Compare(r.Project, o.Project), strings.Compare(r.ID, o.ID))
}

// merge is what two records of one attempt say together. It is the rule by which
// the store merges facts: the greater text, the earliest start, the latest end.
func (r *Run) merge(o *Run) Run {
	m := *r
	for _, field := range []struct {
		to   *string
		with string
	}{
		{&m.Job, o.Job}, {&m.Name, o.Name}, {&m.Ref, o.Ref}, {&m.Commit, o.Commit}, {&m.Status, o.Status}, {&m.Trigger, o.Trigger},
		{&m.Actor, o.Actor}, {&m.Agent, o.Agent}, {&m.Principal, o.Principal}, {&m.Approver, o.Approver},
	} {
		*field.to = max(*field.to, field.with)
	}
	m.Queued, m.Started = earliest(m.Queued, o.Queued), earliest(m.Started, o.Started)
	if o.Finished.After(m.Finished) {
		m.Finished = o.Finished
	}
	return m
}

// earliest is the earlier of two times that are known.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
