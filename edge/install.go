package edge

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"regexp"
	"slices"

	"github.com/haptrail/haptrail/runtimeapi"
)

// Installation is where a gate's files are, and the HAProxy processes that run
// with them.
type Installation struct {
	// Dir is where the files are written.
	Dir string

	Options

	// Sockets are the stats sockets of every HAProxy with these files, as
	// "unix:/path" or "tcp:host:port". May be empty: nothing is swapped then.
	Sockets []string

	// Master is the socket of haproxy -W -S, for reloads; "" for none: what needs
	// a reload is ErrReloadNeeded then.
	Master string

	// Binary and Configs check the configuration before a reload: the path of
	// haproxy, and all its -f arguments in order, Base among them.
	Binary  string
	Configs []string
}

// ErrReloadNeeded is returned when a running HAProxy has to read its files anew
// and no master socket is known to ask.
var ErrReloadNeeded = errors.New("HAProxy has to be reloaded for this")

// Applied says what Apply did.
type Applied struct {
	Changes  []Change
	Reloaded bool
	Swapped  int // HAProxy processes whose maps were swapped
}

// Apply writes the files and brings the running processes to their state: by a
// reload where a process has not read the configuration as it is now, which the
// binary has checked before, and by swapping its maps (see replaceMaps), read back;
// where only keys want the reload, before it too. The files are written first, so
// that whatever happens the next start reads them; a second Apply ends what a
// first one could not.
func (in Installation) Apply(ctx context.Context, files Files) (Applied, error) {
	unlock, err := lock(ctx, in.Dir)
	if err != nil {
		return Applied{}, err
	}
	defer unlock()
	sweep(in.Dir)
	changes, err := files.Write(in.Dir)
	done := Applied{Changes: changes}
	if err != nil || len(in.Sockets) == 0 && in.Master == "" {
		return done, err
	}
	read, err := in.hasRead(ctx, files)
	if err != nil {
		return done, err
	}
	if len(in.Sockets) == 0 {
		read.rules = !slices.ContainsFunc(changes, Change.NeedsReload)
	}
	if read.rules && !read.keys {
		// a worker that a reload lets finish still judges a request on each of its
		// connections: not by what was just taken away
		if _, err := in.swap(ctx, files); err != nil {
			return done, err
		}
	}
	if !read.rules || !read.keys {
		if err := in.reload(ctx); err != nil {
			return done, err
		}
		done.Reloaded = true
	}
	// also after a reload: the master need not be that of every socket
	done.Swapped, err = in.swap(ctx, files)
	return done, err
}

var stamped = regexp.MustCompile(`(?m)^    setenv (HAPTRAIL_[A-Z]+) ([0-9a-f]{16})$`)

// has says which of the files all processes run with.
type has struct{ rules, keys bool }

// hasRead asks the processes which of the configuration's files they have read as
// they are now: each carries its fingerprint in a variable. Where keys come at run
// time, keys.cfg is only what a start reads.
func (in Installation) hasRead(ctx context.Context, files Files) (has, error) {
	read := has{rules: true, keys: true}
	for name, all := range map[string]*bool{GateFile: &read.rules, KeysFile: &read.keys} {
		stamp := stamped.FindSubmatch(files[name])
		if stamp == nil || name == KeysFile && in.RuntimeKeys {
			continue
		}
		for _, address := range in.Sockets {
			client, err := runtimeapi.New(address, runtimeapi.Options{})
			if err != nil {
				return has{}, err
			}
			value, _, err := client.Env(ctx, string(stamp[1]))
			if errors.Is(err, runtimeapi.ErrUnreachable) {
				continue // swap says so, after the others have been served
			}
			if err != nil {
				return has{}, err
			}
			*all = *all && value == string(stamp[2])
		}
	}
	return read, nil
}

// reload checks the configuration and has the master start workers with it.
func (in Installation) reload(ctx context.Context) error {
	if in.Master == "" {
		return fmt.Errorf("%w: rules or keys changed, not only maps; reload it now, or name the master's socket (haproxy -W -S) to have it done", ErrReloadNeeded)
	}
	if in.Binary != "" && len(in.Configs) > 0 {
		if err := runtimeapi.CheckConfig(ctx, in.Binary, in.Configs...); err != nil {
			return fmt.Errorf("not reloaded, the old configuration goes on: %w", err)
		}
	}
	master, err := runtimeapi.NewMaster(in.Master, runtimeapi.Options{})
	if err != nil {
		return err
	}
	return master.Reload(ctx)
}

// swap brings keys and maps of every process to the files' state; one that fails
// does not stop the others.
func (in Installation) swap(ctx context.Context, files Files) (swapped int, err error) {
	contents := files.Maps(in.Base)
	for _, address := range in.Sockets {
		client, clientErr := runtimeapi.New(address, runtimeapi.Options{})
		if clientErr == nil {
			clientErr = in.loadKeys(ctx, client, files)
		}
		if clientErr == nil {
			clientErr = replaceMaps(ctx, client, contents)
		}
		if clientErr != nil {
			err = errors.Join(err, clientErr) // it names the address
			continue
		}
		swapped++
	}
	return swapped, err
}

// loadKeys gives a HAProxy that takes keys at run time those that it lacks,
// before a map names them. Keys that no map names any more do no harm.
func (in Installation) loadKeys(ctx context.Context, client *runtimeapi.Client, files Files) error {
	if !in.RuntimeKeys {
		return nil
	}
	loaded, err := client.JWTCerts(ctx)
	if err != nil {
		return err
	}
	for name, text := range files {
		if certificate := storeName(name); certificate != "" && !slices.Contains(loaded, certificate) {
			if err := client.PutJWTCert(ctx, certificate, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// BinaryVersion asks a haproxy binary for its version.
func BinaryVersion(ctx context.Context, binary string) (runtimeapi.Version, error) {
	out, err := exec.CommandContext(ctx, binary, "-v").Output()
	if err != nil {
		return runtimeapi.Version{}, fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	return runtimeapi.ParseVersion(string(out))
}

// replaceMaps swaps the maps so that every request finds the grants of the role
// that it got: for as long as roles change, the grants' map has both generations.
func replaceMaps(ctx context.Context, client *runtimeapi.Client, contents []runtimeapi.MapContent) error {
	n := slices.IndexFunc(contents, func(m runtimeapi.MapContent) bool { return path.Base(m.ID) == "grants.map" })
	if n < 0 {
		return client.ReplaceMaps(ctx, contents)
	}
	live, err := client.Map(ctx, contents[n].ID)
	if err != nil {
		return err
	}
	grants := contents[n]
	both := runtimeapi.MapContent{ID: grants.ID, Entries: slices.Clone(grants.Entries)}
	known := make(map[string]bool, len(grants.Entries))
	for _, e := range grants.Entries {
		known[e.Key] = true
	}
	for _, e := range live {
		if !known[e.Key] {
			both.Entries = append(both.Entries, runtimeapi.Entry{Key: e.Key, Value: e.Value})
		}
	}
	if len(both.Entries) > len(grants.Entries) {
		if err := client.ReplaceMaps(ctx, []runtimeapi.MapContent{both}); err != nil {
			return err
		}
	}
	if err := client.ReplaceMaps(ctx, slices.Delete(slices.Clone(contents), n, n+1)); err != nil {
		return err
	}
	return client.ReplaceMaps(ctx, []runtimeapi.MapContent{grants})
}
