package demo

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/haptrail/haptrail/deploy"
	"github.com/haptrail/haptrail/ingest/logformat"
)

// config returns the lines of deploy/haproxy.cfg.
func config(t *testing.T) []string {
	t.Helper()
	text, err := fs.ReadFile(deploy.Gate, "haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// matches returns the first group of each match in the lines that begin with
// prefix, behind blanks: sorted, each once.
func matches(lines []string, prefix, pattern string) []string {
	re := regexp.MustCompile(pattern)
	var found []string
	for _, l := range lines {
		if !strings.HasPrefix(strings.TrimSpace(l), prefix) {
			continue
		}
		for _, m := range re.FindAllStringSubmatch(l, -1) {
			found = append(found, m[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// The file as a user copies it: every environment variable has its default.
func TestHaproxyAcceptsTheConfiguration(t *testing.T) {
	haproxy, err := FindHaproxy()
	if err != nil {
		t.Skip(err)
	}
	keys, err := newKeyring()
	if err != nil {
		t.Fatal(err)
	}
	w := &World{options: Options{Dir: t.TempDir()}}
	if w.issuer, err = newIssuer("http://127.0.0.1:9000", keys); err != nil {
		t.Fatal(err)
	}
	if err := w.writeEdge(keys); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), haproxy, "-c", "-V", "-f", w.Config())
	check.Dir = "/" // relative files are looked for beside the configuration, not here
	check.Env = []string{"TZ=UTC"}
	output, err := check.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "Configuration file is valid") || strings.Contains(string(output), "WARNING") {
		t.Errorf("haproxy -c: %v\n%s", err, output)
	}
}

// What is logged is what was checked: no req. variable, no header, nothing
// misspelt, and nothing checked but forgotten.
func TestLogFormatsHoldCheckedVariablesOnly(t *testing.T) {
	lines := config(t)
	logged := matches(lines, "log-format ", `\[var\(([^),]+)\)`)
	logged = slices.DeleteFunc(logged, func(name string) bool { return name == "txn.uri" }) // holds the query string: never set here
	set := matches(lines, "http-request set-var", `set-var(?:-fmt)?\((txn\.[a-z_]+)\)`)
	if !slices.Equal(logged, set) {
		t.Errorf("logged %q\nset    %q", logged, set)
	}
	for _, l := range lines {
		if rule := strings.TrimSpace(l); strings.HasPrefix(rule, "http-request set-var(txn.") && strings.Contains(rule, "req.bearer") {
			t.Errorf("a claim goes into the log as it is: %s", rule)
		}
	}
	formats := matches(lines, "log-format ", `'(.+)'`)
	errors := matches(lines, "error-log-format ", `'(.+)'`)
	if len(formats) != 1 || len(errors) != 1 {
		t.Fatalf("want one format of each kind, have %d and %d", len(formats), len(errors))
	}
	if formats[0] != logformat.Haptrail {
		t.Errorf("want haptrail's own format:\n%s\n%s", formats[0], logformat.Haptrail)
	}
	same := strings.NewReplacer("var(txn.decision)", "str(deny)", "var(txn.reason)", "str(bad_request)").Replace(formats[0])
	if errors[0] != same {
		t.Errorf("the two formats differ in more than decision and reason:\n%s\n%s", errors[0], same)
	}
}

func TestKeysAreLoadedAndMapped(t *testing.T) {
	lines, err := readMap("maps/keys.map")
	if err != nil {
		t.Fatal(err)
	}
	var mapped []string
	for _, l := range lines {
		_, value, _ := strings.Cut(l[1], "|")
		mapped = append(mapped, strings.Replace(value, "|", `,"`, 1))
	}
	slices.Sort(mapped)
	loaded := matches(config(t), "http-request set-var(req.preload)", `jwt_verify\(([A-Z0-9]+,"[^"]+)"\)`)
	if !slices.Equal(mapped, loaded) {
		t.Errorf("maps/keys.map has %q, section 2 of haproxy.cfg loads %q", mapped, loaded)
	}
}

// A key of a prefix map that ends in the middle of a name also fits longer names.
func TestPrefixMapsEndTheirKeys(t *testing.T) {
	for name, end := range map[string]string{"maps/roles.map": "|", "maps/grants.map": "/"} {
		lines, err := readMap(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) == 0 {
			t.Errorf("%s is empty", name)
		}
		for _, l := range lines {
			if !strings.HasSuffix(l[0], end) || strings.Count(l[0], "|") < 2 {
				t.Errorf("%s: key %q does not end in %q", name, l[0], end)
			}
		}
	}
}

// compose is what the tests read of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Image string
		Build struct {
			Context, Dockerfile, Target string
		}
		Environment map[string]string
		Volumes     []string
		DependsOn   map[string]any `yaml:"depends_on"`
	}
	Volumes map[string]any
}

func TestCompose(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	exists := func(service, path string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("service %s: %v", service, err)
		}
	}
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build.Dockerfile == "") {
			t.Errorf("service %s: want either an image or a build", name)
		}
		if s.Build.Dockerfile != "" {
			exists(name, s.Build.Dockerfile)
			dockerfile, _ := os.ReadFile(filepath.Join(root, s.Build.Dockerfile))
			if !strings.Contains(string(dockerfile), " AS "+s.Build.Target+"\n") {
				t.Errorf("service %s: the Dockerfile has no stage %q", name, s.Build.Target)
			}
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				exists(name, source)
			} else if _, declared := c.Volumes[source]; !declared {
				t.Errorf("service %s: volume %q is not declared", name, source)
			}
		}
		for other := range s.DependsOn {
			if _, found := c.Services[other]; !found {
				t.Errorf("service %s depends on %q, which is not there", name, other)
			}
		}
	}
	gate := c.Services["haproxy"]
	variables := matches(config(t), "", `\$\{(HAPTRAIL_[A-Z]+)`)
	if len(variables) == 0 || gate.Environment["TZ"] != "UTC" {
		t.Errorf("variables %q, TZ=%q", variables, gate.Environment["TZ"])
	}
	for _, variable := range variables {
		if gate.Environment[variable] == "" {
			t.Errorf("service haproxy: %s of haproxy.cfg is not set", variable)
		}
		if documented := matches(config(t), "#", `^# +(`+variable+`) `); len(documented) != 1 {
			t.Errorf("%s is not explained at the top of haproxy.cfg", variable)
		}
	}
}

// With Gate set, as in docker-compose.yml, Start runs no HAProxy, but waits for one.
func TestStartWaitsForAnotherGate(t *testing.T) {
	s := newSink(t) // anything that accepts
	dir := t.TempDir()
	w, err := Start(t.Context(), Options{Dir: dir, Gate: "http://" + s.address(), IssuerURL: "http://world:9000"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	have, err := os.ReadFile(filepath.Join(dir, "edge", "maps", "issuers.map"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(have)), "\n") {
		iss, value, _ := strings.Cut(l, " ")
		lines, err := readMap("maps/issuers.map")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(lines, [2]string{iss, value}) {
			t.Errorf("compose mounts an issuers.map without %q", l)
		}
	}
	s.listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := Start(ctx, Options{Dir: dir, Gate: "http://" + s.address()}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("want an error that says that the gate does not answer, have %v", err)
	}
}
