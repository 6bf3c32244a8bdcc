package ci

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"
)

// oddMoment is a time that a careless or hostile server may say: few milliseconds,
// several times within one, none, and such as no table keeps.
func oddMoment(random *rand.Rand) time.Time {
	switch random.IntN(12) {
	case 0:
		return time.Time{}
	case 1:
		return []time.Time{time.Unix(0, 0), time.UnixMilli(1), time.UnixMilli(-1), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC), time.UnixMilli(2)}[random.IntN(7)]
	}
	return time.UnixMilli(1_700_000_000_000 + random.Int64N(6)).Add(time.Duration(random.Int64N(3)) * 300 * time.Microsecond)
}

// oddText is one of few texts, in no character set.
func oddText(random *rand.Rand) string {
	return pick(random, "", "", "a", "b", "ab", "a\x00", "B", "ü", "\xff\xfe", `it's \ "`, "tab\tline\n", strings.Repeat("long ", 20))
}

// oddly fills each text and time of a fact, but for its names.
func oddly(random *rand.Rand, fact any, names ...string) {
	value := reflect.ValueOf(fact).Elem()
	for i := range value.NumField() {
		switch field := value.Field(i); {
		case slices.Contains(names, value.Type().Field(i).Name):
		case field.Kind() == reflect.String:
			field.SetString(oddText(random))
		case field.Type() == reflect.TypeFor[time.Time]():
			field.Set(reflect.ValueOf(oddMoment(random)))
		case field.Type() == reflect.TypeFor[Last[string]]():
			field.Set(reflect.ValueOf(anyLast(random, oddText(random), "x")))
		}
	}
}

func oddFact(random *rand.Rand) Fact {
	switch random.IntN(3) {
	case 0:
		run := Run{
			Provider: pick(random, "github", "space"), Project: pick(random, "p", "q"), ID: pick(random, "1", "2", "it's \\"), Attempt: uint32(random.IntN(2)),
			Status: Status(random.IntN(int(Succeeded) + 1)),
		}
		oddly(random, &run, "Provider", "Project", "ID")
		return Fact{Run: &run}
	case 1:
		commit := Commit{SHA: pick(random, "c0ffee", "beef"), Repository: pick(random, "shop", "docs")}
		oddly(random, &commit, "SHA", "Repository")
		return Fact{Commit: &commit}
	}
	principal := anyPrincipal(random)
	principal.Subject = pick(random, "app-1", "app-2")
	oddly(random, &principal, "Provider", "Subject")
	principal.Name.Said, principal.Rights.Said = oddMoment(random), oddMoment(random)
	if !principal.Name.Known {
		principal.Name = Last[string]{}
	}
	if !principal.Rights.Known {
		principal.Rights = Last[[]string]{}
	}
	for i := range principal.Credentials {
		oddly(random, &principal.Credentials[i], "ID", "Kind")
	}
	return Fact{Principal: &principal}
}
