package burst

import "math"

// leastSpread is how much wider than Poisson's a distribution is taken to be at
// least: a share of its mean. It keeps the form below finite, and a history in which
// nothing ever differed from being taken for a law.
const leastSpread = 1e-3

// tail is the natural logarithm of the probability that a negative-binomial count of
// this mean and variance is k or more; 0 for k = 0. A variance below Poisson's is
// taken for Poisson's.
//
// With r = mean²/(variance-mean) and q = 1-mean/variance it is the regularised
// incomplete beta function I_q(k, r) (Johnson, Kemp, Kotz: Univariate Discrete
// Distributions, 5.6), here by its continued fraction (DLMF 8.17.22), which gets
// there in tens of steps where the sum of the terms takes variance/mean of them.
func tail(k, mean, variance float64) float64 {
	if k <= 0 {
		return 0
	}
	if mean <= 0 {
		return math.Inf(-1)
	}
	excess := max(variance-mean, leastSpread*mean)
	r, q := mean/excess*mean, excess/(mean+excess)
	p := 1 - q
	if q > 0.5 {
		p = mean / (mean + excess)
	}
	front := k*math.Log(q) + r*math.Log(p) + gammaLog(k+r) - gammaLog(k) - gammaLog(r)
	if q < (k+1)/(k+r+2) {
		return min(0, front-math.Log(k)+math.Log(betaFraction(k, r, q)))
	}
	// Below the mean, where the fraction would take long: from the other end.
	return math.Log1p(-min(1, math.Exp(front-math.Log(r)+math.Log(betaFraction(r, k, p)))))
}

func gammaLog(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

// betaFraction is the continued fraction of the incomplete beta function, by Lentz's
// method.
func betaFraction(a, b, x float64) float64 {
	const least = 1e-300
	apart := func(v float64) float64 {
		if math.Abs(v) < least {
			return least
		}
		return v
	}
	c, d := 1.0, 1/apart(1-(a+b)*x/(a+1))
	sum := d
	for i := 1.0; i < 10_000; i++ {
		even := i * (b - i) * x / ((a + 2*i - 1) * (a + 2*i))
		d, c = 1/apart(1+even*d), apart(1+even/c)
		sum *= d * c
		odd := -(a + i) * (a + b + i) * x / ((a + 2*i) * (a + 2*i + 1))
		d, c = 1/apart(1+odd*d), apart(1+odd/c)
		sum *= d * c
		if math.Abs(d*c-1) < 1e-10 {
			break
		}
	}
	return sum
}

// quantile is the least count whose tail is at most limit (a natural logarithm). It
// looks from near outwards, a former answer: baselines move slowly, and each look
// costs three logarithms of Γ.
func quantile(limit, mean, variance float64, near uint32) uint32 {
	rare := func(k uint32) bool { return tail(float64(k), mean, variance) <= limit }
	low, high := uint32(0), max(near, 1) // low is not rare, high is
	step := 1 + near/64
	if rare(high) {
		for high > step && rare(high-step) {
			high -= step
			step *= 2
		}
		low = high - min(step, high)
	} else {
		for low = high; ; low = high {
			if high > math.MaxUint32/2 {
				return math.MaxUint32
			}
			if high += step; rare(high) {
				break
			}
			step = min(2*step, 1<<30)
		}
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; rare(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}
