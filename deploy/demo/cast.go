package demo

import (
	"net/http"
	"time"
)

// job is one CI job of the cast, and what it does.
type job struct {
	name     string // as the Summary calls it
	provider string // empty for a caller that no CI knows
	project  string
	job      string // the job's definition, as the provider's claim spells it
	run      string // id of the run; empty: the CI knows of no run
	attempt  int
	ref      string
	change   string // key of history
	subject  string // the sub claim
	actor    string
	agent    string
	trigger  string
	status   string // of the run, when the script is over: succeeded, failed or running
	token    tokenKind
	kid      string        // the key that signs; empty: the provider's first
	header   string        // the run that it names in X-CI-Run (JetBrains Space): its own as a rule
	hooks    hookKind      // what becomes of the webhooks of its run
	before   time.Duration // the run ended that long before the script
	steps    []step
}

// tokenKind says how a job's token is wrong, if it is.
type tokenKind int

const (
	genuine       tokenKind = iota
	lingering               // good for an hour, whatever becomes of its run
	expired                 // was good, until the run ended
	wrongAudience           // made for somebody else
	forged                  // signed with a key of one's own
	absent                  // no token at all
)

// step is one request, made one or more times.
type step struct {
	method string
	path   string
	size   int // of the body, in bytes
	times  int
	burst  bool // times is Options.Burst, and nobody waits in between
	hangUp bool // the job gives up in the middle of the answer
	after  bool // begins when GitHub signs with its next key, and asks for a token anew
	away   bool // sent from another network than the agent's
	want   answer
}

// answer is what a request must come to.
type answer struct {
	status           int
	decision, reason string
}

func get(path string) step {
	return step{method: http.MethodGet, path: path, times: 1, want: answer{http.StatusOK, "allow", "ok"}}
}

func put(path string, size int) step {
	return step{method: http.MethodPut, path: path, size: size, times: 1, want: answer{http.StatusCreated, "allow", "ok"}}
}

func post(path string) step {
	return step{method: http.MethodPost, path: path, size: 180, times: 1, want: answer{http.StatusCreated, "allow", "ok"}}
}

func (s step) repeat(n int) step { s.times = n; return s }

func (s step) denied(status int, reason string) step {
	s.want = answer{status, "deny", reason}
	return s
}

func (s step) answered(status int) step { s.want.status = status; return s }

func (s step) abandoned() step { s.hangUp = true; return s }

func (s step) afterRotation() step { s.after = true; return s }

func (s step) elsewhere() step { s.away = true; return s }

// public is a step that needs no token.
func (s step) public() step { s.want.reason = "public"; return s }

// cast is who appears, in the order in which the Summary tells it. What a job
// may do is in deploy/policy.yaml, not here: want is what somebody who has read
// that expects.
var cast = []job{
	{
		// One commit, and three runs of it: its header names the first, and Space
		// agrees; a signed claim names the second; nothing names the third.
		name: "payments release", provider: space, project: "payments-api", job: "Publish", run: "2bQWk1XYZ9dE", attempt: 1,
		ref: "refs/heads/main", change: "retry-budget", subject: "payments-api-automation", actor: "mira.aalto", agent: "linux-agent-07",
		trigger: "push", status: "succeeded", header: "2bQWk1XYZ9dE",
		steps: []step{
			get("/packages/maven/org/postgresql/postgresql-42.7.4.jar").repeat(3),
			put("/artifacts/payments-api/1.8.2/app.jar", 48<<10),
			put("/artifacts/payments-api/1.8.2/app.jar.sha256", 65),
			post("/releases/payments-api/1.8.2"),
		},
	},
	{
		name: "payments checks", provider: teamcity, project: "Payments", job: "Payments_Checks", run: "48219", attempt: 1,
		ref: "refs/heads/main", change: "retry-budget", subject: "_Root:project44:bt61", actor: "mira.aalto", agent: "linux-agent-05",
		trigger: "push", status: "succeeded",
		steps: []step{
			get("/packages/maven/org/postgresql/postgresql-42.7.4.jar"),
			get("/artifacts/payments-api/1.8.1/app.jar").repeat(2),
		},
	},
	{
		// Sends no run: haptrail can only infer it from the time, and only when it
		// hears of the run at all, which is late.
		name: "docs build", provider: space, project: "docs-site", job: "Build", run: "2bR0cTT81qYu", attempt: 1,
		ref: "refs/heads/main", change: "retry-budget", subject: "docs-site-automation", actor: "lea.okafor", agent: "linux-agent-11",
		trigger: "push", status: "failed", hooks: late,
		steps: []step{
			get("/packages/npm/astro-5.1.0.tgz").repeat(4),
			get("/releases/docs-site/latest"),
			post("/releases/docs-site/2.0.1").denied(http.StatusForbidden, "grant_denied"),
		},
	},
	{
		// A hotfix that nobody signed, from a branch that anybody may push to: the
		// role hangs on the account, and a token of Space names no branch.
		name: "payments deploy", provider: space, project: "payments-deploy", job: "Deploy", run: "2bQX7mR40aLp", attempt: 1,
		ref: "refs/heads/hotfix/capture-timeout", change: "capture-timeout", subject: "payments-deploy-automation", actor: "jonas.weber",
		agent: "linux-agent-02", trigger: "manual", status: "running", header: "2bQX7mR40aLp",
		steps: []step{
			get("/artifacts/payments-api/1.8.1/app.jar"),
			get("/secrets/payments/db-password"),
			post("/deployments/staging").repeat(2),
			post("/deployments/prod"),
		},
	},
	{
		// Says that it is somebody else's run. Its account was archived long ago.
		name: "status page", provider: space, project: "status-page", job: "Publish", run: "2bR3vKe55wHd", attempt: 1,
		ref: "refs/heads/main", change: "status-feed", subject: "status-page-automation", actor: "priya.nair", agent: "linux-agent-11",
		trigger: "schedule", status: "succeeded", header: "2bQX7mR40aLp",
		steps: []step{get("/artifacts/payments-api/1.8.1/app.jar").repeat(2)},
	},
	{
		name: "infra apply", provider: teamcity, project: "Platform_Infra", job: "Platform_Infra_Apply", run: "48211", attempt: 1,
		ref: "refs/heads/main", change: "state-bucket", subject: "_Root:project31:project32:bt32", actor: "tomas.silva", agent: "linux-agent-03",
		trigger: "manual", status: "succeeded",
		steps: []step{
			get("/secrets/platform/terraform-state-key"),
			get("/artifacts/infra-modules/0.14.0/modules.tar.gz"),
			post("/deployments/prod").repeat(2),
		},
	},
	{
		// Last hour's run, long over; its token is good for an hour all the same.
		name: "infra drift", provider: teamcity, project: "Platform_Infra", job: "Platform_Infra_Drift", run: "48190", attempt: 1,
		ref: "refs/heads/main", change: "state-bucket", subject: "_Root:project31:project32:bt35", actor: "schedule", agent: "linux-agent-03",
		trigger: "schedule", status: "succeeded", token: lingering, before: 26 * time.Minute,
		steps: []step{get("/secrets/platform/terraform-state-key").repeat(2)},
	},
	{
		name: "load test", provider: teamcity, project: "Platform_LoadTest", job: "Platform_LoadTest_Nightly", run: "48214", attempt: 1,
		ref: "refs/heads/main", change: "warm-cache", subject: "_Root:project31:project40:bt57", actor: "schedule", agent: "linux-agent-09",
		trigger: "schedule", status: "running",
		steps: []step{
			get("/packages/npm/index.json").repeat(5),
			{method: http.MethodGet, path: "/packages/npm/left-pad-1.3.0.tgz", burst: true, want: answer{http.StatusOK, "allow", "ok"}},
		},
	},
	{
		// Signed with the RS256 key of last year, which is still published. Its
		// webhooks are lost.
		name: "billing build", provider: teamcity, project: "Billing", job: "Billing_Build", run: "48216", attempt: 1,
		ref: "refs/heads/main", change: "invoice-split", subject: "_Root:project12:bt19", actor: "jonas.weber", agent: "windows-agent-01",
		trigger: "push", status: "failed", kid: "teamcity-2025b", hooks: lost,
		steps: []step{
			get(mirrorPath + "nuget/Newtonsoft.Json.13.0.3.nupkg").repeat(2).answered(http.StatusServiceUnavailable),
			get("/packages/nuget/Newtonsoft.Json.13.0.3.nupkg"),
			get(slowPath + "/symbols-7.3.0.tar").abandoned(),
			put("/artifacts/Billing/7.3.0/billing.zip", 32<<10),
		},
	},
	{
		name: "shop release", provider: github, project: "acme/web-shop", job: "acme/web-shop/.github/workflows/release.yml@refs/heads/main",
		run: "9817264410", attempt: 2, ref: "refs/heads/main", change: "shop-4.2.0", subject: "repo:acme/web-shop:ref:refs/heads/main",
		actor: "sofia-lindqvist", agent: "github-hosted", trigger: "push", status: "succeeded", hooks: twice,
		steps: []step{
			get("/packages/npm/react-18.3.1.tgz").repeat(6),
			put("/artifacts/acme/web-shop/4.2.0/bundle.tar.gz", 40<<10),
			post("/releases/acme/web-shop/4.2.0").afterRotation(),
		},
	},
	{
		// A pull request of somebody from outside reaches for what it must not have.
		name: "shop pull request", provider: github, project: "acme/web-shop", job: "acme/web-shop/.github/workflows/ci.yml@refs/pull/482/merge",
		run: "9817265873", attempt: 1, ref: "refs/pull/482/merge", change: "new-checkout", subject: "repo:acme/web-shop:pull_request",
		actor: "kd-contrib", agent: "github-hosted", trigger: "pull_request", status: "failed",
		steps: []step{
			get("/packages/npm/react-18.3.1.tgz").repeat(3),
			get("/secrets/web-shop/payment-live-key").repeat(2).denied(http.StatusForbidden, "grant_denied"),
			get("/packages/%2e%2e/secrets/web-shop/payment-live-key").denied(http.StatusForbidden, "path_unsafe"),
		},
	},
	{
		name: "shop sync", provider: github, project: "acme/web-shop", job: "acme/web-shop/.github/workflows/sync.yml@refs/heads/main",
		run: "9817266120", attempt: 1, ref: "refs/heads/main", change: "shop-4.2.0", subject: "repo:acme/web-shop:ref:refs/heads/main",
		actor: "dependabot[bot]", agent: "github-hosted", trigger: "schedule", status: "failed", token: wrongAudience,
		steps: []step{get("/artifacts/acme/web-shop/4.1.9/bundle.tar.gz").repeat(2).denied(http.StatusUnauthorized, "aud_bad")},
	},
	{
		// Known to GitHub, but no role of policy.yaml is for its repository.
		name: "experiment", provider: github, project: "acme/experiments", job: "acme/experiments/.github/workflows/try.yml@refs/heads/main",
		run: "9817270034", attempt: 1, ref: "refs/heads/main", change: "spike", subject: "repo:acme/experiments:ref:refs/heads/main",
		actor: "ravi-patel", agent: "self-hosted", trigger: "workflow_dispatch", status: "failed",
		steps: []step{get("/artifacts/acme/web-shop/4.2.0/bundle.tar.gz").denied(http.StatusForbidden, "no_role")},
	},
	{
		// Its token is used from a second network, while the run goes on.
		name: "app release", provider: gitlab, project: "mobile/shopping-app", job: "gitlab.example.test/mobile/shopping-app//.gitlab-ci.yml@refs/heads/main",
		run: "574203", attempt: 1, ref: "refs/heads/main", change: "offline-cart", subject: "project_path:mobile/shopping-app:ref_type:branch:ref:main",
		actor: "hana.suzuki", agent: "1107", trigger: "push", status: "running",
		steps: []step{
			get("/packages/gradle/kotlin-stdlib-2.1.0.jar").repeat(4),
			put("/artifacts/mobile/shopping-app/3.7.0/app-release.aab", 44<<10),
			get("/artifacts/mobile/shopping-app/3.7.0/app-release.aab").repeat(2).elsewhere(),
			post("/packages/generic/mobile/shopping-app/3.7.0"),
		},
	},
	{
		// An unprotected branch reaches for a secret.
		name: "app branch", provider: gitlab, project: "mobile/shopping-app", job: "gitlab.example.test/mobile/shopping-app//.gitlab-ci.yml@refs/heads/beta-signing",
		run: "574209", attempt: 1, ref: "refs/heads/beta-signing", change: "signing-poc", subject: "project_path:mobile/shopping-app:ref_type:branch:ref:beta-signing",
		actor: "emil.novak", agent: "1107", trigger: "push", status: "failed",
		steps: []step{
			get("/packages/gradle/kotlin-stdlib-2.1.0.jar").repeat(2),
			get("/secrets/mobile/signing-keystore").repeat(3).denied(http.StatusForbidden, "grant_denied"),
		},
	},
	{
		// The token of last night's run, used after the run was over.
		name: "app nightly", provider: gitlab, project: "mobile/shopping-app", job: "gitlab.example.test/mobile/shopping-app//.gitlab-ci.yml@refs/heads/main",
		run: "574118", attempt: 1, ref: "refs/heads/main", change: "nightly", subject: "project_path:mobile/shopping-app:ref_type:branch:ref:main",
		actor: "hana.suzuki", agent: "1102", trigger: "schedule", status: "succeeded", token: expired, before: 37 * time.Minute,
		steps: []step{get("/artifacts/mobile/shopping-app/3.6.9/app-release.aab").repeat(2).denied(http.StatusUnauthorized, "exp_bad")},
	},
	{
		// Says that it is the shop's release, with a key of its own.
		name: "impostor", provider: github, project: "acme/web-shop", job: "acme/web-shop/.github/workflows/release.yml@refs/heads/main",
		ref: "refs/heads/main", change: "shop-4.2.0", subject: "repo:acme/web-shop:ref:refs/heads/main", actor: "sofia-lindqvist", token: forged,
		steps: []step{post("/releases/acme/web-shop/4.2.1").repeat(2).denied(http.StatusUnauthorized, "sig_bad")},
	},
	{
		// Finds the one path that is public, and tries another.
		name: "somebody with curl", token: absent,
		steps: []step{
			get(healthPath).public(),
			get("/secrets/payments/db-password").repeat(2).denied(http.StatusUnauthorized, "no_token"),
		},
	},
}
