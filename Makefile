# Everything a newcomer and CI need; CI calls nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
SN_MODELS ?= $(HOME)/.cache/secondnature/models
PREFIX ?= /usr/local
DESTDIR ?=

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
ABI := $(shell echo $(VERSION) | sed 's/^\(0\.[0-9]*\)\..*/\1/; s/^\([1-9][0-9]*\)\..*/\1/')

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s%s\n", $$1, $$2}' Makefile

setup: ## Install what building needs and is missing (Debian, Ubuntu; elsewhere it says what)
	@.ci/setup build

build: ## Build the program and the library (llama.cpp takes some minutes, once)
	cargo build --release

demo: setup build ## Distil the tiny embedded model, end to end
	$(TARGET)/release/secondnature demo --out target/demo

models: ## Download the two test models into SN_MODELS (600 MB, outside the repository)
	@.ci/models "$(SN_MODELS)"

test: setup models ## Run all tests, those with real models too
	SN_TEST_MODELS="$(SN_MODELS)" cargo test --release

check: setup ## Check format, lints and the C header
	@.ci/setup lint
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo test --release --test header

header: setup ## Generate include/secondnature.h anew from src/capi
	SN_WRITE_HEADER=1 cargo test --release --test header

install: ## Install the built program, library, headers, pkg-config and CMake files under PREFIX
	@test -f $(TARGET)/release/libsecondnature.so || { echo "nothing to install yet; run make build first" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/{bin,include,lib/pkgconfig,lib/cmake/secondnature}
	install -s -m 755 $(TARGET)/release/secondnature $(DESTDIR)$(PREFIX)/bin/
	install -s -m 755 $(TARGET)/release/libsecondnature.so $(DESTDIR)$(PREFIX)/lib/libsecondnature.so.$(VERSION)
	ln -sf libsecondnature.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libsecondnature.so.$(ABI)
	ln -sf libsecondnature.so.$(ABI) $(DESTDIR)$(PREFIX)/lib/libsecondnature.so
	install -m 644 include/secondnature.h bindings/cpp/secondnature.hpp \
		bindings/c/secondnature_llama.h $(DESTDIR)$(PREFIX)/include/
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' bindings/secondnature.pc.in \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/secondnature.pc
	install -m 644 bindings/cmake/secondnature-config.cmake $(DESTDIR)$(PREFIX)/lib/cmake/secondnature/
	sed 's|@VERSION@|$(VERSION)|; s|@ABI@|$(ABI)|' bindings/cmake/secondnature-config-version.cmake.in \
		> $(DESTDIR)$(PREFIX)/lib/cmake/secondnature/secondnature-config-version.cmake

test-install: build ## Install under target/ and build C and C++ programs against that, both ways
	@.ci/test-install "$(CURDIR)/target/prefix"

test-stock: demo ## Give the demo's adapter to a prebuilt llama.cpp that knows nothing of this project
	@.ci/setup python
	test -x $(TARGET)/stock/bin/python || python3 -m venv $(TARGET)/stock
	$(TARGET)/stock/bin/python -m pip install --quiet --disable-pip-version-check xllamacpp
	$(TARGET)/release/secondnature questions coin-flip --n 200 --seed 2 --split test > $(TARGET)/demo-eval.jsonl
	$(TARGET)/stock/bin/python tests/stock_llama.py target/demo/run $(TARGET)/demo-eval.jsonl

test-host: build ## Lend the context of an application with another llama.cpp (built once, minutes) and compare
	@.ci/setup build
	@.ci/test-host "$(TARGET)"

results: setup build models ## Measure the table of results, an hour or two; resumes under target/results
	python3 benches/results.py --models "$(SN_MODELS)" --secondnature $(TARGET)/release/secondnature --out target/results

clean-run: ## Forget the demo's run, so that the next one starts anew
	rm -rf target/demo

.PHONY: help setup build demo models test check header install test-install test-stock test-host results clean-run
