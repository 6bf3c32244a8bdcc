package burst_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/haptrail/haptrail/analyze/burst"
)

// BenchmarkStep is the cost of a second of a key: 100,000 keys, all of them active in
// each second (dense) or each in one of twenty (sparse).
func BenchmarkStep(b *testing.B) {
	const keys = 100_000
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("project/job-%06d", i)
	}
	for _, c := range []struct {
		name  string
		every int64
	}{{"dense", 1}, {"sparse", 20}} {
		b.Run(c.name, func(b *testing.B) {
			d, err := burst.New(burst.Options{MaxKeys: keys})
			if err != nil {
				b.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, 1))
			counts := make([]uint32, 1<<16)
			for i := range counts {
				counts[i] = random.Uint32N(4)
			}
			second, key, i := int64(monday), 0, 0
			step := func() {
				if key == keys {
					key, second = 0, second+c.every
				}
				d.Step(names[key], second, counts[i&(1<<16-1)])
				key++
				i++
			}
			for range 2 * keys { // all of them known
				step()
			}
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}
