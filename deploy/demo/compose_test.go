package demo

import (
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/deploy"
	"github.com/haptrail/haptrail/edge/policy"
)

// compose is what the tests read of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Image string
		Build struct {
			Context, Dockerfile, Target string
		}
		Command     []string
		Environment map[string]string
		Ports       []string
		Volumes     []string
		GroupAdd    []string       `yaml:"group_add"`
		DependsOn   map[string]any `yaml:"depends_on"`
	}
	Volumes map[string]struct {
		DriverOpts map[string]string `yaml:"driver_opts"`
	}
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// mounted is what a service has at a path.
func (c compose) mounted(service, at string) string {
	for _, volume := range c.Services[service].Volumes {
		if parts := strings.Split(volume, ":"); parts[1] == at {
			return parts[0]
		}
	}
	return ""
}

func TestCompose(t *testing.T) {
	root := filepath.Join("..", "..")
	c := readCompose(t)
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
	for name, s := range c.Services {
		if s.Image != "" && !strings.Contains(s.Image, ":") {
			t.Errorf("service %s: image %s is whatever comes", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("service %s: port %s is open to the world", name, port)
			}
		}
	}
	gate := c.Services["haproxy"]
	variables := matches(`"\$\{(HAPTRAIL_[A-Z]+)`)
	if len(variables) != 4 || gate.Environment["TZ"] != "UTC" {
		t.Errorf("variables %q, TZ=%q", variables, gate.Environment["TZ"])
	}
	for _, variable := range variables {
		if gate.Environment[variable] == "" {
			t.Errorf("service haproxy: %s of haproxy.cfg is not set", variable)
		}
	}
	if documented := matches(`(?m)^# +(HAPTRAIL_[A-Z]+) `); !slices.Equal(documented, variables) {
		t.Errorf("haproxy.cfg explains %q at its top, and uses %q", documented, variables)
	}
}

// What the world renders is where HAProxy is told to read it, under the names
// that are in it, and for that HAProxy; and the log goes to haptrail.
func TestComposeFitsTogether(t *testing.T) {
	c := readCompose(t)
	gate, flags := c.Services["haproxy"], map[string]string{}
	for i := 0; i+1 < len(c.Services["world"].Command); i += 2 {
		flags[c.Services["world"].Command[i]] = c.Services["world"].Command[i+1]
	}
	if want := "file:" + path.Join(flags["-edge"], "jwks"); composeJWKS != want {
		t.Errorf("policy.yaml has %s, the world writes to %s", composeJWKS, want)
	}
	if version := strings.TrimPrefix(gate.Image, "haproxy:"); version != flags["-haproxy"] {
		t.Errorf("HAProxy %s runs with files for %s", version, flags["-haproxy"])
	}
	var files []string
	for i, word := range gate.Command {
		if word == "-f" {
			files = append(files, gate.Command[i+1])
		}
	}
	if len(files) != 2 || files[0] != flags["-edge"] || c.mounted("haproxy", files[1]) != "./deploy/haproxy.cfg" {
		t.Errorf("HAProxy reads %q, the gate is rendered to %s", files, flags["-edge"])
	}
	if shared := c.mounted("world", flags["-edge"]); shared == "" || shared != c.mounted("haproxy", flags["-edge"]) {
		t.Errorf("world and haproxy do not share %s", flags["-edge"])
	}
	if own := c.mounted("world", flags["-dir"]); own == "" || own != c.mounted("haptrail", flags["-dir"]) {
		t.Errorf("haptrail does not see the world's %s", flags["-dir"])
	}
	p, err := policy.Parse(deploy.Policy, "deploy/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(p.Gate.Log, ":")
	config, err := os.ReadFile("haptrail.yaml") // cmd/haptrail's tests use it
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.Services["haptrail"].Volumes, "./deploy/demo/haptrail.yaml:/etc/haptrail/haptrail.yaml:ro") {
		t.Error("haptrail does not run with haptrail.yaml")
	}
	webhooks, err := url.Parse(flags["-webhooks"])
	if err != nil || webhooks.Hostname() != "haptrail" || webhooks.Path != "/webhooks" || !strings.Contains(string(config), "listen: 0.0.0.0:"+webhooks.Port()+"\n") {
		t.Errorf("webhooks go to %s, where no haptrail of compose listens", flags["-webhooks"])
	}
	if secrets := path.Join(flags["-dir"], secretsDir) + "/"; strings.Count(string(config), "_file: "+secrets) != len(providers) {
		t.Errorf("haptrail.yaml does not read the webhooks' secrets of the %d servers in %s", len(providers), secrets)
	}
	if _, found := c.Services[host]; !found || p.Gate.Log != composeLog || !strings.Contains(string(config), "tcp://0.0.0.0:"+port+"\n") {
		t.Errorf("gate.log is %s, where no haptrail of compose listens", p.Gate.Log)
	}
}

// haptrail reads the stick tables by the socket that HAProxy makes, which its user
// may do in that folder, and haptrail's group may open.
func TestComposeSharesTheStatsSocket(t *testing.T) {
	c := readCompose(t)
	cfg, err := config.Load("haptrail.yaml")
	if err != nil {
		t.Fatal(err)
	}
	gate := c.Services["haproxy"].Environment
	proxies := cfg.BurstProxies()
	if len(proxies) != 1 || proxies[0].Socket != "unix:"+gate["HAPTRAIL_STATS"] || cfg.Bursts.Off {
		t.Fatalf("haptrail polls %+v, HAProxy listens at %s", proxies, gate["HAPTRAIL_STATS"])
	}
	if _, found := c.Services[proxies[0].Name]; !found {
		t.Errorf("proxy %s is no service", proxies[0].Name)
	}
	folder := path.Dir(gate["HAPTRAIL_STATS"])
	volume := c.mounted("haproxy", folder)
	if volume == "" || volume != c.mounted("haptrail", folder) {
		t.Errorf("haproxy and haptrail do not share %s", folder)
	}
	options := strings.Split(c.Volumes[volume].DriverOpts["o"], ",")
	for _, want := range []string{"uid=99", "gid=99", "mode=0750"} { // of the user haproxy in HAProxy's image
		if !slices.Contains(options, want) {
			t.Errorf("volume %s: %q lack %s", volume, options, want)
		}
	}
	if groups := c.Services["haptrail"].GroupAdd; !slices.Equal(groups, []string{"99"}) || gate["HAPTRAIL_MODE"] != "660" {
		t.Errorf("haptrail is in the groups %q, the socket has mode %s", groups, gate["HAPTRAIL_MODE"])
	}
}

// Alerts go to the Alertmanager there, and those that are not told yet are kept.
func TestComposeHasAnAlertmanager(t *testing.T) {
	c := readCompose(t)
	cfg, err := config.Load("haptrail.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Alerts.Channels) != 1 || len(cfg.Alerts.Channels[0].URLs) != 1 {
		t.Fatalf("channels: %+v", cfg.Alerts.Channels)
	}
	if _, err := cfg.Alerts.Channels[0].Senders(cfg.Alerts.ExternalURL); err != nil {
		t.Error(err)
	}
	to, err := url.Parse(cfg.Alerts.Channels[0].URLs[0])
	if err != nil {
		t.Fatal(err)
	}
	service, found := c.Services[to.Hostname()]
	if !found || !strings.HasPrefix(service.Image, "prom/alertmanager:v") || to.Port() != "9093" { // its default
		t.Fatalf("alerts go to %s, where no Alertmanager of compose listens", to)
	}
	flags := map[string]string{}
	for _, word := range service.Command {
		name, value, _ := strings.Cut(word, "=")
		flags[name] = value
	}
	if c.mounted(to.Hostname(), flags["--config.file"]) != "./deploy/alertmanager.yml" {
		t.Errorf("Alertmanager reads %s, which is not alertmanager.yml", flags["--config.file"])
	}
	if c.mounted(to.Hostname(), flags["--storage.path"]) == "" {
		t.Errorf("what Alertmanager keeps in %s goes with its container", flags["--storage.path"])
	}
	if cluster, given := flags["--cluster.listen-address"]; !given || cluster != "" {
		t.Error("Alertmanager looks for others")
	}
	kept := path.Dir(cfg.StateDir())
	dockerfile, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if c.mounted("haptrail", kept) == "" || !strings.Contains(string(dockerfile), "-o 65534 -g 65534 "+kept+"\nUSER 65534:65534\n") {
		t.Errorf("%s is no volume that haptrail may write to", kept)
	}
}

// Alertmanager's own tool has nothing to say to the file as it is.
func TestAlertmanagerTakesItsConfiguration(t *testing.T) {
	tool, err := exec.LookPath("amtool")
	if err != nil {
		t.Skip("amtool is not installed; install it with: apt-get install prometheus-alertmanager")
	}
	output, err := exec.CommandContext(t.Context(), tool, "check-config", filepath.Join("..", "alertmanager.yml")).CombinedOutput()
	if err != nil || !strings.Contains(string(output), "1 receivers") {
		t.Errorf("amtool: %v\n%s", err, output)
	}
}
