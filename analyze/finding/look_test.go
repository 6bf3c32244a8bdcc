package finding

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

func keys(all []Finding) map[string]string {
	m := map[string]string{}
	for _, f := range all {
		m[f.Key] = f.Kind
	}
	return m
}

// TestLookIsDeterministic: the order of everything in the input makes no
// difference, and every finding of a random world is whole.
func TestLookIsDeterministic(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	kinds := map[string]int{}
	for range 400 {
		h := randomHistory(rng)
		in := h.window(noon, noon.Add(2*day))
		want := Look(in, h.policy)
		for _, f := range want {
			checkWhole(t, f)
			kinds[f.Kind]++
		}
		rng.Shuffle(len(in.Uses), reflect.Swapper(in.Uses))
		rng.Shuffle(len(in.Runs), reflect.Swapper(in.Runs))
		for id, past := range in.Tokens {
			rng.Shuffle(len(past.Networks), reflect.Swapper(past.Networks))
			rng.Shuffle(len(past.Attributed), reflect.Swapper(past.Attributed))
			in.Tokens[id] = past
		}
		if have := Look(in, h.policy); !reflect.DeepEqual(have, want) {
			t.Fatalf("in another order:\nhave %+v\nwant %+v", have, want)
		}
		if !slices.IsSortedFunc(want, func(a, b Finding) int { return a.First.Compare(b.First) }) {
			t.Fatal("not in the order of time")
		}
		if len(keys(want)) != len(want) {
			t.Fatal("two findings have one key")
		}
	}
	for _, kind := range Kinds() {
		if kinds[kind] == 0 {
			t.Errorf("%s was never found: the worlds do not reach it", kind)
		}
	}
}

// TestWindowsAddUp: looking at a day in two windows finds, by key, what one look at
// it finds. Only token_after_run cannot promise that for tokens that name no run: one
// that a second run uses later is no run's any more; and first_seen_endpoint only
// where a path is of one backend, as in these worlds: it is news at a protected one
// unless it was seen at another one before.
func TestWindowsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 600 {
		h := randomHistory(rng)
		h.policy.Off = []string{tokenAfterRun.Kind}
		cut := noon.Add(time.Duration(rng.Int64N(int64(day))))
		end := noon.Add(2 * day)
		want := keys(Look(h.window(noon, end), h.policy))
		have := keys(slices.Concat(Look(h.window(noon, cut), h.policy), Look(h.window(cut, end), h.policy)))
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("cut at %s: %s", cut, difference(have, want))
		}
	}
}

// difference names what is in only one of two sets of findings.
func difference(have, want map[string]string) (text string) {
	for k, kind := range have {
		if want[k] == "" {
			text += fmt.Sprintf("\nfound besides: %s %s", kind, k)
		}
	}
	for k, kind := range want {
		if have[k] == "" {
			text += fmt.Sprintf("\nnot found: %s %s", kind, k)
		}
	}
	return text
}

// TestQuietDay: sixty days of ordinary work, and nothing to find in the last one,
// though it is full of what looks like something.
func TestQuietDay(t *testing.T) {
	h := &history{since: noon.Add(-60 * day), policy: prod().withDefaults()}
	h.facts = Input{
		Commits: map[string]Commit{}, Principals: map[Identity]Principal{
			{"space", "shop-sa"}: {Owner: "ada", Credentials: []Credential{{ID: "s", Kind: "client-secret", Created: noon.Add(-3 * day)}}},
		},
		TellsPrincipals: map[string]bool{"space": true}, TellsCommits: map[string]bool{"github": true, "space": true},
	}
	for d := -59; d <= 1; d++ {
		for hour := range 4 {
			h.runOfTheDay(d, hour, "github", "repo:shop")
		}
		h.runOfTheDay(d, 5, "space", "shop-sa")
	}
	// A run is still going on, and the CI server has not told of the newest commit.
	late := deploy(when(24*60+700, 24*60+701), func(u *Use) {
		u.Verdict.Commit, u.Commit, u.IssuedAt = "feed", "feed", u.First
		u.ExpiresAt = u.First.Add(time.Hour)
	})
	h.uses = append(h.uses, late)
	in := h.window(noon.Add(day), noon.Add(2*day))
	in.Until = late.Last.Add(time.Minute)
	if len(in.Uses) < 10 {
		t.Fatalf("%d uses: the day is empty", len(in.Uses))
	}
	for _, f := range Look(in, h.policy) {
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
}

// runOfTheDay is a run with two attempts, of a matrix of two jobs with a token each,
// on a runner that changes its address in its network, and speaks IPv6 too.
func (h *history) runOfTheDay(d, hour int, provider, subject string) {
	start := noon.Add(time.Duration(d)*day + time.Duration(hour)*time.Hour)
	id, sha := fmt.Sprintf("%s-%d-%d", provider, d, hour), fmt.Sprintf("%08x", d*100+hour+10_000)
	h.facts.Commits[sha] = Commit{SHA: sha, Author: "Ann", Signature: "verified"}
	for attempt := range 2 {
		began := start.Add(time.Duration(attempt) * 20 * time.Minute)
		h.facts.Runs = append(h.facts.Runs, attribute.Run{
			Provider: provider, Project: "shop", ID: id, Attempt: uint32(attempt + 1), Commit: sha, Principal: subject, Started: began, Finished: began.Add(10 * time.Minute),
		})
		for job := range 2 {
			for i, network := range []string{"10.2.3.0/24", "10.2.3.0/24", "2001:db8::/56"} {
				u := deploy()
				u.Provider, u.Subject, u.TokenID = provider, subject, fmt.Sprintf("%s-%d-%d", id, attempt, job)
				u.Run, u.Verdict.Run, u.Commit, u.Verdict.Commit, u.ClaimedRun = id, id, sha, sha, id
				u.Network = netip.MustParsePrefix(network)
				u.First = began.Add(time.Duration(i) * 5 * time.Minute)
				u.Last = u.First.Add(2 * time.Minute) // at the end, two minutes late
				u.IssuedAt, u.ExpiresAt = began, began.Add(time.Hour)
				if provider == "space" {
					u.Project, u.Run, u.Ref, u.Commit, u.Verdict.Grade = "", "", "", "", attribute.Corroborated
				}
				h.uses = append(h.uses, u)
			}
		}
	}
}

// TestKeys: what the package's table names makes the key, and nothing else does.
func TestKeys(t *testing.T) {
	one := key("kind", []string{"a", "b"})
	for _, other := range []string{key("kind", []string{"ab", ""}), key("kind", []string{"a", "b", ""}), key("kin", []string{"da", "b"}), key("kind", []string{"b", "a"})} {
		if one == other {
			t.Errorf("two keys are the same: %s", one)
		}
	}
	// The same token, seen again after its run: later, from elsewhere, refused.
	look := func(change ...func(*Use)) Finding {
		all := Look(Input{
			Uses: []Use{deploy(append([]func(*Use){when(60, 61)}, change...)...)},
			Runs: []attribute.Run{{Provider: "github", Project: "shop", ID: "r1", Started: minute(0), Finished: minute(10)}},
		}, Policy{})
		if len(all) != 1 {
			t.Fatalf("%d findings, want 1: %+v", len(all), all)
		}
		return all[0]
	}
	want := look()
	for name, change := range map[string]func(*Use){
		"later": when(70, 90), "elsewhere": func(u *Use) { u.Network = netip.MustParsePrefix("192.0.2.0/24") },
		"refused": denied, "more": func(u *Use) { u.Requests = 1e9 }, "at another place": harmless,
	} {
		if have := look(change); have.Key != want.Key {
			t.Errorf("%s: another key", name)
		}
	}
	if have := look(func(u *Use) { u.TokenID = "t2" }); have.Key == want.Key {
		t.Error("another token has the same key")
	}
	if want.Token != "t1" || want.Run != "r1" || want.Project != "shop" || want.Subject != "repo:shop" || want.Backend != "prod" || want.Commit != "c0ffee01" || want.Requests != 12 {
		t.Errorf("the finding is about something else: %+v", want)
	}
}

func TestOff(t *testing.T) {
	in := Input{Uses: []Use{deploy(unsigned(attribute.None, ""))}}
	if have := Look(in, prod()); len(have) != 1 || have[0].Kind != "unattributed_protected" {
		t.Fatalf("have %+v", have)
	}
	p := prod()
	p.Off = []string{"unattributed_protected"}
	if have := Look(in, p); len(have) != 0 {
		t.Errorf("switched off, and found: %+v", have)
	}
}

// TestEvidence: of many uses the first and the last, and their sum.
func TestEvidence(t *testing.T) {
	var uses []Use
	for i := range 50 {
		uses = append(uses, deploy(unsigned(attribute.None, ""), when(i, i)))
	}
	slices.Reverse(uses)
	have := Look(Input{Uses: uses}, prod())
	if len(have) != 1 || have[0].Requests != 600 || !have[0].First.Equal(minute(0)) || !have[0].Last.Equal(minute(49)) {
		t.Fatalf("have %+v", have)
	}
	rows := have[0].Evidence
	if len(rows) != MaxEvidence || !rows[0].Time.Equal(minute(0)) || !rows[9].Time.Equal(minute(9)) || !rows[10].Time.Equal(minute(40)) || !rows[19].Time.Equal(minute(49)) {
		t.Errorf("evidence %+v", rows)
	}
	text, err := json.Marshal(rows[0])
	const want = `{"time":"2026-11-23T12:00:00Z","identity":"shop-sa","method":"POST","endpoint":"/deployments/{n}","backend":"prod","decision":"allow","network":"10.2.3.0/24","requests":12,"run":"","grade":"none","token_id":"t1"}`
	if err != nil || string(text) != want {
		t.Errorf("have %s\nwant %s", text, want)
	}
}

func TestSeverity(t *testing.T) {
	for s := Low; s <= Critical; s++ {
		if have, ok := ParseSeverity(s.String()); !ok || have != s {
			t.Errorf("%s: read as %s, %t", s, have, ok)
		}
	}
	for _, word := range []string{"", "urgent", "Low"} {
		if have, ok := ParseSeverity(word); ok {
			t.Errorf("%q: read as %s", word, have)
		}
	}
	if have := Severity(9).String(); have != "Severity(9)" {
		t.Errorf("have %s", have)
	}
}

// BenchmarkLook looks at a busy minute in which nearly every use is a case of
// something: 10,000 uses of 1,000 tokens.
func BenchmarkLook(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	h := &history{since: noon.Add(-60 * day), policy: prod().withDefaults()}
	for i := range 10_000 {
		h.uses = append(h.uses, deploy(func(u *Use) {
			u.Subject, u.TokenID = fmt.Sprint("sub", i%300), fmt.Sprint("token", i%1000)
			u.Endpoint = fmt.Sprint("/e", rng.IntN(200))
			u.Run, u.Verdict.Run = fmt.Sprint("run", i%1000), fmt.Sprint("run", i%1000)
		}))
	}
	for i := range 1000 {
		h.facts.Runs = append(h.facts.Runs, attribute.Run{Provider: "github", Project: "shop", ID: fmt.Sprint("run", i), Started: minute(-10), Finished: minute(30)})
	}
	in := h.window(noon, noon.Add(day))
	b.ReportAllocs()
	for b.Loop() {
		Look(in, h.policy)
	}
	b.ReportMetric(float64(len(in.Uses))*float64(b.N)/b.Elapsed().Seconds(), "uses/s")
}
