package burst

// The measures of an HAProxy's traffic, each counted by a detector of its own, with
// the words, the thresholds and the prior that fit it. Role, MaxKeys and what else
// depends on the place are the caller's to add.
//
// The numbers are of 60 synthetic identities of each kind (bursttest): thresholds for
// 0.01 false alarms for each identity and day, and priors of what is usual after a
// week.
//
//	go test -run TestDefaultThresholds -v -args -identities 60

// Requests are the options to count requests of an identity: the defaults.
func Requests() Options { return Options{} }

// Denials are the options to count requests of an identity that were denied.
//
// A healthy identity has none, or a few after a mistake, which it makes again once or
// twice. So a detector does not know most of them until their first denial, and the
// prior is what nearly all are judged by: nine of ten never had more than these at a
// time, and 6 in five seconds, 8 in ten or 9 in a minute are a burst.
func Denials() Options {
	return Options{
		Words: Words{Counted: Noun{"denial", "denials"}},
		Prior: &Prior{
			Mean:      PerWindow{2e-5, 4e-5, 2.5e-4, 1.2e-3},
			Variance:  PerWindow{4e-5, 8e-5, 5e-4, 2.5e-3},
			HighWater: PerWindow{2, 3, 4, 4},
		},
	}
}

// Errors are the options to count requests of an identity that failed.
//
// Of most identities fewer than one request in a hundred does, and one failure in two
// or three brings another. The prior is what three of four never had more of, lower
// than for requests: errors that come with an identity's first day are worth a look.
func Errors() Options {
	return Options{
		Words: Words{Counted: Noun{"error", "errors"}},
		Prior: &Prior{
			Mean:      PerWindow{0.01, 0.02, 0.12, 0.6},
			Variance:  PerWindow{0.02, 0.04, 0.3, 2},
			HighWater: PerWindow{5, 6, 8, 13},
		},
	}
}

// Kilobytes are the options to count the kilobytes (1,000 bytes, rounded up by the
// request or by the sample) that an identity was sent.
//
// Sizes are heavy-tailed: with a Pareto index of 1.3, as those of bursttest, what comes
// once in a hundred days is (100/7)^(1/1.3) = 7.7 times what comes once in a week. So
// the ratios are four to five times those of requests whatever is measured, and with
// them bursts of ten times the usual are mostly not found and of a hundred times late
// (TestMeasures). The negative binomial hardly has a say. Less than 1 MB is no burst.
func Kilobytes() Options {
	return Options{
		Words:      Words{Counted: Noun{"kB", "kB"}},
		Thresholds: Thresholds{Ratio: PerWindow{9.75, 9.78, 9.15, 7.26}, Tail: -73.9, Gate: 1.1, Least: 1000},
		Prior: &Prior{
			Mean:      PerWindow{63, 145, 814, 4750},
			Variance:  PerWindow{2.3e5, 5.8e5, 4.5e6, 4e7},
			HighWater: PerWindow{81_000, 82_000, 86_000, 110_000},
		},
	}
}

// Callers are the options to count the different callers that a frontend denies
// something, each once until it was denied nothing for a while.
//
// A frontend that the world can reach has a trickle of scanners, and a role that was
// changed, an hourly schedule or an expired token of a large team bring some tens of
// identities at once. So there is no burst below ten, and while nothing is known it
// takes some twenty in five seconds, forty in a minute or eighty-odd in five.
// Trickles of that kind are within the budget of 0.01 a day with the default
// thresholds (TestCallers).
func Callers() Options {
	thresholds := DefaultThresholds()
	thresholds.Least = 10
	return Options{
		Words:      Words{Counted: Noun{"denied caller", "denied callers"}, Subject: Noun{"frontend", "frontends"}},
		Thresholds: thresholds,
		Prior: &Prior{
			Mean:      PerWindow{0.05, 0.1, 0.6, 3},
			Variance:  PerWindow{0.2, 0.5, 5, 40},
			HighWater: PerWindow{20, 25, 40, 80},
		},
	}
}

// Endpoints are the options to count requests of an identity at a class of endpoints:
// a key names both. A part of an identity's traffic is like the traffic of another
// identity, only less: the thresholds are the same, the prior is lower.
func Endpoints() Options {
	return Options{
		Words: Words{Where: "at this endpoint"},
		Prior: &Prior{
			Mean:      PerWindow{0.46, 1, 5.8, 34},
			Variance:  PerWindow{0.9, 2.8, 30, 480},
			HighWater: PerWindow{30, 43, 120, 330},
		},
	}
}

// Addresses are the options to count requests of a client's address: those of an
// identity, in other words. An address has one identity or, behind a NAT, many.
func Addresses() Options {
	return Options{Words: Words{Subject: Noun{"address", "addresses"}}}
}
