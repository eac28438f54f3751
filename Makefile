PYTHON ?= python3
PACKAGES = ca-certificates ethtool iperf3 iproute2 iputils-ping jq mininet netcat-openbsd openvswitch-switch \
	openvswitch-vtep ovn-central ovn-controller-vtep ovn-host procps python3-venv systemd tcpdump util-linux
# Of Open vSwitch: netdev (in user space) or system (the kernel's).
DATAPATH ?= netdev
BIN = .venv/bin
# A file of tests shares its labs, so it stays in one process. Most tests wait most of the time: three do for two cores.
PYTEST = $(BIN)/python -m pytest --numprocesses 3 --dist loadfile
TYPED = vtep_ryu/core vtep_ryu/drivers vtep_ryu/command vtep_ryu/show vtep_ryu/compat.py vtep_ryu/options.py

export PATH := $(PATH):/usr/sbin:/sbin
export VTEP_DATAPATH = $(DATAPATH)

.NOTPARALLEL:
.PHONY: help deps datapath venv lint unit test test-long docs bench demo lab soak alerts deb deb-test clean
.PHONY: lab-hands-on lab-how-to lab-understanding lab-fabric lab-failover lab-ovn

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

deps:  ## install the Debian packages that are missing, without starting a service
	@etc/debian-deps.sh $(PACKAGES)

datapath:
	@etc/check-datapath.sh "$$VTEP_DATAPATH"

venv:  ## make .venv, if it is missing, half made or out of date
	@etc/make-venv.sh $(PYTHON)
	@$(BIN)/python -m compileall -q vtep_ryu  # as what is installed is; Python does not do it with PYTHONDONTWRITEBYTECODE

lint: venv  ## style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy $(TYPED)

unit: venv  ## the tests that need no Open vSwitch
	@$(PYTEST) tests/unit

test: datapath deps venv  ## everything: style, types, pages, unit and system tests, in namespaces of their own
	@lint=passed docs=passed tests=passed; \
	$(MAKE) --no-print-directory lint || lint=FAILED; \
	$(MAKE) --no-print-directory docs || docs=FAILED; \
	apps/isolate $(PYTEST) tests || tests=FAILED; \
	echo "summary: lint $$lint, docs $$docs, tests $$tests"; \
	[ $$lint$$docs$$tests = passedpassedpassed ]

test-long: export VTEP_TEST_LONG = 1
test-long: test  ## the same, with the long runs

docs: deps venv  ## the pages of docs/ as HTML, and manual pages, in build/docs; a warning is an error
	@$(BIN)/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@for kind in html man; do \
		echo "building build/docs/$$kind ..." && \
		$(BIN)/python -m sphinx -q -E -W --keep-going -b $$kind docs build/docs/$$kind || exit; \
	done
	@echo "see build/docs/html/index.html, man -l build/docs/man/vtep-ryu.8"

# QUICK=1: smaller, in under three minutes. BIG=1: with 1,000,000 addresses. ONLY=load,idle: some figures.
BENCH = $(if $(QUICK),--scale quick,$(if $(BIG),--scale big)) $(if $(ONLY),--only $(ONLY))

bench: datapath deps venv  ## measure, beside ovs-vtep and C tools: docs/performance.rst; QUICK=1, BIG=1, ONLY=load,idle
	@$(BIN)/pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@apps/isolate $(BIN)/python -m bench $(BENCH); status=$$?; \
	$(BIN)/python -m bench.plots bench/results.json bench/plots >/dev/null && \
	$(if $(QUICK)$(ONLY),,$(BIN)/python -m bench.page bench/results.json docs/performance.rst docs/scaling.rst &&) exit $$status

demo: datapath deps venv  ## two switches and four hosts, set up and explained step by step
	@apps/isolate $(BIN)/python -m apps.demo

lab: datapath deps venv  ## the same set-up, left running
	@apps/isolate $(BIN)/python -m apps.demo --keep

# The system's Python has Mininet; the machines in it have our programs.
MININET = PATH="$(CURDIR)/$(BIN):$$PATH" apps/isolate /usr/bin/python3

lab-hands-on: deps venv  ## docs/lab-hands-on.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.hands_on $(ARGS)

lab-how-to: deps venv  ## docs/how-to.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.how_to $(ARGS)

lab-understanding: deps venv  ## docs/lab-understanding.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.understanding $(ARGS)

lab-fabric: deps venv  ## docs/lab-fabric.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.fabric $(ARGS)

lab-failover: deps venv  ## docs/lab-failover.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.failover $(ARGS)

lab-ovn: deps venv  ## docs/lab-ovn.rst in Mininet; ARGS=--test follows it
	@$(MININET) -m apps.labs.ovn $(ARGS)

soak: datapath deps venv  ## random changes, restarts and traffic, all checked; MINUTES=30, SEED= to see one again
	@apps/isolate $(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(addprefix --seed ,$(SEED)) \
		$(addprefix --first ,$(FIRST))

alerts:  ## check etc/alerts.yml and run its tests with promtool, which is fetched, but not installed
	@etc/check-alerts.sh

deb: docs  ## a Debian package in build/: docs/packages.rst
	@etc/debian-deps.sh python3-venv
	@etc/make-deb.sh /usr/bin/python3

deb-test: deb  ## install that on a clean Debian, follow docs/how-to.rst there, remove it; needs root and the network
	@etc/debian-deps.sh debootstrap
	@etc/debian/test.sh $$(ls -t build/vtep-ryu_*.deb | head -n 1)

clean:  ## remove what the other targets made
	rm -rf .venv .venv.lock .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
