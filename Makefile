# Understudy. The two commands to know: make demo, make test.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/understudy-dr/understudy/worker/commands.Version=$(VERSION)

.PHONY: help build demo test test-vm test-moto test-client check bench histories docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/understudy
	@tests/build.sh bin/understudy "$(LDFLAGS)"

demo: ## a speech service dies and comes back, on this machine, with real parts
	@tests/demo.sh

test: ## every test, on real parts; installs what it needs
	@tests/test.sh

test-vm: ## machines of kind libvirt boot under QEMU; root, some minutes
	@tests/vm.sh

test-moto: ## what the EC2 provider sends, as moto understands it; needs Python 3
	@tests/moto.sh

test-client: ## lint the API's document, and use it by a generated client; needs Python 3 and npm
	@tests/client.sh

check: ## gofmt, vet, workflowcheck, house rules
	@tests/check.sh

bench: ## the table of figures, beside bare loops and peers
	@tests/bench.sh

histories: ## record the workflow histories that replay tests use
	@tests/histories.sh

docs: ## write the reference pages anew from the types
	$(GO) run . schema --reference > docs/runbook-reference.md
	$(GO) run . schema --reference --site > docs/site-reference.md

clean: ## remove what was built
	rm -rf bin
