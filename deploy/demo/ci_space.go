package demo

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// SpaceClientID is the application that haptrail has in the demo's Space.
const SpaceClientID = "haptrail"

// SpaceProject is a project of the demo's Space, as haptrail is told of it.
type SpaceProject struct {
	Key, ID, Name string   // Name as in policy.yaml
	Jobs          []string // ids of those that can be polled
	Repositories  []string
	Principal     string // its Automation Service, the subject of its jobs' tokens
}

// spaceFake is the Space of the cast.
type spaceFake struct{ citest.Space }

// account is the Automation Service of a project of Space.
type account struct {
	project, owner string
	archived       bool
}

// accounts are Space's, by the subject of their tokens.
var accounts = map[string]account{
	"payments-api-automation":    {project: "payments-api", owner: "mira.aalto"},
	"payments-deploy-automation": {project: "payments-deploy", owner: "jonas.weber"},
	"docs-site-automation":       {project: "docs-site"},                                        // the project's own, and no person's
	"status-page-automation":     {project: "status-page", owner: "priya.nair", archived: true}, // and its tokens live on
}

func newSpace(began time.Time, secrets map[string]string) *spaceFake {
	s := &spaceFake{citest.Space{ClientID: SpaceClientID, ClientSecret: secrets[SpaceClientSecret], SigningKey: secrets[SpaceSigningKey]}}
	for _, c := range changesOf(space) {
		at := slices.IndexFunc(s.Repositories, func(r citest.SpaceRepository) bool { return r.Name == c.repository })
		if at < 0 {
			at = len(s.Repositories)
			s.Repositories = append(s.Repositories, citest.SpaceRepository{ProjectKey: spaceKey(c.repository), Name: c.repository})
		}
		repository := &s.Repositories[at]
		repository.Commits = append(repository.Commits, citest.SpaceCommit{
			SHA: c.sha, Message: c.subject, Author: c.author, Email: c.email, Signature: spaceSignatures[c.signature], At: began.Add(-c.age).UTC(),
		})
		slices.SortFunc(repository.Commits, func(a, b citest.SpaceCommit) int { return b.At.Compare(a.At) }) // as Space lists them
	}
	for _, project := range SpaceProjects() {
		of := accounts[project.Principal]
		s.Apps = append(s.Apps, citest.SpaceApp{
			ID: "app-" + project.Principal, ClientID: "client-" + numericID(project.Principal), Name: project.Principal, Owner: of.owner,
			ProjectID: project.ID, ProjectKey: project.Key, Archived: of.archived,
			Created: began.Add(-400 * 24 * time.Hour).UTC(), LastAccess: began.Add(-time.Hour).UTC(),
			Rights: map[string][]string{project.Key: {"Automation.Execution.View", "VcsRepository.Read"}},
		})
	}
	return s
}

// spaceSignatures are the classes of a commit's signature.
var spaceSignatures = map[string]string{"verified": "Verified", "unverified": "NotVerified"}

// SpaceProjects are the projects of the demo's Space. A project whose webhooks are
// late has no jobs to poll: nobody but the webhooks tells of its runs.
func SpaceProjects() []SpaceProject {
	var projects []SpaceProject
	for _, j := range cast {
		if j.provider != space {
			continue
		}
		at := slices.IndexFunc(projects, func(p SpaceProject) bool { return p.Name == j.project })
		if at < 0 {
			at = len(projects)
			key := spaceKey(j.project)
			projects = append(projects, SpaceProject{Key: key, ID: "id-" + key, Name: j.project, Principal: j.subject})
		}
		if j.hooks != late {
			projects[at].Jobs = append(projects[at].Jobs, spaceJobID(j))
		}
		repository := history[j.change].repository
		if repository == j.project && !slices.Contains(projects[at].Repositories, repository) {
			projects[at].Repositories = append(projects[at].Repositories, repository)
		}
	}
	return projects
}

func spaceKey(project string) string { return strings.ToUpper(project) }

func spaceJobID(j job) string { return "job" + numericID(j.project+"/"+j.job) }

// spaceTriggers are the classes of a webhook's trigger.
var spaceTriggers = map[string]string{"push": "GitPush", "manual": "Manual", "schedule": "Schedule"}

// put is the fake's. Space tells of a push, and that a run started and ended.
func (s *spaceFake) put(r ciRun) []webhook {
	key, change := spaceKey(r.project), history[r.change]
	run := citest.SpaceRun{
		ProjectID: "id-" + key, ProjectKey: key, JobID: spaceJobID(r.job), Job: r.job.job, ID: r.run, Number: 118,
		Repository: change.repository, Branch: r.ref, Commit: change.sha, Trigger: spaceTriggers[r.trigger], Actor: r.actor,
		Status: "PENDING", Queued: r.queued, Started: r.started, Finished: r.finished,
	}
	switch {
	case !r.finished.IsZero() && r.status == "succeeded":
		run.Status = "FINISHED"
	case !r.finished.IsZero():
		run.Status = "FAILED"
	case !r.started.IsZero():
		run.Status = "RUNNING"
	}
	var bodies [][]byte
	s.Update(func() {
		at := slices.IndexFunc(s.Runs, func(known citest.SpaceRun) bool { return known.ID == run.ID })
		if at < 0 {
			s.Runs = append(s.Runs, run)
			bodies = s.pushes(r)
			return
		}
		s.Runs[at] = run
	})
	if events := s.RunEvents(run); len(events) > 0 {
		bodies = append(bodies, events[len(events)-1])
	}
	var hooks []webhook
	for _, body := range bodies {
		hooks = append(hooks, func(ctx context.Context, client *http.Client, url string) (int, error) {
			return s.Send(ctx, client, url, body)
		})
	}
	return hooks
}

// pushes is the push that set the run off, if one did.
func (s *spaceFake) pushes(r ciRun) [][]byte {
	if r.trigger != "push" {
		return nil
	}
	for _, repository := range s.Repositories {
		for _, commit := range repository.Commits {
			if commit.SHA == history[r.change].sha {
				return [][]byte{s.PushEvent(repository, commit)}
			}
		}
	}
	return nil
}
