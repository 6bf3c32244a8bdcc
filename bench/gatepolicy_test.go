package bench

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/haptrail/haptrail/edge/edgetest"
)

// gatePolicy has one issuer and, for each of its projects, a role and a grant:
// so many lines have the maps that are searched from the top.
func gatePolicy(log, jwks, algorithms string, projects int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
gate: {log: %q, node: bench, stick_size: 10k}
issuers:
- {name: hub, provider: github, issuer: "https://hub.test", jwks: %q, audiences: [gate.test], algorithms: [%s]}
roles:
`, log, jwks, algorithms)
	for i := range projects {
		fmt.Fprintf(&b, "- {name: deployer-%d, match: [{project: acme/%s, ref: refs/heads/main}], rate: 1000000000/10s}\n", i, projectName(i))
	}
	b.WriteString("grants:\n")
	for i := range projects {
		fmt.Fprintf(&b, "- {roles: [deployer-%d], methods: [GET, PUT], paths: [\"/artifacts/{project}/**\"]}\n", i)
	}
	b.WriteString("protect:\n  public:\n  - {paths: [/healthz, /assets/**]}\n")
	return b.String()
}

func projectName(i int) string { return fmt.Sprintf("payments-%04d", i) }

// identity is whose token a client sends.
type identity struct {
	project int
	client  int
	job     int // 0 unless the client's job changes
}

// claims are what GitHub Actions puts into a token.
func (id identity) claims() map[string]any {
	now := time.Now().Unix()
	project := projectName(id.project)
	workflow := fmt.Sprintf("acme/%s/.github/workflows/release-%d.yml@refs/heads/main", project, id.job)
	return map[string]any{
		"iss": "https://hub.test", "aud": "gate.test", "sub": "repo:acme/" + project + ":environment:production",
		"jti": fmt.Sprintf("f698e338-fb38-4cca-8496-a773c0f%05d", id.client), "iat": now, "nbf": now - 300, "exp": now + 3600,
		"repository": "acme/" + project, "repository_owner": "acme", "repository_id": "704316241", "repository_owner_id": "15023311",
		"repository_visibility": "private", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
		"sha": "6720c750091939ac8e983bc25bdbe36509a7d3b5", "workflow_sha": "6720c750091939ac8e983bc25bdbe36509a7d3b5",
		"job_workflow_sha": "6720c750091939ac8e983bc25bdbe36509a7d3b5", "workflow": "release", "workflow_ref": workflow,
		"job_workflow_ref": workflow, "event_name": "push", "environment": "production", "head_ref": "", "base_ref": "",
		"run_id": fmt.Sprint(9_123_456_700 + id.client), "run_number": "118", "run_attempt": "1", "runner_environment": "self-hosted",
		"actor": "kim-builds", "actor_id": "24963667",
	}
}

// gateSigners are the issuer's keys, by what the benchmark calls them. PS256 is
// not for HAProxy 2.6.
func gateSigners(b *testing.B, ps bool) map[string]edgetest.Signer {
	b.Helper()
	large, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		b.Fatal(err)
	}
	signers := map[string]edgetest.Signer{
		"RS256":      edgetest.NewSigner(b, "rs256", jose.RS256, 0),
		"RS256-3072": {KID: "rs256-3072", Algorithm: jose.RS256, Private: large},
		"ES256":      edgetest.NewSigner(b, "es256", jose.ES256, 0),
	}
	if ps {
		signers["PS256"] = edgetest.NewSigner(b, "ps256", jose.PS256, 1)
	}
	return signers
}

// unsigned is a token in all but its signature.
func unsigned(b *testing.B, kid string, claims map[string]any) string {
	return edgetest.Forge(b, map[string]any{"alg": "ES256", "typ": "JWT", "kid": kid}, claims,
		func(string) []byte { return make([]byte, 64) })
}

// bearers are requests that send each client's tokens by turns, for one of so
// many paths below place.
func bearers(tokens [][]string, place string, paths int) requester {
	return func(dst []byte, client, n int) []byte {
		mine := tokens[client]
		return appendBearer(dst, fmt.Sprintf("%s/app-%d.jar", place, (n*clients+client)%paths), mine[n%len(mine)])
	}
}

func appendBearer(dst []byte, path, token string) []byte {
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: artifacts.example.com\r\nUser-Agent: gradle/8.5.0\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
}

// everNewJobs sends a job that HAProxy has not seen with every request, in tokens
// that only a gate without the signature's check lets through.
func everNewJobs(b *testing.B, kid string, project int) requester {
	token := unsigned(b, kid, identity{project: project, job: 10_000_000}.claims())
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || !json.Valid(claims) {
		b.Fatal("the token made here is none: ", err)
	}
	path := place(project) + "/app.jar"
	return func(dst []byte, client, n int) []byte {
		job := fmt.Sprint(10_000_000 + n*clients + client)
		fresh := strings.ReplaceAll(string(claims), "10000000", job)
		return appendBearer(dst, path, header+"."+base64.RawURLEncoding.EncodeToString([]byte(fresh))+"."+signature)
	}
}
