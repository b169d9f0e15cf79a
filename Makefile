# Stark's make targets. `make` alone lists them.
#
# Nothing needs to be installed by hand beyond Go, Node.js and npm: tools are
# built once into the user's cache folder, Postgres is found or fetched.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULE  := github.com/stark-orchestrator/stark
MODULES := shared core supabase server agent cli tests
TOOLS   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stark/bin
# Relative, as every path here: the folder's own name may have a space or a quote in it.
OUT     := bin

GOLANGCI_VERSION  := v2.15.0
GOTESTSUM_VERSION := v1.13.0
GOLANGCI  := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
GOTESTSUM := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X $(MODULE)/cli.Version=$(VERSION) -X main.version=$(VERSION)

# The race detector needs cgo and a C compiler; without one the tests run plain.
RACE := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && [ "$$(go env GOARCH)" != 386 ] && echo -race)

# Arguments for `make dev` and `make test`, e.g. make dev ARGS=./my-pack
ARGS ?=
PKGS ?= $(addprefix ./,$(addsuffix /...,$(MODULES)))

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The page of tabs is embedded in the server, so it comes first.
.PHONY: tab
tab: ## build the page that makes a browser tab a node into server/tab/dist
	@go run -trimpath ./agent/browser/build -out server/tab/dist -version '$(VERSION)'

.PHONY: build
build: tab ## build bin/stark and bin/stark-server
	@mkdir -p $(OUT)
	@[ -x $(OUT)/stark ] || echo "building bin/stark (the first time takes about two minutes)"
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT)/ ./cli/cmd/stark ./server/cmd/stark-server

.PHONY: dev
dev: build ## run the embedded stack, a server and a node; ARGS=./folder deploys that pack
	@exec $(OUT)/stark dev $(ARGS)

.PHONY: test
test: tab $(GOTESTSUM) ## run all tests on a real Postgres and real Node.js, and print the coverage
	@.ci/test "$(GOTESTSUM)" "$(RACE)" $(PKGS)

.PHONY: test-containers
test-containers: ## run the contract and integration tests on Supabase's own images, or on the Supabase that STARK_TEST_SUPABASE_URL names
	@go test -count=1 -tags containers -v ./tests/project
	@go test -count=1 -p 1 -tags containers -timeout 30m ./tests/contract/... ./tests/integration/...

.PHONY: check
check: fmt-check lint vet wasm platforms borders tidy-check ## format, lint, vet, builds for other platforms, module borders, tidy modules

.PHONY: fmt
fmt: $(GOLANGCI) ## format all Go code
	@for m in $(MODULES); do (cd $$m && $(GOLANGCI) fmt --config ../.golangci.yml ./...); done

.PHONY: fmt-check
fmt-check: $(GOLANGCI)
	@echo "format"
	@for m in $(MODULES); do (cd $$m && $(GOLANGCI) fmt --diff --config ../.golangci.yml ./...); done

.PHONY: lint
lint: $(GOLANGCI)
	@echo "lint"
	@for m in $(MODULES); do (cd $$m && $(GOLANGCI) run --config ../.golangci.yml ./...); done
	@cd agent && GOOS=js GOARCH=wasm $(GOLANGCI) run --config ../.golangci.yml ./browser/...

.PHONY: vet
vet:
	@echo "vet"
	@go vet work

# What the tab's agent is made of must build for the browser.
.PHONY: wasm
wasm:
	@echo "js/wasm build"
	@GOOS=js GOARCH=wasm go build ./shared/... ./core/... ./agent ./agent/executor/... ./agent/browser/...

# The CLI must build where it cannot run packs, too.
.PHONY: platforms
platforms:
	@for os in darwin windows; do echo "$$os build"; GOOS=$$os go build -o /dev/null ./cli/cmd/stark; done

.PHONY: borders
borders:
	@.ci/borders $(MODULE)

.PHONY: tidy
tidy: ## go mod tidy in every module
	@for m in $(MODULES); do (cd $$m && go mod tidy); done

.PHONY: tidy-check
tidy-check:
	@echo "tidy"
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff); done

.PHONY: rights
rights: ## print docs/rights.md anew from the table of rights
	@go run ./tests/cmd/rights >docs/rights.md.new && mv docs/rights.md.new docs/rights.md

.PHONY: types
types: ## generate supabase/database.types.ts anew from the migrations
	@go test ./tests/contract/supabase-cli -count=1 -run TestTheTypesAreFresh -update

# How long, which faults, and on how much: make chaos DURATION=30m SEED=7 AGENTS=20 PODS=300
DURATION ?= 10m
SEED     ?= 1
SERVERS  ?= 2
AGENTS   ?= 8
PODS     ?= 60

.PHONY: chaos
chaos: ## throw faults of all kinds at a cluster and count what was started; DURATION, SEED, SERVERS, AGENTS, PODS
	@go test ./tests/fault -count=1 -run 'TestChaos|TestACable' -v -timeout 0 -long -chaos.duration=$(DURATION) \
		-chaos.seed=$(SEED) -chaos.servers=$(SERVERS) -chaos.agents=$(AGENTS) -chaos.pods=$(PODS)

.PHONY: soak
soak: build ## let pods of simulated agents come and go, and fail when memory, files or tables grow; DURATION, ARGS='-agents 1000 -pods 200'
	@go run ./tests/cmd/soak -stark "$$PWD/$(OUT)/stark" -duration $(DURATION) $(ARGS)

.PHONY: cluster
cluster: build ## run two servers behind a balancer and five nodes; SERVERS, NODES; Ctrl-C ends all
	@exec go run ./tests/cmd/cluster -stark "$$PWD/$(OUT)/stark" -servers $(SERVERS) -nodes $(or $(NODES),5)

.PHONY: bench
bench: build ## measure the rows of docs/bench.md in some four minutes; writes tests/bench/out/latest.json
	@go run ./tests/bench $(ARGS)

.PHONY: bench-full
bench-full: build ## measure with more samples, and also what takes long, such as 10,000 agents on one server (ulimit -n 12000)
	@go run ./tests/bench -full $(ARGS)

.PHONY: bench-peers
bench-peers: build ## measure PM2 and Kubernetes beside Stark in one run; fetches and builds them once; writes tests/bench/out/peers.json
	@go run ./tests/bench -peers $(ARGS)

.PHONY: bench-compare
bench-compare: ## measure BASE=<rev> and this tree one after the other and print ratios; ARGS='-rounds 3 -only stop'
	@go run ./tests/cmd/benchcompare -base '$(BASE)' $(ARGS)

.PHONY: clean
clean: ## remove what the build and the tests left in this folder
	@rm -rf $(OUT) coverage*.out tests/bench/out
	@find server/tab/dist -type f ! -name README.md -delete

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) into $(TOOLS) (once, about 2 minutes)"
	@mkdir -p $(TOOLS)/.build && cd $(TOOLS) && GOWORK=off GOBIN=$(TOOLS)/.build go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) 2>&1 | { grep -v '^go: downloading' || true; }
	@mv $(TOOLS)/.build/golangci-lint $@

$(GOTESTSUM):
	@mkdir -p $(TOOLS)/.build && cd $(TOOLS) && GOWORK=off GOBIN=$(TOOLS)/.build go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION) 2>&1 | { grep -v '^go: downloading' || true; }
	@mv $(TOOLS)/.build/gotestsum $@
