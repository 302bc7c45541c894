# Everything a fresh Debian 12 machine needs is installed by these targets: apt for programs, pip in .venv for Python.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the server itself needs, and what the tests put beside it.
APT_RUN := python3-venv ca-certificates debian-archive-keyring iproute2 kmod cpio zstd xz-utils mmdebstrap busybox-static
APT_LAB := qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 ipxe-qemu dnsmasq-base nftables procps mtools syslinux syslinux-common dosfstools fdisk
APT_TEST := $(APT_LAB) tftp-hpa atftp curl strace systemd

APT_INSTALL = set -e; missing=(); for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing+=($$p); done; \
	if [ $${\#missing[@]} -gt 0 ]; then echo "installing: $${missing[*]}"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; fi

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -ts $$'\t'
