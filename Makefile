# Every target installs what it lacks on Debian 12 with root; elsewhere it names what is missing and stops first.
CARGO ?= cargo
BIN    = target/debug/countersign

.PHONY: demo test interop interop-aws bench lint build report

demo: ## the reference workflow, end to end, on this machine
	@scripts/require.sh demo
	@$(CARGO) build --quiet --package countersign
	@$(BIN) demo

test: ## unit, property and integration tests
	@scripts/require.sh test
	$(CARGO) test --workspace --quiet

interop: ## the real notation, oras, skopeo, buildah, podman, docker-registry and Python clients
	@scripts/require.sh interop
	@$(CARGO) build --quiet --package countersign
	@interop/revocation.py
	@scripts/drill.sh restore
	@scripts/drill.sh intermediate
	@interop/run.sh
	@interop/aws.sh

interop-aws: ## boto3, the AWS command line, and the AWS Signer plugin under notation
	@scripts/require.sh interop
	@$(CARGO) build --quiet --package countersign
	@interop/aws.sh

bench: ## figures beside the peers, as ratios; writes target/bench.json and target/bench-revocation.json
	@scripts/require.sh bench
	@$(CARGO) build --release --quiet --package countersign --package countersign-signer --examples --bins
	@bench/run.sh
	@bench/revocation.py

lint: ## formatting, clippy, documentation
	@scripts/require.sh lint
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

report: ## function lengths and the ratio of tests to source, per crate
	@scripts/report.py
