package logformat

import (
	"strings"
	"testing"
)

// benchLines are what the speed targets are measured on: the second one is the
// 525 bytes of httplog with eight identity fields that the targets are set for.
var benchLines = []struct {
	name, format, line string
}{
	{"httplog", httplog, `10.32.114.7:41022 [23/Nov/2026:11:10:03.499] fe_api~ be_app/app3 0/0/1/27/28 200 1722 - - ---- 112/87/31/4/0 0/0 {Mozilla/5.0 (X11; Linux)|v} {text/plain} "GET /api/v1/jobs/48211903317/artifacts?name=build HTTP/1.1"`},
	{"httplog+identity", httplog + ` %{+Q}[var(txn.sub)] %{+Q}[var(txn.iss)] %{+Q}[var(txn.jti)] %{+Q}[var(txn.role)] %{+Q}[var(txn.job)] %{+Q}[var(txn.sha)] %{+Q}[var(txn.decision)] %{+Q}[var(txn.reason)]`,
		`10.32.114.7:41022 [23/Nov/2026:11:10:03.499] fe_api~ be_app/app3 0/0/1/27/28 200 1722 - - ---- 112/87/31/4/0 0/0 "GET /api/v1/projects/acme/widgets/jobs/48211903317/artifacts?name=build-output&format=tar.gz&part=12345&retry=0 HTTP/1.1"` +
			` "repo:acme/widgets:ref:refs/heads/feature/checkout-flow:environment:staging" "https://token.actions.githubusercontent.com" "7f3c2f4e-9d0b-4c56-b4f2-0a1b2c3d4e5f" "deployer" "acme/widgets/.github/workflows/release.yml@refs/heads/main" "9fceb02d0ae598e95dc970b74767f19372d61af8" "allow" "ok"`},
	{"json", Haptrail, `{"v":1,"pid":10586,"rt":481220,"id":"0A207207:A03E_0A200001:01BB_6A06F1A3_1F90:295A","t":1795432203499,"ci":"10.32.114.7","cp":"41022","fe":"fe_api~","be":"be_app","srv":"app3"` +
		`,"TR":0,"Tw":0,"Tc":1,"Tr":27,"Ta":"28","st":200,"out":"1722","in":911,"ts":"----","conn":"112/87/31/4/0","q":"0/0"` +
		`,"m":"GET","dec":"allow","why":"ok","role":"deployer"` +
		`,"prov":"github","iss":"https:\/\/token.actions.githubusercontent.com","sub":"repo:acme\/widgets:ref:refs\/heads\/main","jti":"7f3c2f4e-9d0b-4c56-b4f2-0a1b2c3d4e5f","kid":"rsa-2026a","aud":"edge.example"` +
		`,"iat":"1795432100","exp":"1795432700","tenant":"acme","proj":"acme\/widgets","job":"release.yml","run":"48211903317","att":"1","ref":"refs\/heads\/main","sha":"9fceb02d0ae598e95dc970b74767f19372d61af8","actor":"octocat","runner":"gh-7","claim":"","host":"api.example.com","path":"\/api\/v1\/jobs\/48211903317","uri":"\/api\/v1\/jobs\/48211903317"}`},
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range benchLines {
		b.Run(bm.name, func(b *testing.B) {
			f, err := Compile(bm.format, Options{})
			if err != nil {
				b.Fatal(err)
			}
			line := []byte(bm.line)
			var rec Record
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if fault := f.Parse(line, &rec); fault.Reason != OK || rec.Truncated {
					b.Fatal(f.Describe(fault))
				}
			}
		})
	}
}

// BenchmarkParseHostile is what the worst line costs: every blank may end a
// value, so the search for a second reading runs to its bound.
func BenchmarkParseHostile(b *testing.B) {
	f, err := Compile(`%ci [%tr] %[var(txn.sub)] %[var(txn.role)] %[var(txn.job)] %ST`, Options{})
	if err != nil {
		b.Fatal(err)
	}
	line := []byte("10.0.0.1 [23/Nov/2026:11:10:03.499] " + strings.Repeat("x ", 500) + "y")
	var rec Record
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if fault := f.Parse(line, &rec); fault.Reason != Ambiguous {
			b.Fatal(f.Describe(fault))
		}
	}
}
