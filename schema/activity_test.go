package schema_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// What is asked about very many tokens, identities and endpoints is asked in parts,
// of which none is lost; a statement with all of them takes the engine a minute.
func TestAskedAboutMany(t *testing.T) {
	store := schematest.Open(t)
	const n = 30_000
	var (
		rows    []func(*schema.RequestBlock)
		seen    []schema.FirstSeen
		deploys []schema.Deploy
		before  = map[string]time.Time{}
		tokens  = numbers(n, func(i int) string { return fmt.Sprintf("9f0c2b1e-3d4e-4f5a-8b6c-%012d", i) })
		names   = numbers(n, func(i int) string { return fmt.Sprintf("repo:acme/web-%d:ref:refs/heads/main", i) })
		places  = numbers(n, func(i int) string { return fmt.Sprintf("/storage/of/some/length/{n}/%d", i) })
	)
	places[n/2] = "" // a connection's
	for i := range n {
		rows = append(rows, request("/x", at(i%60), map[string]string{"provider": "github", "subject": names[i], "token_id": tokens[i], "claimed_run": "r"}))
		seen = append(seen, schema.FirstSeen{Provider: "github", Subject: names[i], Method: "GET", Endpoint: places[i], First: at(0)})
		deploys = append(deploys, schema.Deploy{Provider: "github", Subject: names[i], Run: "r", TokenID: tokens[i], Hour: ten, First: at(0)})
		before[names[i]] = at(120)
	}
	insertRequests(t, store, rows...)
	ctx := t.Context()
	if err := store.InsertFirstSeen(ctx, seen); err != nil {
		t.Fatal(err)
	}
	if err := store.InsertDeploys(ctx, deploys); err != nil {
		t.Fatal(err)
	}
	uses, err := store.TokenUses(ctx, at(-60), tokens)
	if err != nil || len(uses) != 2*n { // a network and a claimed run each
		t.Errorf("%d uses of %d tokens, error %v", len(uses), n, err)
	}
	past, err := store.PastOf(ctx, at(-60), before)
	if err != nil || len(past) != n {
		t.Errorf("the past of %d identities, want %d, error %v", len(past), n, err)
	}
	again, err := store.DeploysOf(ctx, at(-60), names)
	if err != nil || len(again) != n {
		t.Errorf("%d deploys, want %d, error %v", len(again), n, err)
	}
	accesses, err := store.FirstSeenAt(ctx, names, places)
	if err != nil || len(accesses) != n {
		t.Errorf("%d accesses, want %d, error %v", len(accesses), n, err)
	}
}

// Old logs are judged all at once: their verdicts are in more months than the
// engine takes in one insert.
func TestAttributionsOfManyMonths(t *testing.T) {
	store := schematest.Open(t)
	var verdicts []schema.Attribution
	for month := range 250 {
		a := judged(map[string]string{"subject": "sa"}, 1, "", [4]string{"10:00", "none", "", ""})
		a.Hour = ten.AddDate(0, -month, 0)
		verdicts = append(verdicts, a)
	}
	if err := store.InsertAttributions(t.Context(), verdicts, nil); err != nil {
		t.Fatal(err)
	}
	if have := rows(t, store, "SELECT toString(count()) FROM attributions"); have[0] != "250" {
		t.Errorf("%s verdicts, want 250", have[0])
	}
}

// A block that is inserted again after a crash counts once in uses, too; and the
// crash may have come between the two.
func TestBlockInsertedAgainIsUsedOnce(t *testing.T) {
	store := schematest.Open(t)
	b, id := schema.NewRequestBlock(), schema.NewBlockID()
	for i := range 10 {
		addRequest(b, map[string]string{"subject": "sa"}, at(i))
	}
	for _, crash := range []string{"", "", "TRUNCATE TABLE uses"} {
		if crash != "" {
			exec(t, store, crash)
		}
		if err := store.InsertRequests(t.Context(), b, id); err != nil {
			t.Fatal(err)
		}
		if have := rows(t, store, "SELECT toString((SELECT count() FROM requests)) || ' ' || toString((SELECT sum(requests) FROM uses))"); have[0] != "10 10" {
			t.Errorf("requests, and requests of uses: %s, want 10 10", have[0])
		}
	}
}
