# Everything a fresh Debian 12 machine needs is installed by these targets: apt for programs, pip in .venv for Python.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

# What the server itself needs: its loaders and discovery system are made on the machine from Debian's packages.
APT_RUN := python3-venv ca-certificates debian-archive-keyring iproute2 kmod cpio zstd xz-utils mmdebstrap busybox-static \
	squashfs-tools fakechroot fakeroot
# Virtual machines and the private network of `make try`, `make demo` and the firmware tests.
APT_LAB := qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 ipxe-qemu dnsmasq-base nftables procps \
	mtools syslinux syslinux-common dosfstools fdisk openssh-client
# Independent clients and instruments of the tests.
APT_TEST := $(APT_LAB) chromium fonts-dejavu-core tftp-hpa atftp curl strace systemd libfaketime swtpm openipmi
# Benchmarks: a compiler for the load generators. The programs we are compared with are unpacked into .cache and never
# installed, so that none of their services is started.
APT_BENCH := gcc libc6-dev curl dnsmasq-base nftables util-linux procps

define apt_install
	@missing=(); for p in $(1); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing+=($$p); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  if [ "$$(id -u)" != 0 ]; then echo "missing Debian packages: $${missing[*]}; run this target as root, or install them" >&2; exit 1; fi; \
	  echo "installing Debian packages: $${missing[*]}"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; fi
endef

.PHONY: help
help: ## show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------------------------------------------------------------------------------------------- installing

$(VENV)/.run: pyproject.toml
	$(call apt_install,$(APT_RUN))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version)" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing pxeserver and its libraries in $(VENV)"
	@$(PY) -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(call apt_install,$(APT_TEST))
	@echo "installing what the tests need in $(VENV)"
	@$(PY) -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

# Prometheus' own tool, unpacked and not installed: its service is never started.
PROMTOOL := .cache/prometheus/usr/bin/promtool
$(PROMTOOL):
	@folder=$$(mktemp -d) && chmod 777 $$folder && echo "unpacking promtool" \
	  && ( cd $$folder && { apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }; } ) \
	  && mkdir -p .cache/prometheus && dpkg-deb -x $$folder/prometheus_*.deb .cache/prometheus && rm -r $$folder .cache/prometheus/usr/bin/prometheus && touch $@

$(VENV)/.lab: $(VENV)/.run
	$(call apt_install,$(APT_LAB))
	@touch $@

# ---------------------------------------------------------------------------------------------- using

.PHONY: run try demo demo-cluster
run: $(VENV)/.run ## start the server on this machine's network (ARGS="--help" shows the options)
	@exec $(PY) -m pxeserver run $(ARGS)

try: $(VENV)/.lab ## a private network with the server and one virtual machine, to play with
	@exec $(PY) -m pxeserver.lab try $(ARGS)

demo: $(VENV)/.lab ## three virtual machines of different firmware boot before your eyes, in the web admin too
	@exec $(PY) -m pxeserver.lab demo $(ARGS)

demo-cluster: $(VENV)/.lab ## three empty virtual machines become a cluster before your eyes
	@exec $(PY) -m pxeserver.lab demo-cluster $(ARGS)

# ---------------------------------------------------------------------------------------------- checking

.PHONY: check format test test-long
check: $(VENV)/.test ## format, lint, strict types, import contracts, unit tests, calls of hot paths: a minute and a half
	@$(VENV)/bin/ruff format --check -q .
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache | tail -n 2
	@$(PY) -m pytest -q -n 2 -m "not slow and not long" tests/unit benchmarks/micro/test_call_counts.py

format: $(VENV)/.test ## put the sources into shape
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

test: check $(PROMTOOL) ## everything: units, network namespaces, other programs' clients, real firmware
	@$(PY) -m pytest -n 2 --dist loadfile -m "(slow or net or interop or firmware) and not web and not long" tests
	@# The browser's driver keeps an event loop of its own in the process, beside which no other test can run one.
	@$(PY) -m pytest -n 2 --dist loadfile -m "web and not long" tests/web

test-long: check ## the long runs: millions of packets, hundreds of kills, the slowest machines
	@$(PY) -m pytest -n 2 --dist loadfile -m long tests

# ---------------------------------------------------------------------------------------------- measuring

.PHONY: bench bench-quick
bench-quick: $(VENV)/.test ## benchmarks beside dnsmasq, tftpd-hpa, atftpd and nginx, every row once (root; 20 minutes)
	$(call apt_install,$(APT_BENCH))
	@$(PY) -m pytest -q --benchmark-disable benchmarks/micro
	@$(PY) -m benchmarks.run --quick $(ARGS)

bench: $(VENV)/.test ## the same in pairs, five times each, for the README (root; a quiet machine)
	$(call apt_install,$(APT_BENCH))
	@$(PY) -m pytest -q --benchmark-columns=min,median,stddev benchmarks/micro
	@$(PY) -m benchmarks.run $(ARGS) && $(PY) -m benchmarks.readme

# ---------------------------------------------------------------------------------------------- production

.PHONY: wheel install uninstall clean
wheel: $(VENV)/.test ## build the wheel into dist/
	@$(PY) -m build --wheel -o dist . >/dev/null && ls dist/*.whl

install: $(VENV)/.run ## install the systemd services on this machine
	@$(PY) -m pxeserver.install install $(ARGS)

uninstall: $(VENV)/.run ## remove the systemd services; data stays unless ARGS="--purge"
	@$(PY) -m pxeserver.install uninstall $(ARGS)

clean: ## remove what these targets made in the source tree
	@rm -rf $(VENV) .cache dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
