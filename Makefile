# What a user types.  scripts/setup.sh does the set-up, tests/guests/build.sh the guests.
#
#   make boot       from a fresh Debian machine to a shell of a Debian kernel in this terminal (Ctrl-A x quits)
#   make test       from a fresh Debian machine: everything that the tests need, then all of them
#   make build      environment and extensions only
#   make guests     the guests of tests/boot, into $(GUESTS)
#   make test-slow  the tests that are marked slow, whole
#   make conform    every suite of `x86emu conform` in full, with report (docs/conformance.md; hours, goes on when called again)
#   make bench-peers  install the peers (Debian, PyPI, npm), measure all side by side, into benchmarks/results; twenty
#                   minutes; an hour and a half with BENCH_OPTIONS='--runs 3', which works five times as long
#   make lint       ruff and mypy --strict
#   make clean      what was built in the checkout (the cache stays)

SHELL := /bin/bash
PYTHON ?= python3
X86EMU_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/x86emu
GUESTS ?= $(X86EMU_CACHE)/guests
export PYTHON X86EMU_CACHE
export X86EMU_GUESTS := $(GUESTS)
JOBS ?= auto
BENCH_OPTIONS ?= --scale 4 --runs 3 --guest-runs 1 --timeout 130
PYTEST := .venv/bin/python -m pytest

.PHONY: bench-peers boot test test-setup test-slow conform build guests lint clean

boot:
	@scripts/setup.sh system venv build
	@tests/guests/build.sh "$(GUESTS)" boot
	@firmware=$$(scripts/setup.sh firmware) && \
	.venv/bin/x86emu boot $$firmware --kernel "$(GUESTS)/linux64.vmlinuz" --initrd "$(GUESTS)/linux64.cpio.gz" \
	    --append "console=ttyS0,115200 gk.end=shell" $(BOOT_OPTIONS)

test: test-setup
	$(PYTEST) -n $(JOBS)

test-setup:
	@scripts/setup.sh system browser test-tools venv-test build
	@tests/guests/build.sh "$(GUESTS)" linux64 linux32 network rescue multiboot floppy memtest firmware nested xen

test-slow: test-setup
	@scripts/setup.sh slow-tools
	@tests/guests/build.sh "$(GUESTS)" debian installer
	$(PYTEST) -n $(JOBS) -m slow --whole

conform: test-setup
	@scripts/conformance.sh

build:
	@scripts/setup.sh system venv build

guests:
	@scripts/setup.sh system
	@tests/guests/build.sh "$(GUESTS)"

bench-peers:
	@scripts/setup.sh system venv build bench slow-tools
	@tests/guests/build.sh "$(GUESTS)" linux64
	@tests/guests/build.sh "$(GUESTS)" debian || echo "x86emu: the boot of Debian is left out" >&2
	.venv/bin/python -m x86emu bench all --peers $(BENCH_OPTIONS) -o benchmarks/results/peers.json \
	    --plot benchmarks/results/ratios.png --document docs/performance.md
	.venv/bin/python -m x86emu bench --growth -o benchmarks/results/growth.json \
	    --plot benchmarks/results/growth.png --document docs/performance.md

lint: build
	@scripts/setup.sh venv-test
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy --strict x86emu

clean:
	rm -rf build .venv x86emu/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find x86emu \( -name '*.so' -o -name '*.c' -o -name '*.html' ! -path '*/web/*' \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
