package demo

import (
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// TeamCityWebhookUser is the name that TeamCity's webhooks come with.
const TeamCityWebhookUser = "teamcity"

// teamcityFake is the TeamCity of the cast.
type teamcityFake struct{ citest.TeamCity }

func newTeamCity(began time.Time, secrets map[string]string) *teamcityFake {
	t := &teamcityFake{citest.TeamCity{
		Token: secrets[TeamCityToken], WebhookUser: TeamCityWebhookUser, WebhookPassword: secrets[TeamCityWebhookPassword],
	}}
	for i, c := range changesOf(teamcity) {
		t.PutChange(citest.TeamCityChange{
			ID: int64(1201 + i), Version: c.sha, Root: teamcityRoot(c), Username: c.author + " <" + c.email + ">",
			Comment: c.subject, Date: began.Add(-c.age).UTC(), Collected: began.Add(-c.age + time.Second).UTC(),
		})
	}
	return t
}

// teamcityRoot is the external id of the VCS root of a commit.
func teamcityRoot(c change) string {
	return "Git_" + strings.NewReplacer("/", "_", "-", "_").Replace(c.repository)
}

// teamcityTriggers are the types of a build's trigger.
var teamcityTriggers = map[string]string{"push": "vcs", "manual": "user", "schedule": "schedule"}

// put is the fake's. TeamCity sends the build as it is at each step.
func (t *teamcityFake) put(r ciRun) []webhook {
	id, _ := strconv.ParseInt(r.run, 10, 64) // the cast's TeamCity runs are numbers
	build := citest.TeamCityBuild{
		ID: id, Number: strconv.FormatInt(id%1000, 10), BuildType: r.job.job, Project: r.project,
		Branch: r.ref, DefaultBranch: r.ref == "refs/heads/main",
		Trigger: teamcityTriggers[r.trigger], Agent: r.agent, Queued: r.queued, Started: r.started, Finished: r.finished, Status: "FAILURE",
		Revisions: []citest.TeamCityRevision{{Root: teamcityRoot(history[r.change]), Version: history[r.change].sha, Branch: r.ref}},
	}
	if r.trigger == "manual" {
		build.User = r.actor
	}
	if r.status == "succeeded" {
		build.Status = "SUCCESS"
	}
	t.Put(build)
	event, at := "BUILD_TYPE_ADDED_TO_QUEUE", r.queued
	switch {
	case !r.finished.IsZero():
		event, at = "BUILD_FINISHED", r.finished
	case !r.started.IsZero():
		event, at = "BUILD_STARTED", r.started
	}
	return []webhook{t.Delivery(event, id, at).Send}
}
