package schema_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
	"github.com/haptrail/haptrail/schema/schematest"
)

// someDenials are requests of callers at two frontends over some minutes, in order of
// time; more than half of them are denied.
func someDenials(random *rand.Rand, n int, over time.Duration) (rows []map[string]string, times []time.Time) {
	for i := range n {
		row := map[string]string{
			"frontend": []string{"www", "api", ""}[random.IntN(3)], "decision": []string{"allow", "deny", "deny", ""}[random.IntN(4)],
			"client_ip": fmt.Sprintf("192.0.2.%d", random.IntN(9)), "method": "GET", "endpoint": fmt.Sprint("/e", random.IntN(3)),
			"reason": []string{"sig_bad", "no_token"}[random.IntN(2)],
		}
		if who := random.IntN(6); who > 3 {
			row["subject"], row["issuer"] = fmt.Sprint("s", who), "https://i"
		}
		rows = append(rows, row)
		times = append(times, ten.Add(time.Duration(i)*over/time.Duration(n)))
	}
	return rows, times
}

// caller is who a row's denial is of, at which frontend.
func caller(row map[string]string) string {
	frontend := row["frontend"]
	if frontend == "" {
		frontend = schema.NoFrontend
	}
	if row["subject"] != "" {
		return frontend + " " + row["issuer"] + "|" + row["subject"]
	}
	return frontend + " " + row["client_ip"]
}

func callerOf(d *schema.Denial) string {
	if d.Subject != "" {
		return d.Frontend + " " + d.Issuer + "|" + d.Subject
	}
	return d.Frontend + " " + d.Client.String()
}

// TestDenials holds a block's denials against the rows, one by one.
func TestDenials(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 1))
	b := schema.NewRequestBlock()
	for range 3 { // the memory of a block is used again
		b.Reset()
		var want, have []string
		seen := map[string]bool{}
		rows, times := someDenials(random, 2_000, 20*time.Second)
		for i, row := range rows {
			addRequest(b, row, times[i])
			if told := fmt.Sprint(times[i].Unix(), " ", caller(row)); row["decision"] == "deny" && !seen[told] {
				seen[told] = true
				want = append(want, told)
			}
		}
		b.Denials(func(d *schema.Denial) { have = append(have, fmt.Sprint(d.Second, " ", callerOf(d))) })
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("have %v\nwant %v", have, want)
		}
	}
	b.Reset()
	addRequest(b, map[string]string{"decision": "allow"}, ten)
	b.Denials(func(d *schema.Denial) { t.Errorf("nothing was denied, and %+v", *d) })
}

// TestCallersHistory: the callers that the table tells of are those that were denied
// nothing in the five minutes before, whatever days it is asked for.
func TestCallersHistory(t *testing.T) {
	store := schematest.Open(t)
	rows, times := someDenials(rand.New(rand.NewPCG(8, 2)), 3_000, 10*time.Hour) // into the next day: of 15 callers, so some are away for long
	b := schema.NewRequestBlock()
	want, last := map[string]uint64{}, map[string]int64{}
	for i, row := range rows {
		addRequest(b, row, times[i].Add(8*time.Hour))
		if row["decision"] != "deny" {
			continue
		}
		who, second := caller(row), times[i].Add(8*time.Hour).Unix()
		if before, known := last[who]; !known || second-before >= schema.CallerForgotten {
			want[fmt.Sprint(second, " ", who[:3])]++
		}
		last[who] = second
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	have := map[string]uint64{}
	for _, day := range []int{0, 1} {
		midnight := ten.Truncate(24*time.Hour).AddDate(0, 0, day)
		q := schema.HistoryQuery{From: midnight, Until: midnight.AddDate(0, 0, 1), Callers: true}
		err := store.RequestHistory(t.Context(), q, func(c *schema.RequestCount) error {
			have[fmt.Sprint(c.Time.Unix(), " ", (c.Frontend + "  ")[:3])] += c.Count
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	clean := map[string]uint64{} // "-" is shorter than the other names
	for k, n := range want {
		if k[len(k)-3] == '-' {
			k = k[:len(k)-3] + "-  "
		}
		clean[k] += n
	}
	if !maps.Equal(have, clean) || len(have) < 300 {
		t.Errorf("have %d: %v\nwant %d: %v", len(have), have, len(clean), clean)
	}

	chart := map[int64]uint64{}
	counts, err := store.BurstCounts(t.Context(), &schema.BurstRow{Feed: schema.FeedLogs, Measure: schema.MeasureCallers, Of: "frontend", Key: "api"}, ten.Add(8*time.Hour), ten.Add(9*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		chart[c.Time.Unix()-1] += c.Count
	}
	for second := ten.Add(8 * time.Hour).Unix(); second < ten.Add(9*time.Hour-time.Second).Unix(); second++ {
		if chart[second] != clean[fmt.Sprint(second, " api")] {
			t.Errorf("the chart has %d callers at %d, want %d", chart[second], second, clean[fmt.Sprint(second, " api")])
		}
	}
}

// TestDeniedLast: who was denied something in the last five minutes that are known of,
// however long ago they are.
func TestDeniedLast(t *testing.T) {
	store := schematest.Open(t)
	read := func(since time.Time) map[string]bool {
		t.Helper()
		have := map[string]bool{}
		err := store.DeniedLast(t.Context(), since, func(d *schema.Denial) error {
			if have[callerOf(d)] {
				t.Errorf("%s is told twice", callerOf(d))
			}
			have[callerOf(d)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return have
	}
	if have := read(ten); len(have) != 0 {
		t.Errorf("of nothing: %v", have)
	}
	deny := func(address, subject string) map[string]string {
		return map[string]string{"decision": "deny", "frontend": "www", "client_ip": address, "subject": subject}
	}
	insertRequests(t, store, request("/", at(0), deny("192.0.2.1", "")), request("/", at(6), deny("192.0.2.2", "")), request("/", at(9), deny("192.0.2.3", "ann")),
		request("/", at(10), deny("192.0.2.2", "")), request("/", at(60), map[string]string{"decision": "allow", "client_ip": "192.0.2.4"}))
	want := map[string]bool{"www 192.0.2.2": true, "www |ann": true}
	if have := read(at(0)); !maps.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
	if have := read(at(20)); len(have) != 0 {
		t.Errorf("since then nothing was denied, and %v", have)
	}
}

// TestDenialShares: what was denied at a frontend, in all, by reason and by endpoint,
// against a count of the rows.
func TestDenialShares(t *testing.T) {
	store := schematest.Open(t)
	rows, times := someDenials(rand.New(rand.NewPCG(8, 3)), 900, 20*time.Minute)
	type sum struct {
		requests              uint64
		addresses, identities map[string]bool
	}
	b, want := schema.NewRequestBlock(), map[string]*sum{}
	for i, row := range rows {
		addRequest(b, row, times[i])
		if row["decision"] != "deny" || row["frontend"] != "" || times[i].Before(at(5)) || !times[i].Before(at(15)) {
			continue
		}
		for _, of := range []string{"", row["reason"], row["method"] + " " + row["endpoint"]} {
			if want[of] == nil {
				want[of] = &sum{addresses: map[string]bool{}, identities: map[string]bool{}}
			}
			want[of].requests++
			want[of].addresses[row["client_ip"]] = true
			if row["subject"] != "" {
				want[of].identities[row["subject"]] = true
			}
		}
	}
	if err := store.InsertRequests(t.Context(), b, schema.NewBlockID()); err != nil {
		t.Fatal(err)
	}
	found, err := store.Denials(t.Context(), schema.NoFrontend, at(5), at(15), 2)
	if err != nil || len(found.Reasons) != 2 || len(found.Endpoints) != 2 {
		t.Fatalf("have %+v, error %v", found, err)
	}
	for _, have := range append(append([]schema.DenialShare{found.All}, found.Reasons...), found.Endpoints...) {
		of := have.Reason
		if have.Endpoint != "" {
			of = have.Method + " " + have.Endpoint
		}
		w := want[of]
		if w == nil || have.Requests != w.requests || have.Addresses != uint64(len(w.addresses)) || have.Identities != uint64(len(w.identities)) {
			t.Errorf("%q: have %+v, want %+v", of, have, w)
		}
		if have.First.Before(at(5)) || !have.Last.Before(at(15)) || have.Last.Before(have.First) {
			t.Errorf("%q: from %s until %s", of, have.First, have.Last)
		}
	}
	if found.Reasons[0].Requests < found.Reasons[1].Requests || found.Endpoints[0].Requests < found.Endpoints[1].Requests {
		t.Errorf("not the most frequent first: %+v", found)
	}
	if none, err := store.Denials(t.Context(), "nobody's", at(0), at(90), 9); err != nil || !reflect.DeepEqual(none, schema.Denials{}) {
		t.Errorf("of no such frontend: %+v, error %v", none, err)
	}
}

// BenchmarkDenials is what it costs to look for denials among requests of which one in
// twenty was denied.
func BenchmarkDenials(b *testing.B) {
	block := schema.NewRequestBlock()
	for i := range 100_000 {
		addRequest(block, map[string]string{
			"subject": fmt.Sprint("s", i%300), "issuer": "https://i", "frontend": "www", "decision": map[bool]string{true: "deny", false: "allow"}[i%20 == 0],
		}, ten.Add(time.Duration(i)*10*time.Microsecond))
	}
	denials := 0
	for b.Loop() {
		block.Denials(func(*schema.Denial) { denials++ })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
}
