package ci

import (
	"strings"
	"time"
)

// What is asked for of a build and of a change (fields=): the names are those of
// the model in jetbrains.com/help/teamcity/rest/build.html and change.html.
const (
	teamcityChangeShape = "change(id,version,username,date,comment,personal,vcsRootInstance(vcs-root-id),commiter(vcsUsername,users(user(name,email))))"
	teamcityBuildShape  = "id,number,buildTypeId,status,state,branchName,defaultBranch,personal,failedToStart,queuedDate,startDate,finishDate," +
		"buildType(projectId),triggered(type,user(username)),user(username),agent(name),canceledInfo(timestamp)," +
		"revisions(revision(version,vcsBranchName,vcs-root-instance(vcs-root-id))),lastChanges(" + teamcityChangeShape + ")"

	teamcityBuildFields  = teamcityBuildShape
	teamcityBuildsFields = "nextHref,build(" + teamcityBuildShape + ")"
	teamcityChangeFields = "nextHref," + teamcityChangeShape
)

// teamcityTime is a time such as 20240131T120000+0000.
type teamcityTime struct{ time.Time }

// teamcityLayout is the format of the REST API's dates, and of those in a locator.
const teamcityLayout = "20060102T150405-0700"

// UnmarshalJSON takes null, "", TeamCity's format and that of RFC 3339.
func (t *teamcityTime) UnmarshalJSON(text []byte) error {
	at, ok := parseWireTime(text, teamcityLayout, time.RFC3339Nano)
	if !ok {
		return badShape[teamcityTime]()
	}
	t.Time = at
	return nil
}

// teamcityBuild is the REST model's Build, in answers and in webhooks. Every field
// may be missing in a webhook: the server's administrator chooses them.
type teamcityBuild struct {
	ID            wireID `json:"id"`
	Number        string `json:"number"`
	BuildTypeID   string `json:"buildTypeId"`
	Status        string `json:"status"`
	State         string `json:"state"`
	BranchName    string `json:"branchName"`
	DefaultBranch bool   `json:"defaultBranch"`
	Personal      bool   `json:"personal"`
	FailedToStart bool   `json:"failedToStart"`

	QueuedDate teamcityTime `json:"queuedDate"`
	StartDate  teamcityTime `json:"startDate"`
	FinishDate teamcityTime `json:"finishDate"`

	BuildType struct {
		ID        string `json:"id"`
		ProjectID string `json:"projectId"`
	} `json:"buildType"`
	Triggered struct {
		Type string       `json:"type"`
		User teamcityUser `json:"user"`
	} `json:"triggered"`
	User  teamcityUser `json:"user"` // a personal build's owner
	Agent struct {
		Name string `json:"name"`
	} `json:"agent"`
	CanceledInfo struct {
		Timestamp teamcityTime `json:"timestamp"`
	} `json:"canceledInfo"`
	Revisions struct {
		Revision []teamcityRevision `json:"revision"`
	} `json:"revisions"`
	LastChanges teamcityChanges `json:"lastChanges"`
}

type teamcityUser struct {
	Username string `json:"username"`
	Name     string `json:"name"`
	Email    string `json:"email"`
}

type teamcityRevision struct {
	Version       string `json:"version"`
	VcsBranchName string `json:"vcsBranchName"`
	Instance      struct {
		RootID string `json:"vcs-root-id"`
	} `json:"vcs-root-instance"`
}

type teamcityBuilds struct {
	NextHref string          `json:"nextHref"`
	Build    []teamcityBuild `json:"build"`
}

type teamcityChanges struct {
	NextHref string           `json:"nextHref"`
	Change   []teamcityChange `json:"change"`
}

// teamcityChange is the REST model's Change: a commit that TeamCity has collected.
type teamcityChange struct {
	ID       wireID       `json:"id"`
	Version  string       `json:"version"`
	Username string       `json:"username"`
	Date     teamcityTime `json:"date"`
	Comment  string       `json:"comment"`
	Personal bool         `json:"personal"` // somebody's patch: not in the repository
	Instance struct {
		RootID string `json:"vcs-root-id"`
	} `json:"vcsRootInstance"`
	Committer struct { // spelt so by the API
		VcsUsername string `json:"vcsUsername"`
		Users       struct {
			User []teamcityUser `json:"user"`
		} `json:"users"`
	} `json:"commiter"`
}

// run is the build as a Run; false where it does not say which build of which
// project it is. event is a webhook's, or "". whole: every field was asked for, so
// that one that is missing has no value.
//
// What may still change is left out until it is settled, or the state would depend
// on which of a build's messages came: a build may number itself while it runs; in
// the queue its revisions are not fixed, and its agent is a wish.
func (b teamcityBuild) run(event string, whole bool) (Run, bool) {
	if b.ID == "" || b.BuildType.ProjectID == "" {
		return Run{}, false
	}
	r := Run{
		Provider: teamcityProvider, Project: b.BuildType.ProjectID, ID: string(b.ID),
		Job: max(b.BuildTypeID, b.BuildType.ID), Ref: b.ref(whole),
		Trigger: strings.ToLower(b.Triggered.Type), Actor: b.Triggered.User.Username,
		Status: b.status(event), Queued: b.QueuedDate.Time, Said: b.said(),
	}
	if r.Status >= Running && b.State != "queued" {
		r.Started, r.Agent = b.StartDate.Time, b.Agent.Name
		if len(b.Revisions.Revision) > 0 {
			r.Commit = teamcityVersion(b.Revisions.Revision[0].Version)
		}
	}
	if r.Status.Final() {
		r.Finished = b.FinishDate.Time
		if b.Number != "" && b.Number != "N/A" { // N/A: it was canceled in the queue
			r.Name = "#" + b.Number
		}
	}
	if b.Personal {
		r.Actor = max(r.Actor, b.User.Username)
		// after the word, so that Merge prefers it to what did not say so
		r.Trigger, r.Name = mark(r.Trigger, " (personal)"), mark(r.Name, " (personal)")
	}
	return r, true
}

// mark adds to a text that is known.
func mark(text, with string) string {
	if text == "" {
		return ""
	}
	return text + with
}

// status is how far the build is. canceledInfo does not count: a status of its own,
// UNKNOWN, says the same, and a webhook may come without it.
func (b teamcityBuild) status(event string) Status {
	switch {
	case b.State == "finished" || b.State == "" && event == "BUILD_FINISHED":
		return b.result()
	case event == "BUILD_INTERRUPTED":
		return Canceled
	case b.State == "running" || b.State == "" && event == "BUILD_STARTED":
		return Running
	case b.State == "queued" || b.State == "" && event == "BUILD_TYPE_ADDED_TO_QUEUE":
		return Queued
	}
	return Unknown
}

func (b teamcityBuild) result() Status {
	switch {
	case strings.EqualFold(b.Status, "SUCCESS"):
		return Succeeded
	case strings.EqualFold(b.Status, "FAILURE"), strings.EqualFold(b.Status, "ERROR"), b.FailedToStart:
		return Failed
	case strings.EqualFold(b.Status, "UNKNOWN"):
		return Canceled
	}
	return Unknown // its status was not sent
}

// ref is the branch by TeamCity's name for it, as the token's claim has it. On the
// default branch the claim branch_name may be "<default>", where the API gives the
// branch's own name; where it too says "<default>", or a job builds one branch only
// and names none, the version control system's name stands in.
func (b teamcityBuild) ref(whole bool) string {
	if b.BranchName != "" && b.BranchName != "<default>" {
		return b.BranchName
	}
	if b.BranchName == "" && !whole || len(b.Revisions.Revision) == 0 {
		return ""
	}
	return b.Revisions.Revision[0].VcsBranchName
}

func (b teamcityBuild) said() time.Time {
	return newestOf(b.QueuedDate.Time, b.StartDate.Time, b.FinishDate.Time, b.CanceledInfo.Timestamp.Time)
}

// facts are the run and its commits: those that it says it built, and what it says
// of them.
func (b teamcityBuild) facts(event string, whole bool) []Fact {
	run, ok := b.run(event, whole)
	if !ok {
		return nil
	}
	facts := []Fact{{Run: &run}}
	if run.Status >= Running && b.State != "queued" {
		for _, revision := range b.Revisions.Revision {
			if sha := teamcityVersion(revision.Version); sha != "" {
				facts = append(facts, Fact{Commit: &Commit{SHA: sha, Repository: revision.Instance.RootID, Said: run.Said}})
			}
		}
	}
	return append(facts, b.LastChanges.facts()...)
}

func (c teamcityChanges) facts() []Fact {
	var facts []Fact
	for _, change := range c.Change {
		if commit, ok := change.commit(); ok {
			facts = append(facts, Fact{Commit: &commit})
		}
	}
	return facts
}

// commit is the change as a Commit; false where it is none. Its time is the version
// control system's. TeamCity says nothing of signatures.
func (c teamcityChange) commit() (Commit, bool) {
	sha := teamcityVersion(c.Version)
	if sha == "" || c.Personal {
		return Commit{}, false
	}
	author, email := teamcityAuthor(max(c.Committer.VcsUsername, c.Username))
	if users := c.Committer.Users.User; len(users) == 1 && email == "" {
		email = users[0].Email
	}
	return Commit{
		SHA: sha, Repository: c.Instance.RootID, Author: author, AuthorEmail: email,
		Committed: c.Date.Time, Subject: subjectOf(c.Comment), Said: c.Date.Time,
	}, true
}

// teamcityAuthor splits a VCS user name, which by the root's "username style" is an
// account, a name, an address, or "Name <address>".
func teamcityAuthor(name string) (author, email string) {
	name = strings.TrimSpace(name)
	if before, rest, ok := strings.Cut(name, "<"); ok {
		return strings.TrimSpace(before), strings.TrimSuffix(strings.TrimSpace(rest), ">")
	}
	if strings.Contains(name, "@") && !strings.Contains(name, " ") {
		return name, name
	}
	return name, ""
}

// teamcityVersion is a revision; a display version may have a date after it.
func teamcityVersion(version string) string {
	version, _, _ = strings.Cut(version, ",")
	return strings.ToLower(strings.TrimSpace(version))
}
