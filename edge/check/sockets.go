package check

import (
	"slices"
	"strconv"

	"github.com/haptrail/haptrail/ingest/haproxycfg"
)

// checkSockets looks at the Runtime API: who reaches it decides who may do what,
// since even sockets of level user may change maps (before HAProxy 3.4).
func (c *checker) checkSockets() {
	var where place
	sockets, admin := 0, false
	for _, g := range c.cfg.Kinds("global") {
		for _, l := range g.Lines {
			if l.Word(0) != "stats" || l.Word(1) != "socket" {
				continue
			}
			sockets++
			where = at(g, l)
			c.checkSocket(where, l)
			admin = admin || after(l, "level") == "admin"
		}
	}
	switch {
	case sockets == 0:
		c.add("socket-missing", place{}, "add to the global section: stats socket /run/haproxy/admin.sock mode 600 level admin",
			"there is no stats socket: every change of the maps needs a reload, and haptrail cannot compare them")
	case !admin:
		c.add("socket-level", where, "write: level admin (the socket's mode is its protection)",
			"no stats socket has level admin: keys cannot be changed at run time, and from HAProxy 3.4 on maps neither")
	}
	if c.MasterSocket == "" {
		c.add("master-unknown", place{}, "start HAProxy with -W -S /run/haproxy/master.sock, and name that socket",
			"the master socket is not known: no reload can be asked for and its outcome not be seen")
	}
}

// after is the word behind a keyword of a line, "" when there is none.
func after(l haproxycfg.Line, keyword string) string {
	if i := slices.Index(l.Words, keyword); i >= 0 {
		return l.Word(i + 1)
	}
	return ""
}

func (c *checker) checkSocket(p place, l haproxycfg.Line) {
	a := parseAddress(l.Word(2))
	switch {
	case a.scheme == "fd" || a.scheme == "abns" && a.path != "":
		return // the mode is that of who opened it, or there is none
	case a.path == "":
		c.add("socket-remote", p, "use a unix socket: stats socket /run/haproxy/admin.sock mode 600 level admin",
			"stats socket %s listens on TCP: whoever connects may change who may do what, at any level", l.Word(2))
		return
	}
	mode := after(l, "mode")
	bits, err := strconv.ParseUint(mode, 8, 32)
	switch {
	case mode == "":
		c.add("socket-mode", p, "add: mode 600 (or 660 and group haptrail)",
			"stats socket %s has no mode: it gets what the umask leaves, and any local user may change who may do what", l.Word(2))
	case err != nil || bits&0o007 != 0:
		c.add("socket-mode", p, "write: mode 600 (or 660 and group haptrail)",
			"stats socket %s has mode %s: any local user may change who may do what", l.Word(2), mode)
	}
}
