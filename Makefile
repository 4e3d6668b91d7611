# The commands a person needs. Each does its whole job; what it needs and does not find, it installs or names.

.PHONY: help run test test-long bench

help:
	@echo "make run        build the release binary and start it with a demonstration building"
	@echo "make test       install what the tests need when absent, then run every test"
	@echo "make test-long  the same with the long durability suite"
	@echo "make bench      measure, print a table, write bench-results/*.json"

run:
	@tests/support/toolchain.sh
	cargo build --release --locked --package vt-cli
	@exec "$${CARGO_TARGET_DIR:-target}/release/volttron" --demo

test:
	@tests/support/suite.sh short

test-long:
	@tests/support/suite.sh long

bench:
	@tests/support/bench.sh
