package ci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

// No way of printing shows a secret, nor does an error of a server that repeats it.
func TestSpaceSecretsStaySecret(t *testing.T) {
	b := newSpaceBed(t, nil)
	if _, err := b.space.Run(t.Context(), "payments", "run-1"); err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %v %+v %#v", b.config, b.config, b.config, b.space, *b.space, *b.space, *b.space)
	b.fake.Update(func() { b.fake.ClientSecret = "another" })
	b.pass(time.Hour)
	_, err := b.space.Run(t.Context(), "payments", "run-1")
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "client secret right") || !strings.Contains(err.Error(), "[redacted]") {
		t.Errorf("refused credentials: %v", err)
	}
	for _, text := range []string{shown, fmt.Sprint(err)} {
		if strings.Contains(text, spaceTestSecret) || strings.Contains(text, spaceTestKey) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestSpaceSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	b := newSpaceBed(t, func(c *SpaceConfig) { c.ClientSecret = SecretFile(path) })
	run := func() error {
		_, err := b.space.Run(t.Context(), "payments", "run-1")
		return err
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "ClientSecret") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, step := range []struct{ text, want string }{{"\n", "is empty"}, {" " + spaceTestSecret + "\r\n", ""}} { // a token, once fetched, is kept
		text, want := step.text, step.want
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(); want != "" && (err == nil || !strings.Contains(err.Error(), want)) || want == "" && err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSpaceTokenIsFetchedOnceForAll(t *testing.T) {
	b := newSpaceBed(t, nil)
	hold := make(chan struct{})
	b.fake.Fail(citest.Fault{Path: "/oauth/token", Times: 1, Hang: hold})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := b.space.Run(t.Context(), "payments", fmt.Sprintf("run-%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	// One that does not want to wait goes, and does not take the token from the rest.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.space.Run(ctx, "payments", "run-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	close(hold)
	all.Wait()
	if n := len(b.fake.Requests("/oauth/token")); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
}

func TestSpaceTokenIsRenewedInTime(t *testing.T) {
	b := newSpaceBed(t, nil)
	tokens := func(want int) {
		t.Helper()
		if _, err := b.space.Run(t.Context(), "payments", "run-1"); err != nil {
			t.Fatal(err)
		}
		if n := len(b.fake.Requests("/oauth/token")); n != want {
			t.Errorf("%d requests for a token, want %d", n, want)
		}
	}
	tokens(1)
	b.pass(8*time.Minute + 59*time.Second)
	tokens(1)
	b.pass(time.Second) // a minute before its end
	tokens(2)
	// Should the renewal fail, the token that is still good will do.
	b.pass(9*time.Minute + 10*time.Second)
	b.fake.Fail(citest.Fault{Path: "/oauth/token", Times: 1, Status: 500})
	tokens(3)
	tokens(4)
	// A token that was revoked is replaced once, and not again for every retry.
	b.fake.Revoke()
	b.fake.Fail(citest.Fault{Path: "/api/http", After: 1, Times: 2, Status: 502})
	tokens(5)
	b.fake.Update(func() { b.fake.TokenLife = 5 * time.Second })
	b.pass(time.Hour)
	tokens(6)
	b.pass(4 * time.Second) // the last fifth
	tokens(7)
}
