package attribute

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func attributionPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "attribution.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGradesPage: docs/attribution.md explains each grade, the surest first, and
// the slack that is the default.
func TestGradesPage(t *testing.T) {
	page := attributionPage(t)
	_, rest, _ := strings.Cut(page, "<!-- grades -->\n")
	table, _, ok := strings.Cut(rest, "<!-- end -->")
	if !ok {
		t.Fatal("the page lacks <!-- grades --> ... <!-- end -->")
	}
	var have, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
		have = append(have, m[1])
	}
	for g := Proven; g > None; g-- {
		want = append(want, g.String())
	}
	if want = append(want, None.String()); !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
	if DefaultSlack != 5*time.Minute || !strings.Contains(page, "`ci.slack`, 5m") {
		t.Errorf("the page says another slack than %s", DefaultSlack)
	}
	if maxCandidates != 10 || !strings.Contains(page, "`candidates` names up to ten") {
		t.Errorf("the page says another number of candidates than %d", maxCandidates)
	}
}

// The cases that docs/attribution.md tells in words have the grades that it says.
func TestCasesOfPage(t *testing.T) {
	begin := time.Date(2026, 11, 23, 19, 32, 10, 0, time.UTC)
	at := begin.Add(3 * time.Second)
	run := func(project, id, principal string) Run {
		return Run{Provider: "space", Project: project, ID: id, Principal: principal, Started: begin, Finished: begin.Add(5 * time.Second)}
	}
	use := func(header string) Use {
		return Use{Provider: "space", Subject: "payments-api-automation", Project: "payments-api", ClaimedRun: header, First: at, Last: at}
	}
	signed := Use{Provider: "teamcity", Subject: "bt61", Project: "Payments", Run: "48219", Commit: "c0ffee", First: at, Last: at}
	build := Run{Provider: "teamcity", Project: "Payments", ID: "48219", Agent: "linux-agent-05", Started: begin, Finished: begin.Add(time.Second)}
	ours, other, others := run("payments-api", "2bQWk1XYZ9dE", "payments-api-automation"), run("payments-api", "2bR", "payments-api-automation"),
		run("payments-deploy", "2bQX", "payments-deploy-automation")
	elsewhere := build
	elsewhere.Project = "Billing"
	late := signed
	late.First, late.Last = at.Add(time.Hour), at.Add(time.Hour)
	lateHeader := use("2bQWk1XYZ9dE")
	lateHeader.First, lateHeader.Last = late.First, late.Last
	for name, c := range map[string]struct {
		use    Use
		runs   []Run
		want   Grade
		denied bool
	}{
		"a signed claim":                          {signed, []Run{build}, Proven, false},
		"a signed claim, the server is down":      {signed, nil, Proven, false},
		"a signed claim, long after its run":      {late, []Run{build}, Proven, false},
		"a signed claim that the record denies":   {signed, []Run{elsewhere}, Proven, true},
		"a header":                                {use("2bQWk1XYZ9dE"), []Run{ours, other}, Corroborated, false},
		"the only run":                            {use(""), []Run{ours}, Inferred, false},
		"two at once":                             {use(""), []Run{ours, other}, Ambiguous, false},
		"another project's header":                {use("2bQX"), []Run{ours, others}, Inferred, true},
		"a header that nobody has told of":        {use("2bZZ"), []Run{ours}, Inferred, false},
		"a header that was not going on":          {lateHeader, []Run{ours}, None, true},
		"by hand at night":                        {use(""), nil, None, false},
		"nobody who is verified, beside a header": {Use{ClaimedRun: "2bQX", First: at, Last: at}, []Run{others}, None, false},
	} {
		v := Attribute(c.use, c.runs, Options{})[0]
		if v.Grade != c.want || (v.Contradiction != "") != c.denied || v.Why == "" {
			t.Errorf("%s: have %s, contradiction %q, why %q; want %s, contradicted %t", name, v.Grade, v.Contradiction, v.Why, c.want, c.denied)
		}
		if named := v.Grade > Ambiguous; named != (v.Run != "") {
			t.Errorf("%s: %s with the run %q", name, v.Grade, v.Run)
		}
	}

	// The sentence that the page shows is what is said of such a request.
	quote := strings.Join(strings.Fields(strings.ReplaceAll(attributionPage(t), "\n>", "\n")), " ")
	if why := Attribute(use("2bQWk1XYZ9dE"), []Run{ours}, Options{})[0].Why; !strings.Contains(quote, "Attribution: corroborated: "+why+".") {
		t.Errorf("the page's sentence does not say %q", why)
	}
}
