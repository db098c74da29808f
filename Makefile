# Bare `make` lists the targets.

GO        ?= go
FUZZTIME  ?= 20s
BENCH     ?= .
BENCHTIME ?= 1s
# Names the results of `make bench`: the kind of machine, never its host name.
MACHINE   ?= $(shell uname -m)-$(shell getconf _NPROCESSORS_ONLN)cpu

# Only the race detector needs a C compiler.
race := $(if $(RACE),-race)
export CGO_ENABLED ?= $(if $(RACE),1,0)

lint_version := 2.15.0
lint_module  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
lint_program := bin/golangci-lint-$(lint_version)

.DEFAULT_GOAL := help
.PHONY: help demo test test-kafka bench fuzz lint build

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: build ## run the main job on an embedded broker: what is lost and doubled, and by whom
	bin/firstseen demo

test: ## run the tests; RACE=1 adds the race detector, which needs a C compiler
	$(GO) test $(race) -timeout 20m ./...

test-kafka: ## run the tests against a real Kafka; needs a JDK and Maven
	internal/kafkatest/test.sh $(race)

bench: ## run the benchmarks of bench/ into bench/results/; BENCH=regexp BENCHTIME=1s MACHINE=name
	@mkdir -p bench/results
	@f=bench/results/$$(date -u +%F)-$(MACHINE).txt; echo "results: $$f"; \
	bash -o pipefail -c '"$$@" | tee "$$0"' "$$f" \
	  $(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 0 ./bench/...

fuzz: ## run every fuzz target of every package, two side by side, FUZZTIME=20s each
	fuzz/run.sh $(FUZZTIME)

lint: $(lint_program) ## run the linters, and vet on the tests that need a real Kafka, and for a Mac
	$(lint_program) run ./...
	$(GO) vet -tags kafka ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) vet ./...

build: ## build bin/firstseen
	CGO_ENABLED=0 $(GO) build -o bin/firstseen ./cmd/firstseen

# One of the right version on the PATH will do; otherwise it is built here.
$(lint_program):
	@mkdir -p bin
	@if golangci-lint version 2>/dev/null | grep -qF ' $(lint_version) '; then \
	  ln -sf "$$(command -v golangci-lint)" $@; \
	else \
	  GOBIN=$(CURDIR)/bin $(GO) install $(lint_module)@v$(lint_version) && mv bin/golangci-lint $@; \
	fi
