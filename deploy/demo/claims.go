package demo

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Life of a token: made a moment before the job's first request.
const (
	tokenAge      = time.Second
	tokenLifetime = 10 * time.Minute
	longLifetime  = time.Hour // of a lingering one
)

// token returns what the job sends as its bearer token at that time; empty when
// it has none. id becomes the jti claim, of the providers that have one.
func (is *issuer) token(j job, id string, now time.Time) (string, error) {
	if j.token == absent {
		return "", nil
	}
	issued := now.Add(-tokenAge)
	switch j.token {
	case lingering: // made while the run was going on
		issued = now.Add(-j.before - time.Minute)
	case expired:
		issued = now.Add(-j.before - tokenLifetime)
	}
	key, err := is.signingKey(j)
	if err != nil {
		return "", err
	}
	return key.sign(is.claims(j, id, issued))
}

// signingKey is the key that signs the job's tokens: its provider's, or for a
// forged one a stranger's under the provider's kid.
func (is *issuer) signingKey(j job) (*signingKey, error) {
	key := is.key(j.provider, j.kid)
	if key == nil {
		return nil, fmt.Errorf("job %q: %s publishes no key %q", j.name, j.provider, j.kid)
	}
	if j.token != forged {
		return key, nil
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &signingKey{id: key.id, algorithm: jose.RS256, private: stranger}, nil
}

// claims is the token's content, named as each provider names it.
func (is *issuer) claims(j job, id string, issued time.Time) map[string]any {
	c := map[string]any{
		"iss": is.url(j.provider),
		"sub": j.subject,
		"aud": is.audiences[j.provider],
		"iat": issued.Unix(),
		"exp": issued.Add(tokenLifetime).Unix(),
	}
	switch j.token {
	case lingering:
		c["exp"] = issued.Add(longLifetime).Unix()
	case wrongAudience:
		c["aud"] = "https://github.com/acme" // GitHub's default: the owner's URL
	}
	switch j.provider {
	case teamcity:
		c["jti"], c["nbf"] = id, issued.Unix()
		teamcityClaims(c, j)
	case github:
		c["jti"], c["nbf"] = id, issued.Unix()
		githubClaims(c, j)
	case gitlab:
		c["jti"], c["nbf"] = id, issued.Add(-5*time.Second).Unix()
		c["aud"] = []any{"https://gitlab.example.test", c["aud"]}
		gitlabClaims(c, j)
	}
	return c // Space: the five registered claims are all that is known of its tokens
}

// teamcityClaims follows the plugin JetBrains/teamcity-oidc-jwt: build_id is a number.
func teamcityClaims(c map[string]any, j job) {
	build, _ := strconv.ParseInt(j.run, 10, 64) // the cast's TeamCity runs are numbers
	c["build_id"] = build
	c["build_number"] = strconv.FormatInt(build%1000, 10)
	c["build_type_id"] = lastOf(j.subject, ":")
	c["build_type_external_id"] = j.job
	c["project_id"] = "project" + numericID(j.project)
	c["project_external_id"] = j.project
	c["vcs_roots"] = []map[string]any{{"id": 7, "name": history[j.change].repository, "revision": history[j.change].sha}}
	c["triggered_by_user_name"] = j.actor
	c["triggered_by_snapshot"] = false
	c["branch_name"] = j.ref
	c["branch_display_name"] = lastOf(j.ref, "/")
	c["branch_is_default"] = j.ref == "refs/heads/main"
	c["agent_name"] = j.agent
	c["agent_hostname"] = j.agent + ".ci.example.test"
	c["agent_pool"] = "Default"
	c["agent_is_cloud"] = false
	c["is_personal"] = false
}

// githubClaims follows docs.github.com, "OpenID Connect reference": all strings.
func githubClaims(c map[string]any, j job) {
	owner, _, _ := strings.Cut(j.project, "/")
	workflow, _, _ := strings.Cut(lastOf(j.job, "/workflows/"), ".yml")
	c["actor"] = j.actor
	c["actor_id"] = numericID(j.actor)
	c["check_run_id"] = numericID(j.run + j.job)
	c["event_name"] = j.trigger
	c["job_workflow_ref"] = j.job
	c["ref"] = j.ref
	c["ref_type"] = "branch"
	c["repository"] = j.project
	c["repository_id"] = numericID(j.project)
	c["repository_owner"] = owner
	c["repository_owner_id"] = numericID(owner)
	c["repository_visibility"] = "private"
	c["run_id"] = j.run
	c["run_number"] = "118"
	c["run_attempt"] = strconv.Itoa(max(j.attempt, 1))
	c["runner_environment"] = j.agent
	c["sha"] = history[j.change].sha
	c["workflow"] = workflow
	c["workflow_ref"] = j.job
	c["workflow_sha"] = history[j.change].sha
}

// gitlabClaims follows gitlab.com's ID tokens: ids and booleans are strings,
// runner_id is a number.
func gitlabClaims(c map[string]any, j job) {
	namespace, _, _ := strings.Cut(j.project, "/")
	runner, _ := strconv.Atoi(j.agent) // the cast's GitLab agents are runner ids
	c["namespace_id"] = numericID(namespace)
	c["namespace_path"] = namespace
	c["project_id"] = numericID(j.project)
	c["project_path"] = j.project
	c["user_id"] = numericID(j.actor)
	c["user_login"] = j.actor
	c["user_email"] = j.actor + "@example.com"
	c["pipeline_id"] = j.run
	c["pipeline_source"] = j.trigger
	c["job_id"] = numericID(j.run)
	c["ref"] = lastOf(j.ref, "/")
	c["ref_type"] = "branch"
	c["ref_path"] = j.ref
	c["ref_protected"] = strconv.FormatBool(j.ref == "refs/heads/main")
	c["runner_id"] = runner
	c["runner_environment"] = "self-hosted"
	c["sha"] = history[j.change].sha
	c["project_visibility"] = "private"
	c["ci_config_ref_uri"] = j.job
	c["ci_config_sha"] = history[j.change].sha
}

// lastOf is the part of s behind the last sep, or all of it.
func lastOf(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i+len(sep):]
	}
	return s
}

// numericID stands for the number that a provider keeps beside a name.
func numericID(name string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(name))), 10)
}

// uuid returns a version 4 UUID (RFC 9562) made from two words of a seeded
// source: the same seed gives the same token ids.
func uuid(hi, lo uint64) string {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}
