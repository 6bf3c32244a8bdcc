package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haptrail/haptrail/deploy"
	"github.com/haptrail/haptrail/internal/child"
)

// ErrNoAlertmanager: none is installed. The demo can do without.
var ErrNoAlertmanager = errors.New("prometheus-alertmanager is not installed; install it with: apt-get install prometheus-alertmanager")

// Bounds of an Alertmanager's life.
const (
	alertmanagerTimeout = 15 * time.Second // until it answers
	alertmanagerCall    = 5 * time.Second  // of its API
	portTries           = 5
	maxNotification     = 16 << 20 // bytes
	keptNotifications   = 1000     // the latest
)

// Alertmanager is a prometheus-alertmanager of the demo's own:
//
//	haptrail --POST /api/v2/alerts--> Alertmanager --webhook, grouped--> Received
//	                                       ^--GET /api/v2/alerts-- Alerts
//
// with the routes of deploy/alertmanager.yml. It listens on loopback, speaks to no
// other Alertmanager, and ends with Close, or with this process.
type Alertmanager struct {
	dir    string
	name   string // of its only receiver: by it we know that it is ours
	hook   *http.Server
	client *http.Client
	url    string
	child  *child.Process // nil until it was started

	mu       sync.Mutex
	received []Notification // guarded by mu

	closing sync.Once
	closed  error
}

// AlertState is an alert as Alertmanager tells it. Times are UTC.
type AlertState struct {
	Labels, Annotations map[string]string
	StartsAt            time.Time
	// EndsAt of one that fires: when Alertmanager lets it end, should it not hear of
	// it again; in a Notification zero.
	EndsAt time.Time
	// State from Alerts: active, suppressed (silenced or inhibited), or unprocessed
	// (it came just now). In a Notification: firing or resolved.
	State       string
	Fingerprint string // Alertmanager's name for the labels
}

// Notification is one message that Alertmanager sent to its receiver: what a person
// would be told, of one group of alerts.
type Notification struct {
	At     time.Time         // when it came
	Status string            // firing, or resolved when all of its alerts are
	Group  map[string]string // the labels that they have in common: source, alertname
	Alerts []AlertState
}

// StartAlertmanager runs an Alertmanager that keeps its data, its configuration and
// what it prints below dir, and returns when it answers. ctx bounds the starting
// alone. The error is ErrNoAlertmanager where none is installed. After an error
// nothing is left running.
func StartAlertmanager(ctx context.Context, dir string) (*Alertmanager, error) {
	binary, err := findAlertmanager()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return startAlertmanager(ctx, binary, dir, freePort)
}

// findAlertmanager returns the path of the binary: the environment's
// HAPTRAIL_ALERTMANAGER, or from PATH under Debian's name or its authors'.
func findAlertmanager() (string, error) {
	if path := os.Getenv("HAPTRAIL_ALERTMANAGER"); path != "" {
		return filepath.Abs(path)
	}
	for _, name := range []string{"prometheus-alertmanager", "alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", ErrNoAlertmanager
}

// freePort is an address of loopback on which nobody listens: for now.
func freePort() (string, error) {
	listener, err := listen("alertmanager", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// startAlertmanager tries the addresses that pick gives: Alertmanager takes no
// listener that is open already, so another process may get there first.
func startAlertmanager(ctx context.Context, binary, dir string, pick func() (string, error)) (*Alertmanager, error) {
	listener, err := listen("receiver of alerts", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Alertmanager{
		dir: dir,
		// Nobody else has this port for as long as we have it. No dots: Alertmanager
		// escapes them in its messages (template.Data's regexp.QuoteMeta).
		name:   fmt.Sprintf("demo-%d", listener.Addr().(*net.TCPAddr).Port),
		client: &http.Client{Timeout: alertmanagerCall, Transport: &http.Transport{}},
	}
	a.hook = serve(slog.New(slog.DiscardHandler), listener, http.HandlerFunc(a.take))
	if err := a.configure(listener.Addr()); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	for try := 1; ; try++ {
		lost, err := a.launch(ctx, binary, pick)
		if err == nil {
			return a, nil
		}
		if !lost || try == portTries {
			return nil, errors.Join(err, a.Close())
		}
	}
}

func (a *Alertmanager) configFile() string { return filepath.Join(a.dir, "alertmanager.yml") }

// configure writes deploy/alertmanager.yml with a receiver that is told: us.
func (a *Alertmanager) configure(hook net.Addr) error {
	text := string(deploy.Alertmanager)
	for _, change := range [][2]string{
		{"receiver: nobody\n", fmt.Sprintf("receiver: %q\n", a.name)},
		{"- name: nobody\n", fmt.Sprintf("- name: %q\n    webhook_configs: [{url: %q, send_resolved: true}]\n", a.name, "http://"+hook.String())},
	} {
		if strings.Count(text, change[0]) != 1 {
			return fmt.Errorf("deploy/alertmanager.yml: want %q once, to put the demo's receiver in its place", change[0])
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(a.configFile(), []byte(text), 0o644)
}

// launch starts the child at a picked address and waits for its answer. lost tells
// that the address was another's.
func (a *Alertmanager) launch(ctx context.Context, binary string, pick func() (string, error)) (lost bool, err error) {
	address, err := pick()
	if err != nil {
		return false, err
	}
	a.url = "http://" + address
	command := exec.Command(binary,
		"--config.file="+a.configFile(), "--storage.path="+filepath.Join(a.dir, "alertmanager"),
		"--web.listen-address="+address,
		"--cluster.listen-address=", // no cluster: it would listen on every address
		"--log.level=warn")
	if a.child, err = child.Start(command, filepath.Join(a.dir, "alertmanager.log")); err != nil {
		return false, err
	}
	if err = a.ready(ctx); err == nil {
		return false, nil
	}
	lost = a.child.Gone() && strings.Contains(a.child.Tail(), "address already in use")
	return lost, errors.Join(err, a.child.Stop())
}

// ready waits until the Alertmanager at the URL is the one that was started.
func (a *Alertmanager) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, alertmanagerTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-a.child.Done():
			return fmt.Errorf("alertmanager stopped at once (%w): %s", a.child.Err(), a.child.Tail())
		case <-ctx.Done():
			return fmt.Errorf("alertmanager does not answer at %s: %w: %s", a.url, ctx.Err(), a.child.Tail())
		case <-tick.C:
			var receivers []struct{ Name string }
			if a.get(ctx, "/api/v2/receivers", &receivers) == nil && len(receivers) == 1 && receivers[0].Name == a.name {
				return nil
			}
		}
	}
}

// URL is the base URL of its API and its page.
func (a *Alertmanager) URL() string { return a.url }

// wireState is what an alert has in common in its API and in its messages.
type wireState struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	Fingerprint         string
}

func (w wireState) state(state string) AlertState {
	s := AlertState{Labels: w.Labels, Annotations: w.Annotations, StartsAt: w.StartsAt.UTC(), State: state, Fingerprint: w.Fingerprint}
	if !w.EndsAt.IsZero() {
		s.EndsAt = w.EndsAt.UTC()
	}
	return s
}

// Alerts are those that are not over, by its own API (GET /api/v2/alerts), the
// eldest first.
func (a *Alertmanager) Alerts(ctx context.Context) ([]AlertState, error) {
	var all []struct {
		wireState
		Status struct{ State string }
	}
	if err := a.get(ctx, "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true", &all); err != nil {
		return nil, err
	}
	states := make([]AlertState, len(all))
	for i, one := range all {
		states[i] = one.state(one.Status.State)
	}
	slices.SortFunc(states, func(x, y AlertState) int {
		return cmp.Or(x.StartsAt.Compare(y.StartsAt), strings.Compare(x.Fingerprint, y.Fingerprint))
	})
	return states, nil
}

// get reads an answer of its API.
func (a *Alertmanager) get(ctx context.Context, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxNotification))
	switch {
	case err != nil:
		return fmt.Errorf("alertmanager: %s: %w", path, err)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("alertmanager: %s: %s: %.200q", path, response.Status, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("alertmanager: %s: %w", path, err)
	}
	return nil
}

// take is the receiver: what comes is Alertmanager's webhook message, version 4
// (prometheus.io/docs/alerting/latest/configuration/#webhook_config).
func (a *Alertmanager) take(w http.ResponseWriter, r *http.Request) {
	var message struct {
		Version, Status, Receiver string
		GroupLabels               map[string]string
		Alerts                    []struct {
			wireState
			Status string
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotification))
	if err == nil {
		err = json.Unmarshal(body, &message)
	}
	if err == nil && (message.Version != "4" || message.Receiver != a.name) {
		err = fmt.Errorf("version %.20q for receiver %.40q, not version 4 for %s", message.Version, message.Receiver, a.name)
	}
	if err != nil { // which Alertmanager prints, and sends no more
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n := Notification{At: time.Now().UTC(), Status: message.Status, Group: message.GroupLabels}
	for _, one := range message.Alerts {
		n.Alerts = append(n.Alerts, one.state(one.Status))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, n)
	a.received = a.received[max(0, len(a.received)-keptNotifications):]
}

// Received are the messages that it has sent, the latest 1,000 at most, in order.
func (a *Alertmanager) Received() []Notification {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.received)
}

// Close ends it, within seconds. Its files stay. It may be called again, and from
// several goroutines.
func (a *Alertmanager) Close() error {
	a.closing.Do(func() {
		var ended error
		if a.child != nil {
			ended = a.child.Stop()
		}
		a.client.CloseIdleConnections()
		a.closed = errors.Join(ended, a.hook.Close()) // last: Alertmanager may still be telling
	})
	return a.closed
}
