package poll

import (
	"testing"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// TestPace: figures of the facts, and what they must lead to.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	rate := runtimeapi.Column{Name: "http_req_rate", Kind: runtimeapi.Rate, Period: 10 * time.Second}
	for name, tc := range map[string]struct {
		column   runtimeapi.Column
		took     time.Duration // the full dump
		used     int
		filtered time.Duration // a filtered one, if there was one
		matched  int
		later    time.Duration // since the full dump
		want     plan
		filter   bool
	}{
		"small":                       {rate, 2 * ms, 1000, 0, 0, 0, plan{wait: 2 * time.Second}, false},
		"100,000, in budget":          {rate, 210 * ms, 100_000, 0, 0, 0, plan{wait: 2 * time.Second}, false},
		"slow machine, filter":        {rate, 600 * ms, 90_000, 0, 0, 0, plan{wait: 2 * time.Second}, true},
		"slow machine, no rate":       {runtimeapi.Column{}, 600 * ms, 90_000, 0, 0, 0, plan{wait: 3 * time.Second}, false},
		"a filter would stall":        {rate, 600 * ms, 394_900, 0, 0, 0, plan{wait: 3 * time.Second}, false},
		"a million":                   {rate, 3600 * ms, 1_111_685, 0, 0, 0, plan{wait: 18 * time.Second}, false},
		"beyond the longest interval": {rate, 15 * time.Second, 4_000_000, 0, 0, 0, plan{wait: time.Minute, over: true}, false},
		"the filter goes on":          {rate, 600 * ms, 90_000, 11 * ms, 10, 2 * time.Second, plan{wait: 2 * time.Second}, true},
		"the search was measured":     {rate, 600 * ms, 200_000, 30 * ms, 10, 2 * time.Second, plan{wait: 2 * time.Second}, true},
		"most keys are active":        {rate, 600 * ms, 90_000, 550 * ms, 89_000, 2 * time.Second, plan{wait: 3 * time.Second}, false},
		"a full one is due":           {rate, 600 * ms, 90_000, 11 * ms, 10, time.Minute, plan{wait: 3 * time.Second}, false},
		"the rate forgets too fast":   {runtimeapi.Column{Name: "http_req_rate", Kind: runtimeapi.Rate, Period: 4 * time.Second}, 600 * ms, 90_000, 0, 0, 0, plan{wait: 3 * time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := pace{interval: 2 * time.Second, max: time.Minute, budget: 0.2, stall: 50 * ms}
			p.learn([]runtimeapi.Column{{Name: "gpc0_rate", Kind: runtimeapi.Rate, Period: time.Hour}, {Name: "http_req_rate"}, tc.column})
			start := time.Hour
			p.measured(start, tc.took, false, tc.used, tc.used)
			if tc.filtered > 0 {
				p.measured(start+tc.later, tc.filtered, true, tc.used, tc.matched)
			}
			have := p.next(start+tc.later, tc.used)
			if have.wait != tc.want.wait || have.over != tc.want.over || (len(have.filter.Where) > 0) != tc.filter {
				t.Errorf("%+v, want %+v, filter %t", have, tc.want, tc.filter)
			}
			if tc.filter && have.filter.Where[0] != (runtimeapi.Condition{Data: "http_req_rate", Op: runtimeapi.Greater}) {
				t.Errorf("%+v", have.filter)
			}
			p.refused = true
			if have := p.next(start+tc.later, tc.used); len(have.filter.Where) > 0 {
				t.Errorf("a filter that HAProxy refused: %+v", have)
			}
		})
	}
}

// TestPaceFollows: a table that shrinks is polled at its interval again, and a failure
// that cost much is not repeated at once.
func TestPaceFollows(t *testing.T) {
	p := pace{interval: 2 * time.Second, max: time.Minute, budget: 0.2, stall: time.Millisecond}
	if have := p.next(0, 5); have.wait != 2*time.Second {
		t.Errorf("before the first dump: %+v", have)
	}
	p.measured(0, 3*time.Second, false, 1_000_000, 1_000_000)
	if have := p.next(0, 1_000_000); have.wait != 15*time.Second {
		t.Errorf("large: %+v", have)
	}
	if have := p.next(0, 1000); have.wait != 2*time.Second {
		t.Errorf("cleared: %+v", have)
	}
	for took, want := range map[time.Duration]time.Duration{0: 2 * time.Second, time.Second: 5 * time.Second, time.Hour: time.Minute} {
		if have := p.failed(took); have.wait != want || len(have.filter.Where) > 0 {
			t.Errorf("failed after %v: %+v", took, have)
		}
	}
}
