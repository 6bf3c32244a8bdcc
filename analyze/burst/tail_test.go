package burst

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sum is the tail term by term, from the definition.
func sum(k, mean, variance float64) float64 {
	excess := max(variance-mean, leastSpread*mean)
	r, p := mean*mean/excess, mean/(mean+excess)
	lr, _ := math.Lgamma(r)
	total := 0.0
	for i := k; ; i++ {
		a, _ := math.Lgamma(i + r)
		b, _ := math.Lgamma(i + 1)
		term := math.Exp(a - b - lr + r*math.Log(p) + i*math.Log1p(-p))
		total += term
		if i > mean && term < total*1e-15 || i > 1e7 {
			return math.Log(total)
		}
	}
}

func TestTail(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 3_000 {
		mean := math.Exp(random.Float64()*14 - 6)
		variance := mean * (0.5 + math.Exp(random.Float64()*5-1))
		k := math.Floor(mean + random.Float64()*20*math.Sqrt(variance))
		want, have := sum(k, mean, variance), tail(k, mean, variance)
		if math.IsInf(want, -1) { // below the least float: the fraction still knows
			continue
		}
		if math.Abs(want-have) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("P(X >= %v), mean %v, variance %v: want e^%v, have e^%v", k, mean, variance, want, have)
		}
	}
}

// TestTailKnown are tails with a form of their own: at r = 1 (variance = mean + mean²)
// the negative binomial is geometric, at a variance of the mean nearly Poisson's.
func TestTailKnown(t *testing.T) {
	for _, k := range []float64{1, 2, 10, 100, 1000} {
		mean := 3.0
		if want, have := k*math.Log(mean/(1+mean)), tail(k, mean, mean+mean*mean); math.Abs(want-have) > 1e-9*math.Abs(want) {
			t.Errorf("geometric, %v: want %v, have %v", k, want, have)
		}
	}
	poisson := 1 - math.Exp(-2)*(1+2+2) // P(X >= 3), mean 2
	if have := math.Exp(tail(3, 2, 2)); math.Abs(have-poisson) > 1e-3 {
		t.Errorf("Poisson: want %v, have %v", poisson, have)
	}
	for _, c := range []struct{ k, mean, want float64 }{{0, 5, 0}, {-1, 5, 0}, {0, 0, 0}, {1, 0, math.Inf(-1)}} {
		if have := tail(c.k, c.mean, c.mean); have != c.want {
			t.Errorf("P(X >= %v), mean %v: want %v, have %v", c.k, c.mean, c.want, have)
		}
	}
}

// TestTailHuge: no count is so large that it comes to no number.
func TestTailHuge(t *testing.T) {
	for _, mean := range []float64{1e-300, 1e-12, 1, 1e6, 1e12, 300 * math.MaxUint32} {
		for _, spread := range []float64{0, 1, 1e3, 1e12} {
			for _, k := range []float64{1, 1e3, math.MaxUint32, 300 * math.MaxUint32} {
				if have := tail(k, mean, mean*spread); math.IsNaN(have) || have > 0 {
					t.Errorf("P(X >= %v), mean %v, %v times that variance: %v", k, mean, spread, have)
				}
			}
		}
	}
}

// TestQuantile: it is the least such count, whatever the guess it sets out from.
func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	for range 2_000 {
		mean := math.Exp(random.Float64()*16 - 8)
		variance := mean * math.Exp(random.Float64()*5)
		limit := -1 - 40*random.Float64()
		near := uint32(math.Exp(random.Float64() * 22))
		k := quantile(limit, mean, variance, near)
		if tail(float64(k), mean, variance) > limit {
			t.Fatalf("limit %v, mean %v, variance %v, from %d: %d is not rare", limit, mean, variance, near, k)
		}
		if k > 1 && tail(float64(k-1), mean, variance) <= limit {
			t.Fatalf("limit %v, mean %v, variance %v, from %d: %d is rare, but so is one less", limit, mean, variance, near, k)
		}
	}
	if k := quantile(-20, 1e12, 1e13, 5); k != math.MaxUint32 {
		t.Errorf("beyond 32 bits: want all bits, have %d", k)
	}
}
