package ci

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// spaceExecution is a JobExecutionDTO.
type spaceExecution struct {
	ID         spaceText    `json:"executionId"`
	Number     *spaceNumber `json:"executionNumber"`
	Job        spaceText    `json:"jobName"`
	Project    spaceText    `json:"projectId"`
	Branch     spaceText    `json:"branch"`
	Status     spaceText    `json:"status"`
	Triggered  spaceTime    `json:"triggeredTime"`
	Started    spaceTime    `json:"startedTime"`
	Finished   spaceTime    `json:"finishedTime"`
	Conditions spaceList[struct {
		ClassName spaceText `json:"className"`
	}] `json:"failureConditions"`
	Commit spaceText `json:"commitId"`
}

// newest is the newest time in an execution: what the API said was so by then.
func (e spaceExecution) newest() time.Time {
	return latest(e.Triggered.Time, latest(e.Started.Time, e.Finished.Time))
}

// spaceStatuses are the words of ExecutionStatus.
var spaceStatuses = map[spaceText]Status{
	"SCHEDULED": Queued, "PENDING": Queued, "READY_TO_START": Queued,
	"RUNNING": Running, "FINISHING": Running, "TERMINATING": Running, "HIBERNATING": Running, "HIBERNATED": Running, "RESTARTING": Running,
	"SKIPPED": Skipped, "TERMINATED": Canceled, "FAILED": Failed, "FINISHED": Succeeded,
}

// status of an execution. One that finished in spite of a failure condition has
// failed: "finished" alone does not say how.
func (e spaceExecution) status() Status {
	status := spaceStatuses[e.Status]
	if status == Succeeded && len(e.Conditions) > 0 {
		return Failed
	}
	return status
}

// runOf is what the API says of a run. It knows neither the trigger nor who set it
// off: only webhooks do.
func (s *Space) runOf(e spaceExecution) Run {
	project := s.project(string(e.Project), "")
	return Run{
		Provider: spaceProvider, Project: project.Name, ID: string(e.ID),
		Job: string(e.Job), Name: spaceNumbered(e.Number), Ref: string(e.Branch), Commit: spaceSHA(string(e.Commit)),
		Principal: project.Principal,
		Status:    e.status(), Queued: e.Triggered.Time, Started: e.Started.Time, Finished: e.Finished.Time,
		Said: e.newest(),
	}
}

// spaceJobEvent is an AutomationJobEvent. It has no jobId: its run is named by
// executionId, in the API as well.
type spaceJobEvent struct {
	Meta       spaceMeta                `json:"meta"`
	ID         spaceText                `json:"executionId"`
	Project    spaceProjectRef          `json:"project"`
	Repository spaceText                `json:"repositoryName"`
	Job        spaceText                `json:"jobName"`
	Number     *spaceNumber             `json:"executionNumber"`
	Trigger    spaceTrigger             `json:"trigger"`
	Triggered  spaceTime                `json:"triggerTime"`
	Status     spaceChange[spaceText]   `json:"status"`
	Started    spaceChange[spaceTime]   `json:"startTime"`
	Finished   spaceChange[spaceTime]   `json:"endTime"`
	Checkouts  spaceList[spaceCheckout] `json:"repositories"`
}

// spaceMeta is a KMetaMod.
type spaceMeta struct {
	Timestamp spaceTime `json:"timestamp"`
}

// spaceCheckout is a GitCheckout.
type spaceCheckout struct {
	Default spaceFlag `json:"isDefault"`
	Name    spaceText `json:"name"`
	Ref     spaceText `json:"ref"`
	Commit  spaceText `json:"commit"`
}

// spaceTrigger is a JobExecutionTrigger.
type spaceTrigger struct {
	ClassName spaceText      `json:"className"`
	Commit    spaceText      `json:"commit"`    // GitPush
	Principal spacePrincipal `json:"principal"` // Manual, SafeMerge
}

// spacePrincipal is a CPrincipal.
type spacePrincipal struct {
	Name    spaceText `json:"name"`
	Details struct {
		Email   spaceText       `json:"email"` // CUserWithEmailPrincipalDetails
		Name    spaceText       `json:"name"`  // CAutomationTaskPrincipalDetails
		User    spaceProfile    `json:"user"`  // CUserPrincipalDetails
		App     spaceApp        `json:"app"`   // CApplicationPrincipalDetails
		Project spaceProjectRef `json:"project"`
		Class   spaceText       `json:"className"`
	} `json:"details"`
}

// spaceProfile is a TDMemberProfile; its name is an object of two.
type spaceProfile struct {
	ID       spaceText `json:"id"`
	Username spaceText `json:"username"`
}

// String is who it is: by details where there are some, else the name shown.
func (p spacePrincipal) String() string {
	d := p.Details
	var who spaceText
	switch d.Class {
	case "CUserPrincipalDetails":
		who = d.User.Username
	case "CUserWithEmailPrincipalDetails":
		who = d.Email
	case "CApplicationPrincipalDetails":
		who = d.App.Name
	case "CAutomationTaskPrincipalDetails":
		if who = d.Name; who != "" && d.Project.Key.Key != "" {
			who = d.Project.Key.Key + "/" + who
		}
	}
	return string(cmp.Or(who, p.Name))
}

// spaceJobStatuses are the words of JobExecutionStatus, which are others than the
// API's.
var spaceJobStatuses = map[spaceText]Status{"Started": Running, "Succeeded": Succeeded, "Failed": Failed, "Terminated": Canceled}

// facts of an event about a run. An event that does not name its run and project
// (a custom body) says nothing that could be kept.
func (e spaceJobEvent) facts(s *Space) ([]Fact, error) {
	project := s.project(string(e.Project.ID), string(e.Project.Key.Key))
	if e.ID == "" || project.Name == "" {
		return nil, nil
	}
	if !spaceID.MatchString(string(e.ID)) {
		return nil, fmt.Errorf("%w: executionId is not 1 to 128 letters, digits, - and _", ErrMalformed)
	}
	run := Run{
		Provider: spaceProvider, Project: project.Name, ID: string(e.ID),
		Job: string(e.Job), Name: spaceNumbered(e.Number), Trigger: spaceSnake(strings.TrimPrefix(string(e.Trigger.ClassName), "JobExecutionTrigger.")),
		Actor: e.Trigger.Principal.String(), Principal: project.Principal,
		Status: spaceJobStatuses[e.Status.New],
		Queued: e.Triggered.Time, Started: e.Started.New.Time, Finished: e.Finished.New.Time,
		Said: e.Meta.Timestamp.Time,
	}
	if run.Said.IsZero() {
		run.Said = latest(run.Queued, latest(run.Started, run.Finished))
	}
	checkout := e.checkout()
	run.Ref, run.Commit = string(checkout.Ref), cmp.Or(spaceSHA(string(checkout.Commit)), spaceSHA(string(e.Trigger.Commit)))
	return []Fact{{Run: &run}}, nil
}

// checkout is the one that the run is about: the default, else the repository that
// the event names, else the first.
func (e spaceJobEvent) checkout() spaceCheckout {
	var named, first spaceCheckout
	for i, c := range e.Checkouts {
		if c.Default {
			return c
		}
		if named.Name == "" && c.Name == e.Repository {
			named = c
		}
		if i == 0 {
			first = c
		}
	}
	if named.Name != "" {
		return named
	}
	return first
}

// spaceCommit is a GitCommitInfo.
type spaceCommit struct {
	ID        spaceText       `json:"id"`
	Message   spaceText       `json:"message"`
	Authored  spaceTime       `json:"authorDate"`
	Committed spaceTime       `json:"commitDate"`
	Author    spaceGitPerson  `json:"author"`
	Committer spaceGitPerson  `json:"committer"`
	Signature *spaceSignature `json:"signature"`
}

type spaceGitPerson struct {
	Name  spaceText `json:"name"`
	Email spaceText `json:"email"`
}

// spaceSignature is a GitCommitSignature; its class is the verdict.
type spaceSignature struct {
	ClassName spaceText `json:"className"`
}

// commit is a commit of a repository. Its time of saying is its own: no message
// about commits has another.
func (c spaceCommit) commit(projectKey, repository string) Commit {
	commit := Commit{
		SHA: spaceSHA(string(c.ID)), Repository: strings.Trim(projectKey+"/"+repository, "/"),
		Author: string(c.Author.Name), AuthorEmail: string(c.Author.Email), Committer: string(c.Committer.Name),
		Authored: c.Authored.Time, Committed: c.Committed.Time, Subject: spaceSubject(string(c.Message)),
		Said: latest(c.Authored.Time, c.Committed.Time),
	}
	switch {
	case c.Signature == nil || c.Signature.ClassName == "":
	case c.Signature.ClassName == "GitCommitSignature.Verified":
		commit.Signature = "verified"
	default: // NotVerified, ExpiredKey, RevokedKey, Raw
		commit.Signature = "unverified"
	}
	return commit
}

// answered is a commit as the API gave it, which was asked for the signature: none
// there is none. A webhook without one may only have been set to send less.
func (c spaceCommit) answered(projectKey, repository string) Commit {
	commit := c.commit(projectKey, repository)
	if c.Signature == nil {
		commit.Signature = "none"
	}
	return commit
}

// spaceNumbered is what people call a run: "#118"; "" where it has no number.
func spaceNumbered(n *spaceNumber) string {
	if n == nil || *n < 0 {
		return ""
	}
	return fmt.Sprintf("#%d", *n)
}

// spaceHash is a whole commit hash, SHA-1 or SHA-256.
var spaceHash = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// spaceSHA is a commit hash in lower case, "" for what is none: half a hash joins
// nothing.
func spaceSHA(text string) string {
	text = strings.ToLower(text)
	if !spaceHash.MatchString(text) {
		return ""
	}
	return text
}

const maxSpaceSubject = 500 // bytes

// spaceSubject is the first line of a commit's message, in bounds.
func spaceSubject(message string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(message, "\r\n"), "\n")
	line = strings.TrimSpace(line)
	if len(line) <= maxSpaceSubject {
		return line
	}
	end := maxSpaceSubject
	for !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end]
}

// spaceSnake writes a class as the API writes a trigger: GitPush is git_push.
func spaceSnake(class string) string {
	var b strings.Builder
	for i, r := range class {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
