package policy

import (
	"strings"
	"testing"
)

// shop is a policy of the usual size.
const shop = `version: 1
gate: {log: "127.0.0.1:5514"}
issuers:
- {name: github, provider: github, audiences: [gate.example.com]}
- {name: teamcity, provider: teamcity, issuer: "https://tc.example.com", audiences: [gate.example.com]}
- {name: space, provider: space, issuer: "https://space.example.com", audiences: [client], projects: {payments-deploy-automation: payments-api}}
roles:
- name: deployer
  match:
  - {issuer: teamcity, project: Platform_Infra, ref: refs/heads/main}
  - {provider: space, subject: payments-deploy-automation}
- name: publisher
  match: [{issuer: github, tenant: acme, project: acme/*, ref: refs/heads/main}]
- name: reader
  match: [{issuer: github, tenant: acme}, {issuer: "*", project: "**"}]
- {name: idle, match: [{issuer: teamcity}]}
grants:
- {roles: [reader, publisher, deployer], paths: ["/artifacts/{project}/**", "/releases/*"]}
- {roles: [publisher], methods: [PUT], hosts: [artifacts.example.com, "*.cdn.example.com"], paths: ["/artifacts/{project}/{sha}/*", "/releases/v*.zip"]}
- {roles: [deployer], methods: [GET, POST], paths: ["/**"]}
protect:
  frontends: [www]
  public:
  - {paths: [/healthz, "/assets/**"]}
  - {methods: [POST], hosts: [hooks.example.com], paths: [/hook]}
`

var (
	main_  = Identity{Issuer: "github", Provider: "github", Tenant: "acme", Project: "acme/web", Job: "j", Run: "7", Ref: "refs/heads/main", SHA: "c0ffee", Actor: "jo", Subject: "repo:acme/web"}
	branch = Identity{Issuer: "github", Provider: "github", Tenant: "acme", Project: "acme/web", Ref: "refs/heads/x", Subject: "repo:acme/web"}
	other  = Identity{Issuer: "github", Provider: "github", Tenant: "mallory", Subject: "s"}
	infra  = Identity{Issuer: "teamcity", Provider: "teamcity", Project: "Platform_Infra", Ref: "refs/heads/main", Subject: "s"}
	bare   = Identity{Issuer: "teamcity", Provider: "teamcity", Subject: "s"}
	auto   = Identity{Issuer: "space", Provider: "space", Project: "payments-api", Subject: "payments-deploy-automation"}
)

// TestDecide: each row by Decide and by the maps' lines.
func TestDecide(t *testing.T) {
	p := parse(t, shop)
	const a = "artifacts.example.com"
	for _, c := range []struct {
		who                Identity
		method, host, path string
		want               Decision
	}{
		{main_, "GET", a, "/artifacts/acme/web/x/y", Decision{true, "publisher", "/artifacts/{project}/**", "ok"}},
		{main_, "HEAD", "", "/artifacts/acme/web/", Decision{true, "publisher", "/artifacts/{project}/**", "ok"}},
		{main_, "GET", a, "/artifacts/acme/web", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "GET", a, "/artifacts/acme/web-shop/x", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "GET", a, "/releases/v1.zip", Decision{true, "publisher", "/releases/*", "ok"}},
		{main_, "PUT", a, "/releases/v1.zip", Decision{true, "publisher", "/releases/v*.zip", "ok"}},
		{main_, "PUT", "Artifacts.Example.COM:8443", "/artifacts/acme/web/c0ffee/app.jar", Decision{true, "publisher", "/artifacts/{project}/{sha}/*", "ok"}},
		{main_, "PUT", "eu.cdn.example.com", "/artifacts/acme/web/c0ffee/app.jar", Decision{true, "publisher", "/artifacts/{project}/{sha}/*", "ok"}},
		{main_, "PUT", "a.eu.cdn.example.com", "/artifacts/acme/web/c0ffee/app.jar", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "PUT", "", "/releases/v1.zip", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "PUT", a, "/artifacts/acme/web/facade/app.jar", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "put", a, "/releases/v1.zip", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "P|T", a, "/releases/v1.zip", Decision{false, "publisher", "", "method_unsafe"}},
		{main_, "P|T", a, "/a//b", Decision{false, "publisher", "", "path_unsafe"}},
		{main_, "GET", a, "/artifacts/acme%2fweb/x", Decision{false, "publisher", "", "path_unsafe"}},
		{main_, "GET", a, "/artifacts/acme/web/%2e%2e/other", Decision{false, "publisher", "", "path_unsafe"}},
		{main_, "GET", a, "/%61rtifacts/acme/web/x", Decision{true, "publisher", "/artifacts/{project}/**", "ok"}},
		// a host with "|" would shift the parts of a key so that it names its own project
		{main_, "GET", "h|acme|x|j|7|r|s|jo|s|/artifacts/x/", "/artifacts/x/y", Decision{false, "publisher", "", "grant_denied"}},
		{main_, "GET", a, "/x|acme|other|||||||/artifacts/other/y", Decision{false, "publisher", "", "grant_denied"}},
		{branch, "GET", a, "/artifacts/acme/web/x", Decision{true, "reader", "/artifacts/{project}/**", "ok"}},
		{branch, "PUT", a, "/artifacts/acme/web/x/y", Decision{false, "reader", "", "grant_denied"}},
		{other, "GET", a, "/releases/v1.zip", Decision{false, "", "", "no_role"}},
		{other, "G|T", a, "//", Decision{false, "", "", "no_role"}},
		{Identity{}, "GET", a, "/releases/v1.zip", Decision{false, "", "", "no_role"}},
		{infra, "POST", "x", "/any/thing", Decision{true, "deployer", "/**", "ok"}},
		{infra, "DELETE", "x", "/any/thing", Decision{false, "deployer", "", "grant_denied"}},
		{auto, "GET", "x", "/artifacts/payments-api/1", Decision{true, "deployer", "/artifacts/{project}/**", "ok"}},
		{bare, "GET", "x", "/releases/1", Decision{false, "idle", "", "grant_denied"}},
		// public: nobody is asked who he is, but path and method must be plain
		{other, "GET", "x", "/healthz", Decision{true, "", "/healthz", "public"}},
		{main_, "GET", "x", "/assets/a/b.css", Decision{true, "", "/assets/**", "public"}},
		{Identity{}, "POST", "Hooks.example.com:443", "/hook", Decision{true, "", "/hook", "public"}},
		{Identity{}, "POST", "x", "/hook", Decision{false, "", "", "no_role"}},
		{infra, "GET", "x", "/assets/../secret", Decision{false, "deployer", "", "path_unsafe"}},
		{infra, "POST", "x", "/healthz", Decision{true, "deployer", "/**", "ok"}},
	} {
		r := Request{c.method, c.host, c.path}
		if have := p.Decide(c.who, r); have != c.want {
			t.Errorf("%+v %+v:\n have %+v\n want %+v", c.who, r, have, c.want)
		}
		if have := byMaps(p, c.who, r); have != c.want {
			t.Errorf("by the maps, %+v %+v:\n have %+v\n want %+v", c.who, r, have, c.want)
		}
		if have := p.Public(r); have != (c.want.Reason == ReasonPublic) {
			t.Errorf("Public(%+v) = %v", r, have)
		}
	}
}

// TestNewJobInheritsItsRole: a job that nobody has heard of, of a project that the
// policy knows, has the project's role with no edit, and only at its project's
// paths.
func TestNewJobInheritsItsRole(t *testing.T) {
	p := parse(t, shop)
	before := len(p.RoleLines())
	for _, project := range []string{"acme/web", "acme/brand-new"} {
		for _, job := range []string{"", "acme/web/.github/workflows/never-seen.yml@refs/heads/main", "new job 17"} {
			id := main_
			id.Project, id.Job, id.Run, id.Actor, id.Subject = project, job, "99999", "new-hire", "repo:"+project
			if role, ok := p.Role(id); !ok || role != "publisher" {
				t.Errorf("job %q of %s: role %q", job, project, role)
			}
			if d := p.Decide(id, Request{"GET", "h", "/artifacts/" + project + "/x"}); !d.Allow {
				t.Errorf("job %q of %s: %+v", job, project, d)
			}
			if d := p.Decide(id, Request{"GET", "h", "/artifacts/acme/another/x"}); d.Allow {
				t.Errorf("job %q of %s, at another project: %+v", job, project, d)
			}
		}
	}
	if len(p.RoleLines()) != before {
		t.Error("the maps changed")
	}
}

// TestBarInIdentity: a "|" in any part gives no role, whatever the selectors say.
func TestBarInIdentity(t *testing.T) {
	p := parse(t, strings.Replace(shop, `{issuer: "*", project: "**"}`, `{issuer: "**"}`, 1))
	if role, ok := p.Role(bare); !ok || role != "reader" {
		t.Fatalf("role %q", role)
	}
	for _, change := range []func(*Identity){
		func(id *Identity) { id.Tenant = "a|b" }, func(id *Identity) { id.Project = "|" }, func(id *Identity) { id.Job = "|x" }, func(id *Identity) { id.Run = "1|" },
		func(id *Identity) { id.Ref = "|" }, func(id *Identity) { id.SHA = "|" }, func(id *Identity) { id.Actor = "|" }, func(id *Identity) { id.Runner = "|" },
		func(id *Identity) { id.Subject = "|" }, func(id *Identity) { id.Issuer = "|" }, func(id *Identity) { id.Provider = "|" },
	} {
		id := bare
		change(&id)
		if role, ok := p.Role(id); ok {
			t.Errorf("%+v: role %q", id, role)
		}
	}
}

// TestKeys: the parts are those that the lines are written for.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		have []string
		want string
	}{
		{RoleKey, "issuer|provider|tenant|project|job|ref|actor|runner|subject"},
		{GrantKey, "role|method|host|tenant|project|job|run|ref|sha|actor|subject|path"},
		{PublicKey, "method|host|path"},
	} {
		if have := strings.Join(c.have, "|"); have != c.want {
			t.Errorf("have %s, want %s", have, c.want)
		}
	}
}

// TestLines: the order of the file, literal roles first, and hosts that do not fit
// one line in further ones.
func TestLines(t *testing.T) {
	p := parse(t, shop)
	want := []Line{
		{`^deployer\|(?:GET|POST)\|(?:[^|]*\|){9}/(?s:.*)\z`, "/**"},
		{`^publisher\|PUT\|(?:artifacts\.example\.com|[^|.]*\.cdn\.example\.com)\|[^|]*\|(?<project>[^|]+)\|(?:[^|]*\|){3}(?<sha>[^|]+)\|(?:[^|]*\|){2}/artifacts/\k<project>/\k<sha>/[^/]+\z`, "/artifacts/{project}/{sha}/*"},
	}
	for _, w := range want {
		found := false
		for _, l := range p.GrantLines() {
			found = found || l == w
		}
		if !found {
			t.Errorf("no line %v in\n%v", w, p.GrantLines())
		}
	}
	if l := p.RoleLines()[1]; l != (Line{`^[^|]*\|space\|(?:[^|]*\|){6}payments-deploy-automation\z`, "deployer"}) {
		t.Errorf("have %v", l)
	}
	hosts := make([]string, 300)
	for i := range hosts {
		hosts[i] = strings.Repeat(string(rune('a'+i%26)), 3) + ".h" + strings.Repeat("x", i%7) + ".example.com"
	}
	many := parse(t, strings.Replace(shop, "{paths: [/healthz", "{hosts: ["+strings.Join(hosts, ", ")+"], paths: [/healthz", 1))
	checkForm(t, many)
	if n := len(many.PublicLines()); n < 5 || n > 20 {
		t.Errorf("%d lines", n)
	}
	for _, host := range hosts {
		if group, ok := firstLine(many.PublicLines(), "GET|"+host+"|/healthz", nil); !ok || group != "/healthz" {
			t.Errorf("%s is in no line", host)
		}
	}
}

// TestDecideDoesNotAllocate: what a replay of history asks a million times.
func TestDecideDoesNotAllocate(t *testing.T) {
	p := parse(t, shop)
	for _, path := range []string{"/artifacts/acme/web/x/y", "/releases/v1.zip", "/nothing/of/it", "/healthz"} {
		if n := testing.AllocsPerRun(100, func() { p.Decide(main_, Request{"PUT", "eu.cdn.example.com:443", path}) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p := parse(b, shop)
	for name, r := range map[string]Request{
		"allow":   {"PUT", "eu.cdn.example.com", "/artifacts/acme/web/c0ffee/app.jar"},
		"deny":    {"DELETE", "eu.cdn.example.com", "/artifacts/acme/web/c0ffee/app.jar"},
		"escaped": {"GET", "eu.cdn.example.com", "/artifacts/acme/web/a%20b"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(main_, r)
			}
		})
	}
}
