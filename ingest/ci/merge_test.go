package ci

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// moment is one of few times, so that many are equal, or none.
func moment(random *rand.Rand) time.Time {
	if n := random.IntN(5); n > 0 {
		return time.Unix(1_700_000_000+int64(n), 0).UTC()
	}
	return time.Time{}
}

func pick(random *rand.Rand, of ...string) string { return of[random.IntN(len(of))] }

func anyRun(random *rand.Rand) Run {
	run := Run{Provider: "github", Project: "acme/web-shop", ID: "1", Attempt: 1, Status: Status(random.IntN(int(Succeeded) + 1))}
	value := reflect.ValueOf(&run).Elem()
	for i := range value.NumField() {
		switch field := value.Field(i); {
		case value.Type().Field(i).Name == "Provider", value.Type().Field(i).Name == "Project", value.Type().Field(i).Name == "ID":
		case field.Kind() == reflect.String:
			field.SetString(pick(random, "", "a", "b"))
		case field.Type() == reflect.TypeFor[time.Time]():
			field.Set(reflect.ValueOf(moment(random)))
		}
	}
	return run
}

func anyCommit(random *rand.Rand) Commit {
	return Commit{
		SHA: "c0ffee", Repository: "acme/web-shop",
		Author: pick(random, "", "Ann", "Bob"), AuthorEmail: pick(random, "", "ann@example.com"), Committer: pick(random, "", "GitHub"),
		Authored: moment(random), Committed: moment(random), Subject: pick(random, "", "Fix"),
		Signature: pick(random, "", "none", "unverified", "verified"), Said: moment(random),
	}
}

// anyLast is something that was said at one of few times, or at none, or not.
func anyLast[T any](random *rand.Rand, values ...T) Last[T] {
	if random.IntN(4) == 0 {
		return Last[T]{}
	}
	return said(values[random.IntN(len(values))], moment(random))
}

func anyPrincipal(random *rand.Rand) Principal {
	p := Principal{
		Provider: "space", Subject: "app-1", Project: pick(random, "", "payments"),
		Name: anyLast(random, "a", "b"), Owner: anyLast(random, "", "ada", "bob"), Archived: anyLast(random, false, true),
		Rights:  anyLast(random, []string{}, []string{"a"}, []string{"a", "b"}, []string{"b"}),
		Created: moment(random), LastUsed: moment(random), Said: moment(random),
	}
	for range random.IntN(4) {
		p.Credentials = append(p.Credentials, Credential{
			ID: pick(random, "1", "2", "3"), Kind: pick(random, "client-secret", "permanent-token"),
			Created: moment(random), Expires: moment(random), LastUsed: moment(random), Said: moment(random),
		})
	}
	if random.IntN(2) == 0 {
		p.Listed = map[string]time.Time{"permanent-token": moment(random)}
	}
	return p.Merge(Principal{}) // each credential once
}

// lawful checks that merging is commutative, associative and idempotent, on facts
// as messages tell them and on those that merging made.
func lawful[T interface{ Merge(T) T }](t *testing.T, rounds int, make func(*rand.Rand) T) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	same := func(a, b T) bool { return reflect.DeepEqual(a, b) }
	for range rounds {
		a, b, c := make(random), make(random), make(random)
		if random.IntN(2) == 0 {
			a = a.Merge(make(random))
		}
		if !same(a.Merge(a), a) {
			t.Fatalf("not idempotent:\n%+v\n%+v", a, a.Merge(a))
		}
		if !same(a.Merge(b), b.Merge(a)) {
			t.Fatalf("not commutative:\n%+v\n%+v\n%+v\n%+v", a, b, a.Merge(b), b.Merge(a))
		}
		if left, right := a.Merge(b).Merge(c), a.Merge(b.Merge(c)); !same(left, right) {
			t.Fatalf("not associative:\n%+v\n%+v\n%+v\n(ab)c %+v\na(bc) %+v", a, b, c, left, right)
		}
		if ab := a.Merge(b); !same(ab.Merge(a), ab) || !same(ab.Merge(b), ab) {
			t.Fatalf("a fact that is known already changes the state:\n%+v\n%+v", a, b)
		}
	}
}

func TestMergeLaws(t *testing.T) {
	t.Run("run", func(t *testing.T) { lawful(t, 50_000, anyRun) })
	t.Run("commit", func(t *testing.T) { lawful(t, 50_000, anyCommit) })
	t.Run("principal", func(t *testing.T) { lawful(t, 20_000, anyPrincipal) })
}

// A webhook says a part: what it leaves out stays, and what a poll says is not
// there any more goes.
func TestMergePrincipal(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	polled := Principal{
		Subject: "app", Name: said("Deployer", at(10)), Owner: said("ada", at(10)), Archived: said(true, at(10)),
		Rights: said([]string{"global:Profile.View"}, at(10)), Said: at(10),
	}
	renamed := Principal{Subject: "app", Name: said("Deployer 2", at(20)), Said: at(20)}
	orphaned := Principal{Subject: "app", Owner: said("", at(30)), Archived: said(false, at(30)), Rights: said([]string{}, at(30)), Said: at(30)}
	want := Principal{
		Subject: "app", Name: said("Deployer 2", at(20)), Owner: said("", at(30)), Archived: said(false, at(30)),
		Rights: said([]string{}, at(30)), Said: at(30),
	}
	for _, order := range [][]Principal{{polled, renamed, orphaned}, {orphaned, polled, renamed}, {renamed, orphaned, polled}} {
		if have := order[0].Merge(order[1]).Merge(order[2]); !reflect.DeepEqual(have, want) {
			t.Errorf("have %+v\nwant %+v", have, want)
		}
	}
	before := polled.Merge(Principal{Listed: map[string]time.Time{"permanent-token": at(1)}, Credentials: []Credential{{ID: "1"}}})
	_ = before.Merge(Principal{Listed: map[string]time.Time{"permanent-token": at(9)}, Credentials: []Credential{{ID: "1", Said: at(9)}}})
	if !before.Listed["permanent-token"].Equal(at(1)) || !before.Credentials[0].Said.IsZero() {
		t.Errorf("merging changed one of the two: %+v", before)
	}
}

func TestMergeRun(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	key := Run{Provider: "github", Project: "acme/web-shop", ID: "7", Attempt: 2}
	with := func(change func(*Run)) Run {
		run := key
		change(&run)
		return run
	}
	for name, row := range map[string]struct{ a, b, want Run }{
		"a start that arrives after the end": {
			with(func(r *Run) { r.Status, r.Finished, r.Said = Failed, at(90), at(90) }),
			with(func(r *Run) { r.Status, r.Started, r.Said, r.Agent = Running, at(10), at(10), "vm-1" }),
			with(func(r *Run) {
				r.Status, r.Started, r.Finished, r.Said, r.Agent = Failed, at(10), at(90), at(90), "vm-1"
			}),
		},
		"canceled, and ended well in the same second": {
			with(func(r *Run) { r.Status, r.Finished = Canceled, at(90) }),
			with(func(r *Run) { r.Status, r.Finished = Succeeded, at(91) }),
			with(func(r *Run) { r.Status, r.Finished = Succeeded, at(91) }),
		},
		"two queueings": {
			with(func(r *Run) { r.Queued = at(5) }), with(func(r *Run) { r.Queued = at(4) }), with(func(r *Run) { r.Queued = at(4) }),
		},
		"a tag's ref wins over the branch that it was taken for": {
			with(func(r *Run) { r.Ref = "refs/heads/v1" }), with(func(r *Run) { r.Ref = "refs/tags/v1" }), with(func(r *Run) { r.Ref = "refs/tags/v1" }),
		},
	} {
		if have := row.a.Merge(row.b); have != row.want {
			t.Errorf("%s:\nwant %+v\nhave %+v", name, row.want, have)
		}
	}
}

func TestMergeCommit(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	verified := Commit{SHA: "c0ffee", Signature: "verified", Said: at(10)}
	silent := Commit{SHA: "c0ffee", Author: "Ann", Said: at(30)}
	revoked := Commit{SHA: "c0ffee", Signature: "unverified", Said: at(20)}

	// What says nothing of the signature must not make the older verdict win.
	want := Commit{SHA: "c0ffee", Author: "Ann", Signature: "unverified", Said: at(30), Checked: at(20)}
	if have := verified.Merge(silent).Merge(revoked); have != want {
		t.Errorf("want %+v\nhave %+v", want, have)
	}
	if have := revoked.Merge(silent).Merge(verified); have != want {
		t.Errorf("want %+v\nhave %+v", want, have)
	}
	// One time for both: the API's, which tells them apart, wins on either side.
	pushed := Commit{Authored: at(40), Committed: at(40)}
	for _, told := range []Commit{{Authored: at(20), Committed: at(40)}, {Authored: at(40), Committed: at(60)}} {
		if have := pushed.Merge(told); have != told {
			t.Errorf("want %+v\nhave %+v", told, have)
		}
	}
}

func TestStatusWords(t *testing.T) {
	for status, want := range map[Status]struct {
		word  string
		final bool
	}{Unknown: {"", false}, Queued: {"queued", false}, Running: {"running", false}, Skipped: {"skipped", true}, Canceled: {"canceled", true}, Failed: {"failed", true}, Succeeded: {"succeeded", true}} {
		if status.String() != want.word || status.Final() != want.final {
			t.Errorf("%d: %q, final %t", status, status, status.Final())
		}
	}
}
