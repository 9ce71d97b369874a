# `make` lists the targets. All targets build from package registries; no program has to run before.
.DEFAULT_GOAL := help
.PHONY: help build image image-test demo unit it test check docs gateways contract-aws kubernetes e2e soak bench generate release-dry-run
SHELL := /bin/bash
CHART := charts/client-certificate-operator
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# The text contains no comma, because a comma would end the argument.
say = @printf '\n==> %s\n' $(1)

help: ## List the targets
	@echo "client-certificate-operator: API Gateway client certificates as Kubernetes Secrets and ConfigMaps"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

build: ## Build the optimised operator into target/release
	@tests/prerequisites rust
	$(call say,"building the operator with optimisation: about 4 minutes on 2 cores the first time")
	cargo build --locked --release

image: ## Build the image as an archive, target/image/client-certificate-operator.tar, without a container engine
	@tests/prerequisites rust
	@deploy/build-image

image-test: image ## Start the operator from the image's files only: test name resolution and certificate authorities
	@tests/prerequisites rust go
	$(call say,"testing the image: some seconds once everything is built")
	@tests/image/run

release-dry-run: ## Make the files of a release in target/release-<version>/, publish nothing; TAG=v<version> fails if there is an obstacle
	@tests/prerequisites rust helm
	@deploy/release $(if $(TAG),--tag $(TAG))

demo: ## Run the demo on a real control plane, step by step; KEEP=1 leaves everything running
	@env -u KEEP tests/run-demo $(if $(KEEP),--keep)

unit: ## Check the format and run the unit tests: the inner loop
	@tests/prerequisites rust
	cargo fmt --all --check
	cargo test --locked --lib

it: ## Run the integration tests whose names contain TEST, for example `make it TEST=targets::kept`
	@tests/prerequisites rust go openssl
	@[ -n "$(TEST)" ] || { echo 'name tests: make it TEST=targets::kept' >&2; exit 2; }
	$(call say,"building the Kubernetes programs if missing: about 5 minutes on 2 cores the first time")
	tests/kubernetes/build >/dev/null
	cargo test --locked --test it -- $(TEST)

GATEWAYS := contour envoy-gateway f5-nginx ingress-nginx istio traefik
# These gateways take longer to build than the others: `make gateways` tests them, `make test` does not.
LARGE_GATEWAYS := istio
gateway_tests = gateways::$(subst -,_,$(1))::

test: ## Run every test, on a real control plane, except the tests of large gateways
	@tests/prerequisites rust go helm openssl nginx haproxy java pip
	$(call say,"building the Kubernetes programs if missing: about 5 minutes on 2 cores the first time")
	tests/kubernetes/build >/dev/null
	$(call say,"building Helm and promtool and smaller tools if missing: about 12 minutes on 2 cores the first time")
	tests/tools/build helm helm3 promtool kstatus actionlint crane dockerfile >/dev/null
	$(call say,"building Envoy and the test servers in Go and Java if missing: half a minute the first time")
	tests/servers/build envoy go java >/dev/null
	$(call say,"building the gateways if missing: about 11 minutes on 2 cores the first time")
	tests/gateways/build $(filter-out $(LARGE_GATEWAYS),$(GATEWAYS)) >/dev/null
	$(call say,"building cert-manager if missing: about 2 minutes on 2 cores the first time")
	tests/cert-manager/build >/dev/null
	$(call say,"fetching the definitions of other servers if missing: 50 MB and a minute the first time")
	tests/crds/build >/dev/null
	$(call say,"running the tests: a few minutes to build the first time and about as long to run")
	# Most tests wait for time or for other programs: run more of them at once than there are processors.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} cargo test --locked --workspace -- $(foreach gateway,$(LARGE_GATEWAYS),--skip $(call gateway_tests,$(gateway)))

check: ## Check format, lints, generated files, the guides, and the licences, sources and advisories of dependencies
	@tests/prerequisites rust go helm openssl
	$(call say,"format")
	cargo fmt --all --check
	$(call say,"lints: a few minutes the first time")
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	$(call say,"licences and sources and duplicates and advisories of dependencies: about 5 minutes on 2 cores the first time")
	tests/dependencies
	$(call say,"building the Kubernetes programs if missing: about 5 minutes on 2 cores the first time")
	tests/kubernetes/build >/dev/null
	$(call say,"generated files and links of pages and commands of guides and the API group and licences of dependencies")
	cargo test --locked --test it -- generated:: docs:: guide:: group:: licences::

docs: ## Build the book into target/book, with search
	@tests/prerequisites rust
	$(call say,"building mdBook if missing: about 4 minutes on 2 cores the first time")
	@mdbook=$$(tests/cargo-program mdbook 0.5.4 "about 4 minutes on 2 cores" --no-default-features --features search)/mdbook; "$$mdbook" build docs
	@echo 'built: target/book/index.html'

gateways: ## Run the gateways of docs/guides/backends.md, or of GATEWAYS, and print the calls that each renewal loses
	@tests/prerequisites rust go openssl nginx pip
	$(call say,"building Kubernetes and Envoy and $(GATEWAYS) if missing: about 22 minutes on 2 cores the first time for all")
	tests/kubernetes/build >/dev/null
	tests/servers/build envoy >/dev/null
	tests/gateways/build $(GATEWAYS) >/dev/null
	tests/crds/build >/dev/null
	cargo test --locked --test it -- $(foreach gateway,$(GATEWAYS),$(call gateway_tests,$(gateway)))

contract-aws: ## Run the contract suite against the AWS account of the environment, after a confirmation; ARGS=--yes skips it
	@tests/prerequisites rust
	$(call say,"building: a few minutes the first time")
	cargo build --locked --workspace --bin contract-aws
	@cargo run --quiet --locked --package operator-testing --bin contract-aws -- $(ARGS)

# The suites that depend on the Kubernetes version: admission and CEL rules, watches, ownership, patches of statuses, Leases.
OLDEST_KUBERNETES := 1.29
KUBERNETES_VERSION := $(or $(VERSION),$(OLDEST_KUBERNETES))
KUBERNETES_SUITES := harness:: schema:: targets:: status:: restart:: replicas::election::
# kubectl 1.29 does not print the values of an enum, and its API server has no MutatingAdmissionPolicy.
KUBERNETES_SKIPPED := --skip schema::document::kubectl_explains_every_field --skip targets::mutated

kubernetes: ## Run the suites that depend on the Kubernetes version on the oldest one, or on VERSION
	@tests/prerequisites rust go openssl
	$(call say,"building Kubernetes $(KUBERNETES_VERSION) if missing: about 5 minutes on 2 cores the first time")
	KUBERNETES=$(KUBERNETES_VERSION) tests/kubernetes/build >/dev/null
	KUBERNETES=$(KUBERNETES_VERSION) RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} \
	  cargo test --locked --test it -- $(KUBERNETES_SUITES) $(KUBERNETES_SKIPPED)

e2e: ## Run the commands of the book on the cluster of KUBECONFIG, with real pods; see tests/e2e/run
	@tests/prerequisites rust go helm openssl curl nginx
	@CLUSTER="$(CLUSTER)" tests/e2e/run

soak: ## Kill and replace replicas at random for five minutes, under load
	@tests/prerequisites rust go openssl
	tests/kubernetes/build >/dev/null
	$(call say,"killing and replacing replicas for five minutes")
	CCR_SOAK_SECONDS=$${CCR_SOAK_SECONDS:-300} cargo test --locked --test it -- --nocapture replicas::load

bench: ## Measure speed and size against a bare client on the same machine
	@tests/prerequisites rust go
	$(call say,"building the Kubernetes programs if missing: about 5 minutes on 2 cores the first time")
	tests/kubernetes/build >/dev/null
	$(call say,"building with optimisation: about 6 minutes on 2 cores the first time")
	cargo build --locked --release --workspace --bin client-certificate-operator --bin bench
	@cargo run --quiet --locked --release --package operator-testing --bin bench -- --chart target/bench.svg
	@echo 'drawn: target/bench.svg'

generate: ## Regenerate the CRD, the reference, the chart's README, versions, and deploy/install.yaml
	@tests/prerequisites rust helm
	$(call say,"building the operator and the generator: a few minutes the first time")
	@# The whole workspace: a build of a single package would build its dependencies again with fewer features.
	cargo build --locked --workspace --bin client-certificate-operator --bin reference
	$(call say,"the API group: GROUP of src/api.rs in every file that spells it")
	$(DEBUG)/reference . group
	@cargo build --quiet --locked --workspace --bin client-certificate-operator --bin reference
	$(call say,"the CRD: what the operator prints")
	$(DEBUG)/client-certificate-operator crd >deploy/crd.yaml.new
	@mv deploy/crd.yaml.new deploy/crd.yaml
	cp deploy/crd.yaml $(CHART)/files/crd.yaml
	$(call say,"the chart: the version of Cargo.toml")
	@version=$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1); sed -i "s/^\(version\|appVersion\): .*/\1: $$version/" $(CHART)/Chart.yaml
	@version=$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1); sed -i "s/^ARG VERSION=.*/ARG VERSION=$$version/" deploy/Dockerfile
	$(call say,"the reference and the README of the chart")
	$(DEBUG)/reference .
	$(call say,"deploy/install.yaml: the Namespace and what the chart renders")
	@helm=$$(tests/tools/build helm)/helm; { echo '# Made by `make generate` from namespace.yaml and ../$(CHART): change those.'; echo ---; cat deploy/namespace.yaml; \
	  "$$helm" template client-certificate-operator $(CHART) --namespace client-certificate-operator --skip-tests; } >deploy/install.yaml.new
	@mv deploy/install.yaml.new deploy/install.yaml
