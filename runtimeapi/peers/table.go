package peers

import (
	"slices"
	"strings"
)

// table is a stick table that HAProxy announced, in this connection or a former one.
type table struct {
	name   string // in samples
	wanted bool
	shared bool
	define definition
	keys   *tracker

	session uint32 // the connection that announced it last
	updates uint64
	samples uint64
	counted counted // what the metrics have of it
}

// numbered is a table as HAProxy numbers it for one connection.
type numbered struct {
	*table
	id    uint64
	raw   []byte // its definition, to know it again: HAProxy repeats it at each change of table
	last  uint32 // number of the last update
	dirty bool   // that number is to be acknowledged
}

// reads is whether the updates become samples.
func (t *table) reads() bool { return t.wanted && t.define.unread == "" }

// announce takes a definition: of a new table, of one with other data, or of one that
// is known already.
func (f *Feed) announce(d *definition) *table {
	t := f.tables[d.name]
	if t == nil {
		t = &table{}
		t.name, t.wanted, t.shared = f.proxy.wants(d.name)
		t.keys = newTracker(f.options.MaxKeys, t.shared)
		f.tables[d.name] = t
	}
	t.keys.adopt(d, t.define.name != "" && t.define.sameData(d))
	t.define = *d
	return t
}

// wants is whether the samples of a table are wanted, under which name, and whether
// other HAProxies fill it. What "show table" calls pp/inner, a table inside of the
// peers section pp, is /inner here.
func (p *Proxy) wants(name string) (as string, wanted, shared bool) {
	find := func(list []string) string {
		for _, have := range list {
			if have == name || name[0] == '/' && strings.HasSuffix(have, name) && strings.Count(have, "/") == 1 {
				return have
			}
		}
		return ""
	}
	as = find(p.Tables)
	wanted = as != "" || len(p.Tables) == 0
	if as == "" {
		as = name
	}
	return as, wanted, find(p.Shared) != ""
}

// complete is whether it is known of some table, and of all, which keys there were.
func (f *Feed) complete() bool {
	for _, t := range f.tables {
		if t.reads() && !t.keys.complete {
			return false
		}
	}
	return len(f.tables) > 0
}

// prune forgets the tables that this connection did not announce.
func (f *Feed) prune() {
	for name, t := range f.tables {
		if t.session != f.session {
			delete(f.tables, name)
			f.gone += t.updates
			f.options.Metrics.dropped(f.proxy.Name, t)
		}
	}
}

// missing are the tables that were asked for and that HAProxy does not send.
func (f *Feed) missing() []string {
	var names []string
	for _, name := range f.proxy.Tables {
		found := false
		for _, t := range f.tables {
			found = found || t.name == name && t.wanted
		}
		if !found {
			names = append(names, name)
		}
	}
	return names
}

// sorted are the wanted tables by name.
func (f *Feed) sorted() []*table {
	var all []*table
	for _, t := range f.tables {
		if t.wanted {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *table) int { return strings.Compare(a.name, b.name) })
	return all
}
