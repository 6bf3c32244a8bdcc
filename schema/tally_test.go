package schema_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// TestTally holds a block's tally against the rows, counted one by one.
func TestTally(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	b := schema.NewRequestBlock()
	for range 3 { // the memory of a block is used again
		b.Reset()
		want := map[schema.Tally]schema.Tally{}
		for range 2000 {
			row := map[string]string{"method": []string{"GET", "PUT"}[rng.IntN(2)], "endpoint": fmt.Sprint("/e", rng.IntN(3)), "role": "reader"}
			decision := []string{"allow", "deny", ""}[rng.IntN(3)]
			row["decision"] = decision
			if who := rng.IntN(4); who > 0 {
				row["subject"], row["issuer"] = fmt.Sprint("s", who), fmt.Sprint("https://i", who%2)
			}
			when := ten.Add(time.Duration(rng.IntN(3)) * time.Second)
			addRequest(b, row, when)
			key := schema.Tally{Second: when.Unix()}
			if row["subject"] != "" {
				key.Issuer, key.Subject, key.Role, key.Method, key.Endpoint = row["issuer"], row["subject"], row["role"], row["method"], row["endpoint"]
			} else {
				key.Client = netip.IPv6Unspecified() // as all of addRequest's are
			}
			sum := want[key]
			sum.Requests++
			if decision == "deny" {
				sum.Denied++
			}
			want[key] = sum
		}
		have := map[schema.Tally]schema.Tally{}
		b.Tally(func(tally *schema.Tally) {
			key, sum := *tally, schema.Tally{Requests: tally.Requests, Denied: tally.Denied}
			key.Requests, key.Denied, key.Failed, key.Bytes = 0, 0, 0, 0
			if _, again := have[key]; again {
				t.Errorf("%+v is told twice", key)
			}
			have[key] = sum
		})
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("have %v\nwant %v", have, want)
		}
	}
}

// TestTallyOfOneRow: a request counts in the second of its answer, by what came of it.
func TestTallyOfOneRow(t *testing.T) {
	for _, c := range []struct {
		status   int16
		activeMs int32
		bytes    int64
		want     schema.Tally
	}{
		{200, 0, 10, schema.Tally{Second: ten.Unix(), Bytes: 10}},
		{499, 1500, 0, schema.Tally{Second: ten.Unix() + 1}},
		{503, 25_000, -1, schema.Tally{Second: ten.Unix() + 25, Failed: 1}},
		{-1, -1, 0, schema.Tally{Second: ten.Unix(), Failed: 1}},
	} {
		b := schema.NewRequestBlock()
		b.Time.Append(ten.UnixMicro())
		b.ActiveMs.Append(c.activeMs)
		b.Status.Append(c.status)
		b.BytesRead.Append(c.bytes)
		b.Subject.Append([]byte("shop-sa"))
		for _, none := range []*schema.Dict{&b.Issuer, &b.Role, &b.Method, &b.Endpoint, &b.Decision} {
			none.AppendEmpty()
		}
		b.EndRow()
		c.want.Requests, c.want.Subject = 1, "shop-sa"
		told := 0
		b.Tally(func(have *schema.Tally) {
			told++
			if *have != c.want {
				t.Errorf("status %d, %d ms: have %+v, want %+v", c.status, c.activeMs, *have, c.want)
			}
		})
		if told != 1 {
			t.Errorf("status %d: told %d times", c.status, told)
		}
	}
}

func BenchmarkTally(b *testing.B) {
	block := schema.NewRequestBlock()
	for i := range 100_000 {
		addRequest(block, map[string]string{
			"subject": fmt.Sprint("s", i%300), "issuer": "https://i", "method": "GET", "endpoint": fmt.Sprint("/e", i%20), "decision": "allow",
		}, ten.Add(time.Duration(i)*10*time.Microsecond))
	}
	tallies := 0
	for b.Loop() {
		block.Tally(func(*schema.Tally) { tallies++ })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
}
