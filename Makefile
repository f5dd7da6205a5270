# Continuous integration and people run the same targets.
.DEFAULT_GOAL := help
.PHONY: help run build clients examples test-deps test test-all fuzz chaos bench release licences check generate vulncheck screenshots

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
PROGRAMS    := api worker scheduler postrider

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: bin/postrider ## build and start everything in one process; needs nothing but Go
	exec bin/postrider dev

build: $(PROGRAMS:%=bin/%) ## leave bin/api bin/worker bin/scheduler bin/postrider

# Go knows better than make what has changed.
.PHONY: $(PROGRAMS:%=bin/%)
$(PROGRAMS:%=bin/%): bin/%:
	CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/$*

# Where POSTRIDER_WEB_DIR is by default.
WEB := web

# npm writes .package-lock.json last.
%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

clients: clients/js/node_modules/.package-lock.json ## put the browser's clients where the api serves them from (npm)
	@mkdir -p $(WEB)/socket.io $(WEB)/clients/js
	@for file in socket.io.js socket.io.min.js socket.io.esm.min.js; do \
		cp clients/js/node_modules/socket.io-client/dist/$$file clients/js/node_modules/socket.io-client/dist/$$file.map $(WEB)/socket.io/ || exit 1; \
	done
	@cp clients/js/*.js clients/js/*.d.ts $(WEB)/clients/js/
	@echo "$(WEB)/socket.io and $(WEB)/clients are built"

examples: clients examples/chat/node_modules/.package-lock.json ## build the examples, which make run serves at /examples/ (npm)
	@mkdir -p $(WEB)/examples
	@rm -rf $(WEB)/examples/notifications
	@cp -r examples/index.html examples/notifications $(WEB)/examples/
	@cd examples/chat && npm run --silent build -- --logLevel warn --outDir ../../$(WEB)/examples/chat
	@echo "$(WEB)/examples is built"

test-deps: ## install what the tests need and the machine lacks (Debian)
	@.ci/deps

# SQLite is a C program turned into Go: the race detector slows it forty times
# and has nothing to find in it. Our own code stays instrumented.
TEST := go test -race -gcflags='modernc.org/...=-race=false' -shuffle=on

test: test-deps ## run the tests; minutes on two cores
	$(TEST) -timeout 15m ./...

test-all: test-deps ## run the full matrix; takes long
	POSTRIDER_TEST_ALL=1 $(TEST) -timeout 2h ./...
	cd deploy/charttest && POSTRIDER_TEST_ALL=1 go test -timeout 30m ./...
	@$(MAKE) --no-print-directory fuzz

fuzz: ## try bad input by machine, 10 s each target (FUZZ=1m for longer)
	@.ci/fuzz $(or $(FUZZ),10s)

chaos: test-deps ## kill every part under load, about eight minutes, and print what came of it
	POSTRIDER_TEST_ALL=1 go test -count=1 -v -timeout 30m -run '^TestChaos$$' ./internal/chaos

bench: ## measure against peers; takes long (BENCH='-list' shows what there is)
	cd bench && go run . $(BENCH)

screenshots: ## take the pictures of docs/images anew, of the product at work
	go test -count=1 -run '^TestScreenshots$$' ./internal/app -screenshots '$(CURDIR)/docs/images'

release: ## make archives of all programs for Linux and macOS in dist/ (VERSION=v1.2.3)
	go run ./deploy/release -version '$(VERSION)'

licences: ## list what the programs contain and under which terms; fails where some are not allowed
	@go run ./deploy/release -licences

generate: ## write the generated files anew
	go generate ./...

check: ## gofmt, vet, staticcheck, tidy go.mod, current generated files, known vulnerabilities
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
		if [ -n "$$files" ]; then echo "gofmt is needed for:"; echo "$$files"; exit 1; fi
	go vet ./...
	cd bench && go vet ./...
	cd deploy/charttest && go vet ./...
	go run $(STATICCHECK) ./...
	go mod tidy -diff
	@before=$$(git diff; git status --porcelain); \
		go generate ./... || exit 1; \
		after=$$(git diff; git status --porcelain); \
		if [ "$$before" != "$$after" ]; then echo "generated files were out of date; commit what make generate wrote:"; git status --short; exit 1; fi
	@$(MAKE) --no-print-directory vulncheck

vulncheck: ## look the dependencies up in Go's vulnerability database
	@out=$$(go run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
		case "$$out" in \
		*"fetching vulnerabilities"*) echo "vulncheck: Go's vulnerability database cannot be reached from here; not looked up" ;; \
		*) echo "$$out"; exit $$code ;; \
		esac
