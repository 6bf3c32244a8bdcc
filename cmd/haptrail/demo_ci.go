package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/analyze/finding"
	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/deploy/demo"
)

// demoPoll is how often the demo asks its CI servers: a run that no webhook tells
// must not keep the person waiting.
const demoPoll = 2 * time.Second

// demoSection is the section ci of the demo's daemon, as an operator would write it.
// Each source has its provider's name.
func demoSection(servers *demo.CI) config.CI {
	section := config.Default().CI
	section.Listen = "127.0.0.1:0"
	section.PollInterval = config.Duration(demoPoll)
	space := config.CISource{
		Name: "space", Provider: "space", URL: servers.URL("space"),
		ClientID: demo.SpaceClientID, ClientSecretFile: servers.SecretFile(demo.SpaceClientSecret), Subject: "name",
		Webhook: config.CIWebhook{SigningKeyFile: servers.SecretFile(demo.SpaceSigningKey)},
	}
	for _, p := range demo.SpaceProjects() {
		space.Projects = append(space.Projects, config.CIProject{
			Name: p.Name, Key: p.Key, ID: p.ID, Jobs: p.Jobs, Repositories: p.Repositories, Principal: p.Principal,
		})
	}
	section.Sources = []config.CISource{space, {
		Name: "teamcity", Provider: "teamcity", URL: servers.URL("teamcity"), TokenFile: servers.SecretFile(demo.TeamCityToken),
		Webhook: config.CIWebhook{User: demo.TeamCityWebhookUser, PasswordFile: servers.SecretFile(demo.TeamCityWebhookPassword)},
	}, {
		Name: "github", Provider: "github", URL: servers.URL("github"), TokenFile: servers.SecretFile(demo.GitHubToken),
		Repositories: demo.GitHubRepositories(),
		Webhook:      config.CIWebhook{SecretFile: servers.SecretFile(demo.GitHubWebhookSecret)},
	}, {
		Name: "gitlab", Provider: "gitlab", URL: servers.URL("gitlab"), TokenFile: servers.SecretFile(demo.GitLabToken),
		Webhook: config.CIWebhook{SecretFile: servers.SecretFile(demo.GitLabWebhookSecret)},
	}}
	return section
}

// demoProtected is what counts as production in the demo, as deploy/policy.yaml has
// it: what deployers alone may reach.
func demoProtected() []finding.Place {
	return []finding.Place{
		{Hosts: []string{"deploy.example.test"}, Endpoints: []string{"/deployments/prod"}},
		{Hosts: []string{"vault.example.test"}, Endpoints: []string{"/secrets/**"}},
	}
}

// webhooks is the URL of the daemon's webhooks.
func (d *demoDaemon) webhooks() string {
	return "http://" + d.server.ci.webhooks.Addr().String() + "/webhooks"
}

// violations are an error, if haptrail called a CI server otherwise than documented.
func violations(servers *demo.CI) error {
	if wrong := servers.Violations(); len(wrong) > 0 {
		return fmt.Errorf("haptrail called the CI servers wrongly: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// judge has every request judged, as the daemon's judge does by itself every few
// seconds: once without the runs whose webhooks are late, and again when they were
// told, so that the verdicts before can be seen. It returns the jobs whose runs no
// webhook told.
func (d *demoDaemon) judge(ctx context.Context, world *demo.World, summary *demo.Summary, steps *steps) (polled []string, err error) {
	judge := d.server.judge // which takes turns with itself
	steps.begin("judging which run each request is of")
	if err := judge.Once(ctx); err != nil {
		return nil, err
	}
	steps.begin("a webhook comes late, polls find the rest: judging again, and looking for findings")
	if err := world.TellLate(ctx, summary); err != nil {
		return nil, err
	}
	if polled, err = d.told(ctx, *summary); err != nil {
		return nil, err
	}
	return polled, judge.Once(ctx)
}

// historyTimeout bounds the wait for what the CI servers have yet to say.
const historyTimeout = 30 * time.Second

// told waits until the tables know how each job's run stands, and returns the jobs
// whose runs no webhook told.
func (d *demoDaemon) told(ctx context.Context, summary demo.Summary) (polled []string, err error) {
	want := map[string]string{} // status, by provider and run
	for _, j := range summary.Jobs {
		if j.Run == "" {
			continue
		}
		want[j.Provider+" "+j.Run] = j.Status
		if !j.Told {
			polled = append(polled, j.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	for {
		known, err := d.known(ctx, want)
		if err == nil && known == len(want) {
			return polled, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, hint(fmt.Errorf("%d of %d runs were told within %s: %w", known, len(want), historyTimeout, errors.Join(err, ctx.Err())),
				"see "+d.log.Name())
		}
	}
}

// known counts the runs whose last attempt stands as it is wanted.
func (d *demoDaemon) known(ctx context.Context, want map[string]string) (n int, err error) {
	rows, err := d.server.store.Conn().Query(ctx, "SELECT concat(provider, ' ', run) AS name, argMax(status, run_attempt) FROM runs GROUP BY name")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, status string
		if err := rows.Scan(&name, &status); err != nil {
			return 0, err
		}
		if wanted, ours := want[name]; ours && wanted == status {
			n++
		}
	}
	return n, rows.Err()
}

// sharedCommit is the commit that most of the jobs' runs are of.
func sharedCommit(summary demo.Summary) string {
	runs := map[string]int{}
	for _, j := range summary.Jobs {
		if j.Run != "" {
			runs[j.Commit]++
		}
	}
	most := slices.MaxFunc(summary.Jobs, func(a, b demo.JobResult) int { return cmp.Compare(runs[a.Commit], runs[b.Commit]) })
	return most.Commit
}
