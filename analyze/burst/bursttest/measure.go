package bursttest

import (
	"iter"
	"math"
	"math/rand/v2"
)

// Measure is what is counted of a traffic.
type Measure uint8

// The measures, as a healthy identity has them.
const (
	// Requests: the traffic itself.
	Requests Measure = iota
	// Denials: none, but for a mistake now and then, once in one to fifty days, that is
	// denied, tried again after 1 to 5 s in four of ten cases, and so on.
	Denials
	// Errors: 0.1 to 1 % of the requests; in four of ten cases the next one within 10 s
	// fails too, and so on.
	Errors
	// Kilobytes: each request's size. Lognormal by 1.2 around 1 to 20 kB; one in 50 is
	// an artifact, with a Pareto tail of index 1.3 from 200 kB to 500 MB.
	Kilobytes
	// Endpoint: 5 to 50 % of the requests.
	Endpoint

	Measures = 5
)

// String is the measure's name.
func (m Measure) String() string {
	return [...]string{"requests", "denials", "errors", "kilobytes", "endpoint"}[m]
}

// Of are the seconds that have any of a measure, and how much.
func (id Identity) Of(m Measure) iter.Seq2[int64, uint32] {
	return func(yield func(int64, uint32) bool) {
		for at, n := range id.once(m) {
			if !yield(at, n) {
				return
			}
		}
	}
}

// once is Of for one use: its random numbers go on where a second one would begin.
func (id Identity) once(m Measure) iter.Seq2[int64, uint32] {
	random := rand.New(rand.NewPCG(id.seed, 20+uint64(m)))
	switch m {
	case Denials:
		return mistakes(random, int64(id.days)*Day)
	case Errors:
		return id.failing(random)
	case Kilobytes:
		return id.sized(random)
	case Endpoint:
		share := between(random, 0.05, 0.5)
		return id.each(func(int64) uint32 {
			if random.Float64() < share {
				return 1
			}
			return 0
		})
	}
	return id.Seconds()
}

// each is the traffic with another number for each request.
func (id Identity) each(number func(at int64) uint32) iter.Seq2[int64, uint32] {
	return func(yield func(int64, uint32) bool) {
		for at, n := range id.Seconds() {
			sum := uint32(0)
			for range n {
				sum += min(number(at), math.MaxUint32-sum)
			}
			if sum > 0 && !yield(at, sum) {
				return
			}
		}
	}
}

func mistakes(random *rand.Rand, end int64) iter.Seq2[int64, uint32] {
	s, rate := scatter{}, between(random, 0.02, 1)/Day
	for t := 0.0; t < float64(end); {
		t += random.ExpFloat64() / rate
		for at := t; ; at += 1 + 4*random.Float64() {
			s[int64(at)]++
			if random.Float64() > 0.4 {
				break
			}
		}
	}
	return s.play(end)
}

func (id Identity) failing(random *rand.Rand) iter.Seq2[int64, uint32] {
	share, failed := between(random, 0.001, 0.01), int64(-Day)
	return id.each(func(at int64) uint32 {
		chance := share
		if at-failed < 10 {
			chance = 0.4
		}
		if random.Float64() > chance {
			failed = -Day
			return 0
		}
		failed = at
		return 1
	})
}

func (id Identity) sized(random *rand.Rand) iter.Seq2[int64, uint32] {
	usual := between(random, 1, 20)
	return id.each(func(int64) uint32 {
		size := usual * math.Exp(1.2*random.NormFloat64())
		if random.IntN(50) == 0 {
			size = 200 * math.Pow(random.Float64(), -1/1.3)
		}
		return uint32(math.Ceil(min(size, 500_000)))
	})
}
