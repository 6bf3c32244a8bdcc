package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/runtimeapi"
)

const (
	proxyCallTime = 5 * time.Second // of one command to a HAProxy
	peerCallTime  = 3 * time.Second // to connect to one
	// comfortable is how many entries a table may hold until its dumps are felt:
	// 0.2 s of one thread, measured on HAProxy 2.6. It is what the gate's tables hold.
	comfortable = 100 << 10
)

// checkBursts looks at the HAProxys whose stick tables are read.
func checkBursts(ctx context.Context, r *report, cfg config.Config) {
	if cfg.Bursts.Off {
		r.add("bursts", nil, "off: none are looked for")
		return
	}
	proxies := cfg.BurstProxies()
	if len(proxies) == 0 {
		r.warn("bursts", "no HAProxy's stick tables are read: bursts are found in the logs alone, a second or two later; name its stats socket in bursts.proxies")
	}
	shared := map[string]string{} // table -> the proxy at which peers fill it
	for i := range proxies {
		if p := newProxyCheck(ctx, r, &proxies[i]); p != nil {
			p.tables(ctx, r, shared)
		}
		checkPeers(ctx, r, &proxies[i])
	}
}

// proxyCheck is a HAProxy that answers.
type proxyCheck struct {
	*config.BurstProxy
	what   string
	client *runtimeapi.Client
}

// newProxyCheck asks a HAProxy who it is and what its socket may do; nil if it cannot
// be read.
func newProxyCheck(ctx context.Context, r *report, proxy *config.BurstProxy) *proxyCheck {
	what := "bursts proxy " + proxy.Name
	client, err := runtimeapi.New(proxy.Socket, runtimeapi.Options{Timeout: proxyCallTime})
	if err != nil {
		r.add(what, err, "")
		return nil
	}
	version, err := client.Version(ctx)
	if err != nil {
		r.add(what, hint(err, socketHint(proxy.Socket, err)), "")
		return nil
	}
	level, err := client.Level(ctx)
	if err == nil && level == runtimeapi.LevelUser {
		err = hint(fmt.Errorf("the socket %s has the level user, which may not read stick tables", proxy.Socket),
			`write "level operator" at the end of its "stats socket" line, and reload HAProxy`)
	}
	r.add(what, err, fmt.Sprintf("HAProxy %s, by a socket of level %s", version, level))
	if err != nil {
		return nil
	}
	return &proxyCheck{proxy, what, client}
}

// socketHint says what mends that a stats socket does not answer.
func socketHint(address string, err error) string {
	path := strings.TrimPrefix(address, "unix:")
	if target, ok := strings.CutPrefix(address, "tcp:"); ok {
		return fmt.Sprintf(`start HAProxy with "stats socket ipv4@%s level operator" in its global section (on loopback: it has no password), or correct the address`, target)
	}
	switch info, statErr := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf(`start HAProxy with "stats socket %s mode 600 level operator" in its global section, or correct the path`, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf(`give its "stats socket" line a user, a group and a mode that let user %d open it, and look at the folders above; or run this as the daemon's user`, os.Geteuid())
	case statErr == nil && info.Mode().Type() != fs.ModeSocket:
		return path + " is no socket: correct the path, or remove the file and reload HAProxy"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "HAProxy has ended and left the socket behind: start it"
	case errors.Is(err, runtimeapi.ErrUnreachable):
		return ""
	}
	return "is it a stats socket? The master's (option -S) has no tables"
}

// tables looks at each table of the proxy.
func (p *proxyCheck) tables(ctx context.Context, r *report, elsewhere map[string]string) {
	shared, err := p.client.SharedTables(ctx)
	if err != nil {
		r.add(p.what, fmt.Errorf("which tables peers fill is not known: %w", err), "")
		return
	}
	for _, t := range p.Tables {
		what := p.what + " table " + t.Name
		table, err := p.client.FindTable(ctx, t.Name)
		if err != nil {
			r.add(what, hint(err, missingTableHint(t.Name)), "")
			continue
		}
		if err := fits(t.Key, table.Type); err != nil {
			r.add(what, err, "")
			continue
		}
		err = stores(ctx, p.client, t)
		if errors.Is(err, runtimeapi.ErrUnsupported) { // an array's element, before 3.2
			r.warn(what, "this HAProxy does not tell whether it stores "+t.Counter+": see that its stick-table line does")
			err = nil
		}
		r.add(what, err, fmt.Sprintf("keys of type %s, %s, %d of %d entries", table.Type, t.Counter, table.Used, table.Size))
		if err != nil {
			continue
		}
		p.warnOfTable(r, what, table)
		p.sharing(r, what, t.Name, shared, elsewhere)
	}
}

// missingTableHint mends that a table is not there.
func missingTableHint(name string) string {
	if strings.HasPrefix(name, "haptrail_") {
		return "it is the gate's: start HAProxy with the gate's folder, too (haproxy -f DIR, docs/edge.md), or name tables of your own in bursts.proxies"
	}
	return "name one of its tables: the stats socket's \"show table\" lists them"
}

// fits says what is wrong where a table's keys cannot be what the configuration says.
func fits(key, kind string) error {
	switch {
	case key == config.KeyOther:
		return nil
	case key == config.KeyAddress:
		if kind == runtimeapi.KeyIP || kind == runtimeapi.KeyIPv6 {
			return nil
		}
		return hint(fmt.Errorf("its keys are of type %s, and an address needs ipv6 (or ip, for IPv4 alone)", kind),
			`track "src" in a table of type ipv6, or write what the keys are: key: other`)
	case kind == runtimeapi.KeyString:
		return nil
	}
	return hint(fmt.Errorf("its keys are of type %s, and %s needs string", kind, key),
		`track the identity in a table of type string, such as the gate's haptrail_identity, or write what the keys are: key: address or other`)
}

// stores is nil if the table stores the counter, else says what its line lacks. One
// element of an array, gpc(3), is printed as gpc2, and asked for as gpc[2].
func stores(ctx context.Context, client *runtimeapi.Client, t config.BurstTable) error {
	element, isGPC := strings.CutPrefix(t.Counter, "gpc")
	err := runtimeapi.ErrNotStored
	if !isGPC || element == "0" || element == "1" {
		err = client.Stores(ctx, t.Name, t.Counter)
	}
	var lacks *runtimeapi.NotStoredError
	named := errors.As(err, &lacks)
	if isGPC && errors.Is(err, runtimeapi.ErrNotStored) {
		switch array := client.Stores(ctx, t.Name, "gpc["+element+"]"); {
		case array == nil, errors.Is(array, runtimeapi.ErrUnsupported):
			return array
		case !named:
			named = errors.As(array, &lacks)
			err = array
		}
	}
	if named {
		return lacks // what is around it says the same in HAProxy's words
	}
	return err
}

// warnOfTable says what a table costs or leaves out.
func (p *proxyCheck) warnOfTable(r *report, what string, table runtimeapi.Table) {
	if table.Type == runtimeapi.KeyIP {
		r.warn(what, "keys of type ip are IPv4 addresses: IPv6 clients are not seen; type ipv6 holds both")
	}
	if table.Size > comfortable && p.Peers == nil {
		r.warn(what, fmt.Sprintf("it may hold %d entries, and a dump of more than %d takes HAProxy longer than 0.2 s: as it fills, it is polled less often than bursts.interval; make it smaller, or use bursts.proxies[].peers", table.Size, comfortable))
	}
}

// sharing says what it means that peers fill a table, or that they do not.
func (p *proxyCheck) sharing(r *report, what, table string, shared []runtimeapi.SharedTable, elsewhere map[string]string) {
	i := slices.IndexFunc(shared, func(s runtimeapi.SharedTable) bool { return s.Name == table })
	if i < 0 {
		if p.Peers != nil {
			r.add(what, hint(errors.New("peers are configured, and the table is in no peers section: HAProxy would tell nothing of it"),
				`add "peers SECTION" to its stick-table line and reload HAProxy`), "")
		}
		return
	}
	others := slices.DeleteFunc(slices.Clone(shared[i].Others), func(peer string) bool { return p.Peers != nil && peer == p.Peers.Local })
	switch other, twice := elsewhere[table]; {
	case len(others) == 0:
		r.add(what, nil, "a reload keeps what was counted")
	case twice:
		r.add(what, nil, fmt.Sprintf("it is shared with %s, and so is that of %s: one of the two is listened to, for each has all counts", strings.Join(others, ", "), other))
	default:
		elsewhere[table] = p.Name
		r.add(what, nil, fmt.Sprintf("it is shared with %s: what they count is told as this one's", strings.Join(others, ", ")))
	}
}

// checkPeers sees whether HAProxy can be reached for its peers protocol. Nothing is
// said to it: a second peer of our name would cut the daemon off.
func checkPeers(ctx context.Context, r *report, proxy *config.BurstProxy) {
	if proxy.Peers == nil {
		return
	}
	what := "bursts proxy " + proxy.Name + " peers"
	dialer := net.Dialer{Timeout: peerCallTime}
	conn, err := dialer.DialContext(ctx, "tcp", proxy.Peers.Address)
	if err != nil {
		r.add(what, hint(err, fmt.Sprintf(`write "peer %s %s" and "peer %s ADDRESS" in HAProxy's peers section, and reload it; until it can be reached, the tables are polled`,
			proxy.Peers.Remote, proxy.Peers.Address, proxy.Peers.Local)), "")
		return
	}
	_ = conn.Close() // nothing was sent
	r.add(what, nil, fmt.Sprintf("%s can be connected to; whether it knows a peer %s is seen when the daemon runs", proxy.Peers.Address, proxy.Peers.Local))
}

// checkState sees whether the daemon can keep what it must not lose. Nothing is made.
func checkState(r *report, cfg config.Config) {
	dir := cfg.StateDir()
	mend := "let the daemon's user write there, or name another folder in state"
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err == nil {
		r.add("state", nil, dir)
		return
	}
	if !errors.Is(err, fs.ErrNotExist) {
		r.add("state", hint(fmt.Errorf("nothing can be kept in %s: %w", dir, err), mend), "")
		return
	}
	parent := dir
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(parent) != parent {
		parent = filepath.Dir(parent)
		_, err = os.Stat(parent)
	}
	if err == nil {
		err = unix.Access(parent, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		err = hint(fmt.Errorf("%s is not there, and cannot be made in %s: %w", dir, parent, err), mend)
	}
	r.add("state", err, dir+" is made by serve")
}
