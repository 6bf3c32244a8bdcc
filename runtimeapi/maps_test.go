package runtimeapi

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestInfoOfARunningHAProxy(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := haproxyVersion(t); info.Version != want || info.PID <= 1 || info.Node == "" || info.Threads < 1 || info.Stopping || info.Fields["Name"] != "HAProxy" {
		t.Errorf("%+v, want version %v", info, want)
	}
	v, err := c.Version(t.Context())
	if err != nil || v != info.Version {
		t.Errorf("%v, %v", v, err)
	}
	plain, err := New(filepath.Join(dir, "s"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Info(t.Context()); err != nil {
		t.Errorf("an address without unix: %v", err)
	}
}

func TestListMaps(t *testing.T) {
	dir, c := startGate(t, "^a\\z A\n^b\\z B b b\n", "x y\n")
	maps, err := c.Maps(t.Context())
	if err != nil || len(maps) != 2 {
		t.Fatalf("%+v, %v", maps, err)
	}
	reg := mapNamed(t, maps, "reg.map")
	if !strings.Contains(reg.Description, "h.cfg") || reg.Current != 0 || reg.Next != 0 || reg.File != filepath.Join(dir, "reg.map") {
		t.Errorf("%+v", reg)
	}
	want := []Entry{{`^a\z`, "A"}, {`^b\z`, "B b b"}}
	for _, id := range []string{reg.File, fmt.Sprintf("#%d", reg.ID)} {
		if have, err := c.Map(t.Context(), id); err != nil || !slices.Equal(have, want) {
			t.Errorf("%s: %q, %v", id, have, err)
		}
	}
	if err := c.ReplaceMap(t.Context(), reg.File, want[1:]); err != nil {
		t.Fatal(err)
	}
	maps, err = c.Maps(t.Context())
	if reg := mapNamed(t, maps, "reg.map"); err != nil || reg.Current != 1 || reg.Next != 1 {
		t.Errorf("after a commit: %+v, %v", reg, err)
	}
}

// TestOrderSurvives: 5,000 entries with duplicates, of keys and of whole entries,
// in an order that is not the alphabet's; the first of them wins.
func TestOrderSurvives(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	ask := lookup(t, dir)
	id := filepath.Join(dir, "reg.map")
	want := manyEntries(4996, "first")
	slices.Reverse(want)
	want = append(want, want[0], want[4000], Entry{`^team-17/`, "late"}, Entry{`^team 17/`, "blank"})
	want[2500], want[4999] = want[4999], want[2500] // the one with a blank cuts the chunks
	if err := c.ReplaceMap(t.Context(), id, want); err != nil {
		t.Fatal(err)
	}
	have := texts(t, c, id, 0)
	if len(have) != 5000 {
		t.Fatalf("%d entries", len(have))
	}
	for i, e := range want {
		if have[i] != e.shown() {
			t.Fatalf("entry %d is %q, want %q", i, have[i], e.shown())
		}
	}
	for key, want := range map[string]string{
		"team-17/api/main": "reg=first-17", "team-17/api/other": "reg=late", "team 17/x": "reg=blank", "team-4995/x/main": "reg=first-4995", "nobody": "reg=none",
	} {
		if have, _, _ := strings.Cut(ask(key), " str"); have != want {
			t.Errorf("%s: %s, want %s", key, have, want)
		}
	}
	slices.Reverse(want)
	if err := c.ReplaceMap(t.Context(), id, want); err != nil {
		t.Fatal(err)
	}
	if have := ask("team-17/api/main"); !strings.HasPrefix(have, "reg=late ") {
		t.Errorf("reversed: %s", have)
	}
}

// TestChangesAreSeenAtOnce: HAProxy remembers the results of its slow look-ups
// (tune.pattern.cache-size, an LRU). Each key is looked up often, so that it is
// in there, before and after each kind of change.
func TestChangesAreSeenAtOnce(t *testing.T) {
	dir, c := startGate(t, "^a\\z file\n", "a file\n")
	ask := lookup(t, dir)
	reg, str := filepath.Join(dir, "reg.map"), filepath.Join(dir, "str.map")
	both := func(change func(id, key string) error) error {
		return errors.Join(change(reg, `^a\z`), change(str, "a"))
	}
	for _, step := range []struct {
		name   string
		change func(id, key string) error
		want   string
	}{
		{"file", func(string, string) error { return nil }, "reg=file str=file"},
		{"replace", func(id, key string) error { return c.ReplaceMap(t.Context(), id, []Entry{{key, "replaced"}}) }, "reg=replaced str=replaced"},
		{"set", func(id, key string) error { return c.SetEntry(t.Context(), id, Entry{key, "set"}) }, "reg=set str=set"},
		{"del", func(id, key string) error { return c.DelEntry(t.Context(), id, key) }, "reg=none str=none"},
		{"add", func(id, key string) error { return c.AddEntry(t.Context(), id, Entry{key, "added"}) }, "reg=added str=added"},
		{"empty", func(id, _ string) error { return c.ReplaceMap(t.Context(), id, nil) }, "reg=none str=none"},
		{"again", func(id, key string) error { return c.ReplaceMap(t.Context(), id, []Entry{{key, "again"}}) }, "reg=again str=again"},
	} {
		if err := both(step.change); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for range 50 {
			if have := ask("a"); have != step.want {
				t.Fatalf("%s: a request sees %q, want %q", step.name, have, step.want)
			}
		}
	}
}

// TestLookupsDuringReplace: a request sees the old content or the new, whole.
func TestLookupsDuringReplace(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	reg := filepath.Join(dir, "reg.map")
	content := func(round int) []Entry {
		return append(manyEntries(2000, "filler"), Entry{`^a\z`, fmt.Sprintf("round-%d", round)})
	}
	if err := c.ReplaceMap(t.Context(), reg, content(0)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		defer close(done)
		for round := 1; round <= 10; round++ {
			if err := c.ReplaceMap(t.Context(), reg, content(round)); err != nil {
				done <- err
				return
			}
		}
	}()
	ask := lookup(t, dir)
	last, requests := 0, 0
	for running := true; running; requests++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		var round int
		if n, _ := fmt.Sscanf(ask("a"), "reg=round-%d", &round); n != 1 || round < last {
			t.Fatalf("request %d sees round %d (found: %v) after round %d", requests, round, n == 1, last)
		}
		last = round
	}
	if last != 10 {
		t.Errorf("the last request sees round %d", last)
	}
}

// TestRefusedContent: a regular expression that HAProxy does not take, in one of
// two maps, leaves both as they were and no version behind.
func TestRefusedContent(t *testing.T) {
	dir, c := startGate(t, "^a\\z old\n", "a old\n")
	ask := lookup(t, dir)
	reg, str := filepath.Join(dir, "reg.map"), filepath.Join(dir, "str.map")
	err := c.ReplaceMaps(t.Context(), []MapContent{
		{str, []Entry{{"a", "new"}}},
		{reg, append(manyEntries(300, "new"), Entry{`^([`, "bad"}, Entry{`^a\z`, "new"})},
	})
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), `^([`) || !strings.Contains(err.Error(), "entries ") {
		t.Errorf("%v", err)
	}
	if have := ask("a"); have != "reg=old str=old" {
		t.Errorf("a request sees %s", have)
	}
	// 3.4.0 says yes to "clear map @1" and keeps the entries; the next commit
	// removes them there, too.
	left := func() (n int) {
		for version := uint32(1); version < 4; version++ {
			if version != 2 { // 2 will be the live one
				n += len(texts(t, c, reg, version)) + len(texts(t, c, str, version))
			}
		}
		return n
	}
	if n := left(); n > 0 && !haproxyVersion(t).AtLeast(3, 4) {
		t.Errorf("%d entries are left behind", n)
	}
	if err := c.AddEntry(t.Context(), reg, Entry{`^([`, "bad"}); !errors.Is(err, ErrRejected) {
		t.Errorf("add: %v", err)
	}
	// After the refusal entry_cnt is wrong in HAProxy; the content is not.
	if err := c.ReplaceMaps(t.Context(), []MapContent{{str, []Entry{{"a", "new"}}}, {reg, []Entry{{`^a\z`, "new"}}}}); err != nil {
		t.Fatal(err)
	}
	if have := ask("a"); have != "reg=new str=new" {
		t.Errorf("a request sees %s", have)
	}
	if n := left(); n > 0 {
		t.Errorf("%d entries are left behind after a commit", n)
	}
}

// TestTypedErrors: what HAProxy says, in errors that name command and mend.
func TestTypedErrors(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	user, err := New(filepath.Join(dir, "u"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	str := filepath.Join(dir, "str.map")
	secret := "hunter2"
	for name, tc := range map[string]struct {
		err  error
		kind error
		want string
	}{
		"show an unknown map":    {second(c.Map(t.Context(), "/no.map")), ErrUnknownMap, `"show map /no.map"`},
		"replace an unknown map": {c.ReplaceMap(t.Context(), "/no.map", []Entry{{"a", secret}}), ErrUnknownMap, `"prepare map /no.map"`},
		"add to an unknown map":  {c.AddEntry(t.Context(), "#99", Entry{"a", secret}), ErrUnknownMap, `Name it exactly`},
		"set an unknown key":     {c.SetEntry(t.Context(), str, Entry{"a", secret}), ErrNotFound, `"set map ` + str + `"`},
		"del an unknown key":     {c.DelEntry(t.Context(), str, secret), ErrNotFound, `"del map ` + str + `"`},
		"commit a version gone":  {c.commit(t.Context(), MapContent{str, nil}, 7), ErrVersionGone, `another program replaced the same map`},
		"an unknown command":     {c.do(t.Context(), of("frobnicate")), ErrUnknownCommand, `needs a newer HAProxy`},
		"level user":             {user.do(t.Context(), of("clear", "counters", "all")), ErrPermission, `"level admin"`},
		"the master's command":   {second((&Master{c.to, c.to.options.Timeout}).Procs(t.Context())), ErrUnknownCommand, `the other socket`},
	} {
		var command *CommandError
		if !errors.Is(tc.err, tc.kind) || !errors.As(tc.err, &command) || !strings.Contains(tc.err.Error(), tc.want) {
			t.Errorf("%s: %v, want %v with %s", name, tc.err, tc.kind, tc.want)
		} else if strings.Contains(tc.err.Error(), secret) {
			t.Errorf("%s: the error has the payload: %v", name, tc.err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestOvertaken: of two writers that have both prepared, the one that prepared
// first and commits last is told so.
func TestOvertaken(t *testing.T) {
	dir, c := startGate(t, "x y\n", "x y\n")
	str := filepath.Join(dir, "str.map")
	mine, other := MapContent{str, []Entry{{"a", "mine"}}}, MapContent{str, []Entry{{"a", "other"}}}
	var mineVersion, otherVersion uint32
	if err := errors.Join(c.prepare(t.Context(), mine, &mineVersion), c.prepare(t.Context(), other, &otherVersion)); err != nil {
		t.Fatal(err)
	}
	if err := c.commit(t.Context(), other, otherVersion); err != nil {
		t.Fatal(err)
	}
	if err := c.commit(t.Context(), mine, mineVersion); !errors.Is(err, ErrVersionGone) {
		t.Errorf("%v", err)
	}
	if err := c.compare(t.Context(), other, 0); err != nil {
		t.Error(err)
	}
	if err := c.compare(t.Context(), mine, 0); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), `"a other", want "a mine"`) {
		t.Errorf("%v", err)
	}
}

func TestParseMaps(t *testing.T) {
	const good = "# id (file) description\n" +
		"4 (/path/role.map) pattern loaded from file '/path/role.map' used by map at file 'rt.cfg' line 21. curr_ver=0 next_ver=3 entry_cnt=3\n" +
		"-1 () acl '-m' file 'x.cfg' line 3. curr_ver=1 next_ver=1 entry_cnt=0\n" +
		"0 (/a) (b).map) pattern loaded from file '/a) (b).map' used by map at file 'x.cfg' line 3. curr_ver=4294967295 next_ver=4294967295 entry_cnt=18446744073709551615\n" +
		"7 (virt@grants) pattern loaded from virtual file 'virt@grants' used by map at file 'x.cfg' line 3. curr_ver=0 next_ver=0 entry_cnt=0\n"
	want := []Map{
		{4, "/path/role.map", "pattern loaded from file '/path/role.map' used by map at file 'rt.cfg' line 21", 0, 3},
		{-1, "", "acl '-m' file 'x.cfg' line 3", 1, 1},
		{0, "/a) (b).map", "pattern loaded from file '/a) (b).map' used by map at file 'x.cfg' line 3", 4294967295, 4294967295},
		{7, "virt@grants", "pattern loaded from virtual file 'virt@grants' used by map at file 'x.cfg' line 3", 0, 0},
	}
	if have, err := parseMaps(good); err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("%v\n have %+v\n want %+v", err, have, want)
	}
	for _, bad := range []string{"", "4 (x) y. curr_ver=0 next_ver=0 entry_cnt=0\n", mapsHeader + "\nx\n", mapsHeader + "\n4 (x) y\n",
		mapsHeader + "\n4 (x) y. curr_ver=4294967296 next_ver=0 entry_cnt=0\n", mapsHeader + "\n99999999999999999999 (x) y. curr_ver=0 next_ver=0 entry_cnt=0\n"} {
		if have, err := parseMaps(bad); err == nil || have != nil {
			t.Errorf("%q: %+v, %v", bad, have, err)
		}
	}
	for _, bad := range []string{"x\n", "0x5\n", "0x k v\n", "5f k v\n", "0x5G k v\n", "Unknown map identifier.\n", "\n"} {
		if have, err := parseEntries(bad); err == nil || have != nil {
			t.Errorf("%q: %q, %v", bad, have, err)
		}
	}
}

// FuzzReplies: no reply makes a parser panic, an error comes without a result,
// and what an entry line says is what it said.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{"", "\n", "0x55 a b\n", mapsHeader + "\n1 (f) d. curr_ver=0 next_ver=0 entry_cnt=0\n", "Version: 2.6.1\nPid: 1\nUptime_sec: 4\nNbthread: 2\nStopping: 0\n", procs26, procs33} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		maps, err := parseMaps(reply)
		if err != nil && maps != nil {
			t.Errorf("%v and %v", maps, err)
		}
		if entries, err := parseEntries(reply); err == nil {
			again := ""
			for _, e := range entries {
				again += e.address + " " + e.text + "\n"
			}
			if strings.TrimSuffix(again, "\n") != strings.TrimSuffix(reply, "\n") {
				t.Errorf("%q is read as %q", reply, again)
			}
		}
		if info, err := parseInfo(reply); err != nil && !reflect.DeepEqual(info, Info{}) {
			t.Errorf("%+v and %v", info, err)
		}
		if procs, err := parseProcs(reply); err == nil && procs[0].Type != "master" {
			t.Errorf("%+v", procs)
		} else if err != nil && procs != nil {
			t.Errorf("%+v and %v", procs, err)
		}
		if body, ok := whole(reply); ok && body+"\n" != reply {
			t.Errorf("%q is not %q", body, reply)
		}
		_ = classify(reply)
		if quoted := words(reply); len(quoted) > maxQuotedReply+len("…") {
			t.Errorf("%d bytes quoted", len(quoted))
		}
	})
}

// BenchmarkReplaceMap swaps a map_reg of 5,000 entries for another: prepared, sent,
// read back, committed and read back.
func BenchmarkReplaceMap(b *testing.B) {
	dir, c := startGate(b, "x y\n", "x y\n")
	contents := [][]Entry{manyEntries(5000, "even"), manyEntries(5000, "odd")}
	for i := 0; b.Loop(); i++ {
		if err := c.ReplaceMap(b.Context(), filepath.Join(dir, "reg.map"), contents[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is the window between two commits: the time until HAProxy has
// answered one that frees 5,000 old entries.
func BenchmarkCommit(b *testing.B) {
	dir, c := startGate(b, "x y\n", "x y\n")
	content := MapContent{filepath.Join(dir, "reg.map"), manyEntries(5000, "value")}
	for b.Loop() {
		b.StopTimer()
		var version uint32
		if err := c.prepare(b.Context(), content, &version); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := c.commit(b.Context(), content, version); err != nil {
			b.Fatal(err)
		}
	}
}
