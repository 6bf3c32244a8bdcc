package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haptrail/haptrail/internal/child"
)

// runAlertmanager runs one until the test ends; the test is skipped where none is
// installed.
func runAlertmanager(t *testing.T) *Alertmanager {
	t.Helper()
	a, err := StartAlertmanager(t.Context(), t.TempDir())
	if errors.Is(err, ErrNoAlertmanager) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("alertmanager: %s", a.child.Tail())
		}
	})
	return a
}

// tell posts alerts, as JSON by Alertmanager's API.
func tell(t *testing.T, a *Alertmanager, alerts ...map[string]any) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(a.URL()+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("alertmanager answers %s", response.Status)
	}
}

func labels(name, key string) map[string]string {
	return map[string]string{"source": "haptrail", "alertname": name, "key": key}
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, within time.Duration, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// keysOf are the alerts of a message in that state, by the label key, sorted.
func keysOf(alerts []AlertState, state string) (keys []string) {
	for _, one := range alerts {
		if one.State == state {
			keys = append(keys, one.Labels["key"])
		}
	}
	slices.Sort(keys)
	return keys
}

// Alerts are seen while they fire; what is told of them comes by group, and so does
// their end.
func TestAlertmanagerTells(t *testing.T) {
	a := runAlertmanager(t)
	if all, err := a.Alerts(t.Context()); err != nil || len(all) != 0 || len(a.Received()) != 0 {
		t.Fatalf("new, and %v, %v, %v", all, err, a.Received())
	}
	began := time.Now().UTC().Truncate(time.Millisecond)
	alert := func(name, key string) map[string]any {
		return map[string]any{"labels": labels(name, key), "annotations": map[string]string{"summary": "of " + key}, "startsAt": began}
	}
	tell(t, a, alert("burst", "one"), alert("finding", "three"), alert("burst", "two"))
	eventually(t, "three alerts", 5*time.Second, func() bool {
		all, err := a.Alerts(t.Context())
		return err == nil && slices.Equal(keysOf(all, "active"), []string{"one", "three", "two"})
	})
	all, err := a.Alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if !maps.Equal(one.Labels, labels(one.Labels["alertname"], one.Labels["key"])) || one.Annotations["summary"] != "of "+one.Labels["key"] ||
			!one.StartsAt.Equal(began) || !one.EndsAt.After(began) || len(one.Fingerprint) != 16 {
			t.Errorf("have %+v", one)
		}
	}
	eventually(t, "two messages, of a group each", 10*time.Second, func() bool { return len(a.Received()) == 2 })
	for _, n := range a.Received() {
		want := map[string][]string{"burst": {"one", "two"}, "finding": {"three"}}[n.Group["alertname"]]
		if n.Status != "firing" || n.Group["source"] != "haptrail" || len(n.Group) != 2 || !slices.Equal(keysOf(n.Alerts, "firing"), want) || n.At.Before(began) {
			t.Errorf("have %+v", n)
		}
		for _, one := range n.Alerts {
			if one.Annotations["summary"] != "of "+one.Labels["key"] || !one.StartsAt.Equal(began) || !one.EndsAt.IsZero() {
				t.Errorf("have %+v", one)
			}
		}
	}

	over := alert("burst", "one")
	over["endsAt"] = time.Now().UTC()
	tell(t, a, over)
	eventually(t, "the end of one", 5*time.Second, func() bool {
		all, err := a.Alerts(t.Context())
		return err == nil && slices.Equal(keysOf(all, "active"), []string{"three", "two"})
	})
	eventually(t, "the message of it", 10*time.Second, func() bool { return len(a.Received()) == 3 })
	last := a.Received()[2]
	if last.Status != "firing" || !slices.Equal(keysOf(last.Alerts, "resolved"), []string{"one"}) || !slices.Equal(keysOf(last.Alerts, "firing"), []string{"two"}) {
		t.Errorf("have %+v", last)
	}
	over = alert("finding", "three")
	over["endsAt"] = time.Now().UTC()
	tell(t, a, over)
	eventually(t, "the message of the other group's end", 10*time.Second, func() bool { return len(a.Received()) == 4 })
	if last := a.Received()[3]; last.Status != "resolved" || len(last.Alerts) != 1 || last.Alerts[0].EndsAt.Before(began) {
		t.Errorf("have %+v", last)
	}
}

// After Close nobody listens and nothing runs, and it may be called again.
func TestAlertmanagerCloses(t *testing.T) {
	a := runAlertmanager(t)
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if !a.child.Gone() {
		t.Error("it still runs")
	}
	for _, address := range []string{strings.TrimPrefix(a.URL(), "http://"), "127.0.0.1:" + strings.TrimPrefix(a.name, "demo-")} {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("somebody still listens at %s", address)
		}
	}
	if _, err := a.Alerts(t.Context()); err == nil {
		t.Error("it still answers")
	}
}

// An address that another process took meanwhile is not taken for ours, even if an
// Alertmanager is there, and the next one is tried.
func TestAlertmanagerLosesItsPort(t *testing.T) {
	binary, err := findAlertmanager()
	if err != nil {
		t.Skip(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"name":"demo-1"}]`)
	}))
	defer other.Close()
	taken := other.Listener.Addr().String()
	picked := 0
	a, err := startAlertmanager(t.Context(), binary, t.TempDir(), func() (string, error) {
		if picked++; picked < 3 {
			return taken, nil
		}
		return freePort()
	})
	if err != nil {
		t.Fatal(err)
	}
	if picked != 3 || a.URL() == other.URL {
		t.Errorf("%d addresses were picked, %s is used", picked, a.URL())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}

	picked = 0
	_, err = startAlertmanager(t.Context(), binary, t.TempDir(), func() (string, error) { picked++; return taken, nil })
	if err == nil || !strings.Contains(err.Error(), "address already in use") || picked != portTries {
		t.Errorf("after %d addresses: %v", picked, err)
	}
	if _, err = startAlertmanager(t.Context(), binary, t.TempDir(), func() (string, error) { return "", os.ErrDeadlineExceeded }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no address, and %v", err)
	}
}

// What keeps an Alertmanager from starting is in the error.
func TestAlertmanagerDoesNotStart(t *testing.T) {
	t.Run("not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("HAPTRAIL_ALERTMANAGER", "")
		if _, err := StartAlertmanager(t.Context(), t.TempDir()); !errors.Is(err, ErrNoAlertmanager) || !strings.Contains(err.Error(), "apt-get install prometheus-alertmanager") {
			t.Errorf("have %v", err)
		}
	})
	t.Run("not there", func(t *testing.T) {
		t.Setenv("HAPTRAIL_ALERTMANAGER", filepath.Join(t.TempDir(), "none"))
		if _, err := StartAlertmanager(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("have %v", err)
		}
	})
	t.Run("stops", func(t *testing.T) {
		t.Setenv("HAPTRAIL_ALERTMANAGER", script(t, `echo "nothing works: $1"; exit 3`))
		_, err := StartAlertmanager(t.Context(), t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "nothing works: --config.file=") {
			t.Errorf("have %v", err)
		}
	})
	t.Run("does not answer", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("HAPTRAIL_ALERTMANAGER", script(t, "echo $$ >"+filepath.Join(dir, "pid")+"; exec sleep 60"))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := StartAlertmanager(ctx, dir)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer at http://127.0.0.1:") {
			t.Errorf("have %v", err)
		}
		var pid int
		text, _ := os.ReadFile(filepath.Join(dir, "pid"))
		if _, err := fmt.Sscan(string(text), &pid); err != nil || syscall.Kill(pid, 0) == nil {
			t.Errorf("pid %d was left running (%v)", pid, err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		file := script(t, "sleep 60")
		t.Setenv("HAPTRAIL_ALERTMANAGER", file)
		if _, err := StartAlertmanager(t.Context(), file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("have %v", err)
		}
	})
}

// script is an executable of the shell's.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// One that does not listen when it is asked to end is killed.
func TestDeafChildIsKilled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HAPTRAIL_ALERTMANAGER", script(t, `trap '' TERM; echo deaf; while :; do sleep 0.1; done`))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := StartAlertmanager(ctx, dir)
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "deaf") || took < child.Patience || took > child.Patience+3*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}

// The receiver takes what its own Alertmanager sends and nothing else, and keeps the
// latest.
func TestReceiver(t *testing.T) {
	a := &Alertmanager{name: "demo-1"}
	post := func(body string) int {
		w := httptest.NewRecorder()
		a.take(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		return w.Code
	}
	const good = `{"version":"4","receiver":"demo-1","status":"firing","groupLabels":{"alertname":"n%d"},"alerts":[{"status":"firing","labels":{"key":"k"},"startsAt":"2026-01-02T03:04:05+01:00","endsAt":"0001-01-01T00:00:00Z"}]}`
	for _, bad := range []string{
		"", "[]", "{}", good[:100], "\xff",
		strings.Replace(good, `"4"`, `"5"`, 1), strings.Replace(good, "demo-1", "demo-2", 1), strings.Replace(good, "05+", "05 ", 1),
		`{"version":"4","receiver":"demo-1","alerts":[` + strings.Repeat(`{},`, maxNotification/3) + `{}]}`,
	} {
		if code := post(bad); code != http.StatusBadRequest || len(a.Received()) != 0 {
			t.Errorf("%.100q: %d, %v", bad, code, a.Received())
		}
	}
	for i := range keptNotifications + 5 {
		if code := post(fmt.Sprintf(good, i)); code != http.StatusOK {
			t.Fatalf("message %d: %d", i, code)
		}
	}
	all := a.Received()
	if len(all) != keptNotifications || all[0].Group["alertname"] != "n5" || all[len(all)-1].Group["alertname"] != fmt.Sprint("n", keptNotifications+4) {
		t.Fatalf("%d are kept, from %v to %v", len(all), all[0].Group, all[len(all)-1].Group)
	}
	if one := all[0].Alerts[0]; one.StartsAt != time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC) || !one.EndsAt.IsZero() || one.State != "firing" {
		t.Errorf("have %+v", one)
	}
	all[0].Status = "changed"
	if a.Received()[0].Status != "firing" {
		t.Error("what was received can be changed from outside")
	}
}
