package demo

import (
	"cmp"
	"time"
)

// change is a commit of the cast; its time is told as an age.
type change struct {
	sha, repository        string
	author, email          string
	age                    time.Duration // before the demo began
	subject, signature, by string        // signature: verified, unverified or none; by: committer, where it is not the author
}

// history is the commits that the cast works on, by the name that cast uses.
var history = map[string]change{
	"retry-budget": {sha: "3f9c1d7a5be04c62a8f1e0d94b7732c5d6018eaf", repository: "payments-api", author: "Mira Aalto", email: "mira.aalto@example.com",
		age: 22 * time.Minute, subject: "Raise the retry budget for card captures", signature: "verified"},
	"capture-timeout": {sha: "b07d4e21c9935af86e1142dd0c5a8f3b97e6240d", repository: "payments-api", author: "Jonas Weber", email: "jonas.weber@example.com",
		age: 18 * time.Minute, subject: "Hotfix: wait longer for a capture", signature: "none"},
	"status-feed": {sha: "5a1e88f3d2474b0c9be6a7715cf20d43e8b9f610", repository: "status-page", author: "Priya Nair", email: "priya.nair@example.com",
		age: 55 * time.Minute, subject: "Show the payment provider's feed", signature: "verified"},
	"state-bucket": {sha: "c4427fe0b81d493da6c7f25e90137bd86aa54e1b", repository: "platform/infra", author: "Tomas Silva", email: "tomas.silva@example.com",
		age: 40 * time.Minute, subject: "Rotate the key of the state bucket", signature: "verified"},
	"warm-cache": {sha: "e81b6093aa7c4d15b2f0c83d5e6947f1207dab3c", repository: "platform/load-test", author: "Priya Nair", email: "priya.nair@example.com",
		age: 26 * time.Hour, subject: "Warm up the package cache before measuring", signature: "unverified"},
	"invoice-split": {sha: "970a2cbd4f3e4871955d6e1c8b02fa7d3461ec58", repository: "billing", author: "Jonas Weber", email: "jonas.weber@example.com",
		age: 90 * time.Minute, subject: "Split invoices by legal entity", signature: "verified"},
	"shop-4.2.0": {sha: "1d6be5f7083c4a92bb71c4e0f95a2d8367be90c4", repository: "acme/web-shop", author: "Sofia Lindqvist", email: "sofia.lindqvist@example.com",
		age: 12 * time.Minute, subject: "Release 4.2.0", signature: "verified"},
	"new-checkout": {sha: "84f2d0a96b1743ce8d05e7b3c2fa416590de7b2a", repository: "acme/web-shop", author: "kd-contrib", email: "kd-contrib@example.test", by: "GitHub",
		age: 9 * time.Minute, subject: "Try out the new checkout", signature: "none"},
	"spike": {sha: "62c73ab0ef914d58a3069bd17c5e82f4d10b6e97", repository: "acme/experiments", author: "Ravi Patel", email: "ravi.patel@example.com",
		age: 5 * time.Hour, subject: "Spike: cache artifacts at the edge", signature: "unverified"},
	"offline-cart": {sha: "d95e04b71ac846f3b27df60e138ca95b4f7e21d3", repository: "mobile/shopping-app", author: "Hana Suzuki", email: "hana.suzuki@example.com",
		age: 31 * time.Minute, subject: "Keep the cart while offline", signature: "verified"},
	"signing-poc": {sha: "2bb8f6c05d7e4193a16c0ae4f38d7259b0e4cd16", repository: "mobile/shopping-app", author: "Emil Novak", email: "emil.novak@example.com",
		age: 17 * time.Minute, subject: "WIP: sign the beta build locally", signature: "none"},
	"nightly": {sha: "a03e57dc98b24f6da9c1d8073b5fe4261c7d80be", repository: "mobile/shopping-app", author: "Hana Suzuki", email: "hana.suzuki@example.com",
		age: 20 * time.Hour, subject: "Cut the start-up time by half", signature: "verified"},
}

// committer is who committed it.
func (c change) committer() string { return cmp.Or(c.by, c.author) }
