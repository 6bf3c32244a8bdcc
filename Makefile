# make demo   the whole thing on this machine, after installing what is missing
# make test   all tests, likewise
# make build  bin/haptrail
# Both install the embedded engine by npm (pinned) and, where apt may be used,
# HAProxy, Alertmanager and a C compiler (for the race detector) from Debian.

.PHONY: demo test build engine haproxy alertmanager lint fuzz bench clean

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
ENGINE  := schema/embedded/node_modules/.package-lock.json

demo: build engine haproxy alertmanager
	@bin/haptrail demo $(ARGS)

build:
	@$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/haptrail ./cmd/haptrail

test: engine haproxy alertmanager
	@deploy/need gcc gcc optional
	@if command -v gcc >/dev/null; then race=-race; else echo 'no C compiler: testing without the race detector'; fi; \
	set -x; $(GO) test $$race -timeout 15m $(ARGS) ./...

engine: $(ENGINE)
$(ENGINE): schema/embedded/package.json schema/embedded/package-lock.json
	@echo 'installing the embedded engine (about 180 MB, once)'
	@npm ci --prefix schema/embedded --no-audit --no-fund --loglevel=error
	@touch $@

haproxy:
	@deploy/need haproxy haproxy

# Without it the demo tells nobody of bursts, and some tests are skipped.
alertmanager:
	@command -v alertmanager >/dev/null || deploy/need prometheus-alertmanager prometheus-alertmanager optional

# Tools of their own modules, at pinned versions.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

lint:
	@unformatted=$$(gofmt -l analyze cmd edge ingest internal report runtimeapi schema/*.go schema/embedded/*.go schema/schematest deploy bench); \
	test -z "$$unformatted" || { echo "error: gofmt these files: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./analyze/... ./edge/... ./ingest/... ./report/... ./runtimeapi/... ./schema/...
	$(GO) run $(STATICCHECK) ./...
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
	case "$$out" in \
	*'fetching vulnerabilities'*|*'no such host'*|*'dial tcp'*|*'lookup vuln'*|*Forbidden*|*'connection refused'*) echo 'govulncheck: skipped, its database is out of reach';; \
	*) echo "$$out"; exit $$code;; esac

# Each fuzz target for a short while; longer: make fuzz FUZZTIME=10m
# Go's fuzzer at times reports the end of that time itself as a failure, without an
# input that failed: that is none. And it shortens each input that leads to new code for
# up to a minute, by default, in which it tries no others.
FUZZTIME ?= 10s
fuzz:
	@for pkg in $$($(GO) list ./analyze/... ./edge/... ./ingest/... ./internal/... ./report/... ./runtimeapi/... ./schema/... ./cmd/...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			out=$$($(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$pkg 2>&1); code=$$?; echo "$$out"; \
			case "$$code $$out" in \
			'0 '*) ;; \
			*'Failing input written'*) exit 1;; \
			*'context deadline exceeded'*) echo 'out of time: no failure';; \
			*) exit 1;; \
			esac; \
		done; \
	done

bench: build engine
	@bench/run $(ARGS)

clean:
	rm -rf bin schema/embedded/node_modules
