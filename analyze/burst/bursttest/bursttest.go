// Package bursttest makes synthetic identities to measure a burst detector on: five
// kinds of traffic, by seed always the same, and bursts to put into it.
package bursttest

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// Kind is a kind of traffic.
type Kind uint8

// The kinds. Requests come by Poisson unless it says otherwise; what varies from
// identity to identity is drawn once for each.
const (
	// Quiet: 20 to 400 times a day, by day more than by night, one request or a few
	// (geometric, 1.3 on average) within a few seconds.
	Quiet Kind = iota
	// Steady: 0.2 to 5 requests a second, around the clock.
	Steady
	// Diurnal: a day's curve with a peak of 0.3 to 5 requests a second in the
	// afternoon and a tenth of that at night, a third on weekends, a level that
	// wanders by some 15 % within the hour.
	Diurnal
	// Cron: every 5, 10, 15, 30 or 60 minutes, late by up to 20 s, 10 to 200
	// requests by 15 % more or less, within 5 to 60 s; one request a minute between.
	Cron
	// CI: 20 to 150 jobs a day, mostly by day, a fifth of them started together with
	// 1 to 3 others (a matrix). A job lasts 1 to 15 minutes (lognormal), asks 0.05
	// to 1 times a second, and in clumps, 2 to 8 a job, of 10 to 60 requests
	// (lognormal by job) in 2 to 15 s: dependencies and artifacts. One in 30 has
	// clumps of three times the size: a cache was cold.
	CI

	Kinds = 5
)

// String is the kind's name.
func (k Kind) String() string { return [...]string{"quiet", "steady", "diurnal", "cron", "ci"}[k] }

// Day is a day in seconds.
const Day = 86_400

// Identity is an identity's traffic.
type Identity struct {
	Kind Kind
	seed uint64
	days int
}

// New is the n-th identity of a kind of the population with that seed.
func New(kind Kind, seed, n uint64, days int) Identity {
	return Identity{kind, seed<<32 ^ n<<4 ^ uint64(kind), days}
}

// Seconds are the seconds, from 0, that have requests, and how many.
func (id Identity) Seconds() iter.Seq2[int64, uint32] {
	random := rand.New(rand.NewPCG(id.seed, 11))
	end := int64(id.days) * Day
	switch id.Kind {
	case Quiet:
		return quiet(random, end)
	case Steady:
		rate := between(random, 0.2, 5)
		return poisson(random, end, func(int64) float64 { return rate })
	case Diurnal:
		return diurnal(random, end)
	case Cron:
		return cron(random, end)
	}
	return jobs(random, end)
}

// between draws evenly on the logarithm.
func between(random *rand.Rand, low, high float64) float64 {
	return low * math.Exp(random.Float64()*math.Log(high/low))
}

// draw is a Poisson number (by exponentials: the rates here are small).
func draw(random *rand.Rand, mean float64) uint32 {
	if mean <= 0 {
		return 0
	}
	if mean > 30 {
		return uint32(max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64())))
	}
	n, left, limit := uint32(0), random.Float64(), math.Exp(-mean)
	for left > limit {
		n++
		left *= random.Float64()
	}
	return n
}

// office is the day's curve: 1 at three in the afternoon, 0 at three at night; less
// on the sixth and seventh day.
func office(t int64) float64 {
	level := 0.5 - 0.5*math.Cos(2*math.Pi*(float64(t%Day)/Day-0.125))
	if t/Day%7 >= 5 {
		level /= 3
	}
	return level
}

// poisson is requests by a rate per second that may change each minute.
func poisson(random *rand.Rand, end int64, rate func(int64) float64) iter.Seq2[int64, uint32] {
	return func(yield func(int64, uint32) bool) {
		now := 0.0
		for t := int64(0); t < end; t++ {
			if t%60 == 0 {
				now = rate(t)
			}
			if n := draw(random, now); n > 0 && !yield(t, n) {
				return
			}
		}
	}
}

func diurnal(random *rand.Rand, end int64) iter.Seq2[int64, uint32] {
	peak, wander := between(random, 0.3, 5), 0.0
	return poisson(random, end, func(t int64) float64 {
		wander += -wander/60 + 0.15*math.Sqrt(2./60)*random.NormFloat64()
		return peak * (0.1 + 0.9*office(t)) * math.Exp(wander)
	})
}

// scatter collects requests by second and plays them in order.
type scatter map[int64]uint32

func (s scatter) play(end int64) iter.Seq2[int64, uint32] {
	seconds := make([]int64, 0, len(s))
	for t := range s {
		if t >= 0 && t < end {
			seconds = append(seconds, t)
		}
	}
	slices.Sort(seconds)
	return func(yield func(int64, uint32) bool) {
		for _, t := range seconds {
			if !yield(t, s[t]) {
				return
			}
		}
	}
}

func quiet(random *rand.Rand, end int64) iter.Seq2[int64, uint32] {
	s, rate := scatter{}, between(random, 20, 400)/Day
	for t := 0.0; t < float64(end); {
		t += random.ExpFloat64() / (2 * rate)
		if random.Float64() > 0.1+0.9*office(int64(t)) {
			continue
		}
		for at := t; ; at += random.ExpFloat64() * 2 {
			s[int64(at)]++
			if random.Float64() > 0.23 {
				break
			}
		}
	}
	return s.play(end)
}

func cron(random *rand.Rand, end int64) iter.Seq2[int64, uint32] {
	s := scatter{}
	every := []int64{5, 10, 15, 30, 60}[random.IntN(5)] * 60
	size, length := between(random, 10, 200), between(random, 5, 60)
	for t := int64(0); t < end; t += every {
		s.clump(random, float64(t)+20*random.Float64(), size*(1+0.15*random.NormFloat64()), length)
	}
	for t := 0.0; t < float64(end); t += random.ExpFloat64() * 60 {
		s[int64(t)]++
	}
	return s.play(end)
}

// clump is so many requests, evenly at random over a length.
func (s scatter) clump(random *rand.Rand, at, size, length float64) {
	for n := int(math.Round(size)); n > 0; n-- {
		s[int64(at+length*random.Float64())]++
	}
}

func jobs(random *rand.Rand, end int64) iter.Seq2[int64, uint32] {
	s, rate := scatter{}, between(random, 20, 150)/Day
	clump, pace := between(random, 10, 60), between(random, 0.05, 1)
	for t := 0.0; t < float64(end); {
		t += random.ExpFloat64() / (2 * rate)
		if random.Float64() > 0.1+0.9*office(int64(t)) {
			continue
		}
		together := 1
		if random.Float64() < 0.2 {
			together += 1 + random.IntN(3)
		}
		for range together {
			s.job(random, t+3*random.Float64(), clump, pace)
		}
	}
	return s.play(end)
}

func (s scatter) job(random *rand.Rand, at, clump, pace float64) {
	length := min(max(240*math.Exp(0.8*random.NormFloat64()), 60), 900)
	if random.Float64() < 1./30 {
		clump *= 3
	}
	for t := 0.0; t < length; t += random.ExpFloat64() / pace {
		s[int64(at+t)]++
	}
	for range 2 + random.IntN(7) {
		s.clump(random, at+length*random.Float64(), min(clump*math.Exp(0.4*random.NormFloat64()), 4*clump), 2+13*random.Float64())
	}
}

// Burst is a burst to put into a traffic.
type Burst struct {
	From, Until int64 // seconds: until before Until
	Factor      float64
	Rate        float64 // requests a second
}

// Usual is the 99.9th percentile of an identity's counts by ten seconds, at least 1.
func Usual(seconds iter.Seq2[int64, uint32], from, until int64) float64 {
	of := map[uint32]int64{}
	cell, n := int64(-1), uint32(0)
	for t, count := range seconds {
		if t < from || t >= until {
			continue
		}
		if t/10 != cell {
			of[n]++
			cell, n = t/10, 0
		}
		n += count
	}
	of[n]++
	var sizes []uint32
	for size := range of {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	above := (until - from) / 10 / 1000
	for i := len(sizes) - 1; i >= 0; i-- {
		if above -= of[sizes[i]]; above < 0 {
			return max(1, float64(sizes[i]))
		}
	}
	return 1
}

// With is the traffic with bursts, which are in order and do not overlap. Requests of
// a burst come by Poisson on top of the others.
func With(seconds iter.Seq2[int64, uint32], bursts []Burst, seed uint64) iter.Seq2[int64, uint32] {
	return func(yield func(int64, uint32) bool) {
		random := rand.New(rand.NewPCG(seed, 12))
		next, stop := iter.Pull2(seconds)
		defer stop()
		t, n, more := next()
		for _, b := range bursts {
			for ; more && t < b.From; t, n, more = next() {
				if !yield(t, n) {
					return
				}
			}
			for at := b.From; at < b.Until; at++ {
				sum := draw(random, b.Rate)
				for ; more && t <= at; t, n, more = next() {
					sum += n
				}
				if sum > 0 && !yield(at, sum) {
					return
				}
			}
		}
		for ; more; t, n, more = next() {
			if !yield(t, n) {
				return
			}
		}
	}
}
