# Everything a newcomer and CI need; CI calls nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
# What is installed and packaged is built with the profile `dist`, which optimises the whole program. The
# libraries come last and by themselves: cargo optimises nothing across crates where it makes an rlib too.
DIST ?= $(TARGET)/dist
SN_MODELS ?= $(HOME)/.cache/secondnature/models
PREFIX ?= /usr/local
DESTDIR ?=

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
ABI := $(shell echo $(VERSION) | sed 's/^\(0\.[0-9]*\)\..*/\1/; s/^\([1-9][0-9]*\)\..*/\1/')

# A build for other machines than this one, which compiles llama.cpp anew, hence by itself.
PORTABLE := target/portable
ANY_CPU := $(if $(filter x86_64,$(shell uname -m)),-C target-cpu=x86-64,-C debuginfo=line-tables-only)
# Instructions that llama.cpp's build takes for granted unless told; what has them gets other kernels.
OLDEST := $(addsuffix =OFF,$(addprefix GGML_,SSE42 AVX AVX2 BMI2 FMA F16C))
PACKAGE := secondnature-$(VERSION)-$(shell uname -sm | tr 'A-Z ' 'a-z-')

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s%s\n", $$1, $$2}' Makefile

setup: ## Install what building needs and is missing (Debian, Ubuntu; elsewhere it says what)
	@.ci/setup build

build: ## Build the program and the library for daily work (llama.cpp takes some minutes, once)
	cargo build --release

dist: setup ## Build what is installed, optimised as a whole (compiles llama.cpp for itself)
	cargo build --profile dist --bin secondnature $(DIST_FEATURES)
	cargo rustc --profile dist --lib --crate-type cdylib,staticlib $(DIST_FEATURES)

demo: setup build ## Distill the tiny embedded model, end to end
	$(TARGET)/release/secondnature demo --out target/demo

models: ## Download the two test models into SN_MODELS (600 MB, outside the repository)
	@.ci/models "$(SN_MODELS)"

test: setup models ## Run all tests, those with real models too
	@.ci/setup test
	SN_TEST_MODELS="$(SN_MODELS)" cargo test --release

check: setup ## Check format, lints, documentation, the generated headers and the structure
	@.ci/setup lint
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --lib
	cargo test --release --test header --test architecture

header: setup ## Generate the C header, the C++ options and the list of exports anew from src/
	SN_WRITE_HEADER=1 cargo test --release --no-default-features --test header -- --test-threads 1

install: ## Install what `make dist` built: program, libraries, headers, pkg-config, CMake files, under PREFIX
	@test -f $(DIST)/libsecondnature.so || { echo "nothing to install yet; run make dist first" >&2; exit 1; }
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include/secondnature/detail lib/pkgconfig lib/cmake/secondnature)
	install -s -m 755 $(DIST)/secondnature $(DESTDIR)$(PREFIX)/bin/
	install -s -m 755 $(DIST)/libsecondnature.so $(DESTDIR)$(PREFIX)/lib/libsecondnature.so.$(VERSION)
	ln -sf libsecondnature.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libsecondnature.so.$(ABI)
	ln -sf libsecondnature.so.$(ABI) $(DESTDIR)$(PREFIX)/lib/libsecondnature.so
	.ci/static-library $(DIST)/libsecondnature.a bindings/exports.txt $(DESTDIR)$(PREFIX)/lib/libsecondnature.a
	install -m 644 include/*.h $(wildcard bindings/c/*.h) bindings/cpp/*.hpp $(DESTDIR)$(PREFIX)/include/
	install -m 644 bindings/cpp/secondnature/*.hpp $(DESTDIR)$(PREFIX)/include/secondnature/
	install -m 644 bindings/cpp/secondnature/detail/*.hpp $(DESTDIR)$(PREFIX)/include/secondnature/detail/
	for name in secondnature secondnature-static; do \
		sed 's|@VERSION@|$(VERSION)|' bindings/$$name.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/$$name.pc; \
	done
	install -m 644 bindings/cmake/secondnature-config.cmake $(DESTDIR)$(PREFIX)/lib/cmake/secondnature/
	sed 's|@VERSION@|$(VERSION)|; s|@ABI@|$(ABI)|' bindings/cmake/secondnature-config-version.cmake.in \
		> $(DESTDIR)$(PREFIX)/lib/cmake/secondnature/secondnature-config-version.cmake

test-install: portable ## Install under target/ and build C and C++ programs against that, every way
	@.ci/setup install
	@DIST=$(PORTABLE)/dist .ci/test-install "$(abspath $(TARGET))/prefix"

portable: setup $(PORTABLE)/dist/.built ## Build for any processor of this kind, under target/portable, kernels chosen at run time

# Cargo builds the program's library and the libraries again whenever it is asked for both in turn.
$(PORTABLE)/dist/.built: Cargo.toml Cargo.lock build.rs $(shell find src build fixtures -type f)
	@$(OLDEST) RUSTFLAGS="$(ANY_CPU)" CARGO_TARGET_DIR=$(PORTABLE) \
		$(MAKE) --no-print-directory dist DIST_FEATURES="--features portable"
	@touch $@

package: portable ## Pack the portable build as target/secondnature-VERSION-SYSTEM.tar.gz, to unpack anywhere
	rm -rf $(PORTABLE)/$(PACKAGE)
	@$(MAKE) --no-print-directory install DIST=$(PORTABLE)/dist PREFIX= DESTDIR=$(PORTABLE)/$(PACKAGE)
	install -m 644 README.md CHANGELOG.md LICENSE-* $(PORTABLE)/$(PACKAGE)/
	tar -C $(PORTABLE) -czf $(TARGET)/$(PACKAGE).tar.gz $(PACKAGE)

test-package: package ## Unpack the package elsewhere, link with it, and run it as older processors
	@.ci/setup install
	@.ci/test-package "$(TARGET)/$(PACKAGE).tar.gz"

test-sanitize: build portable ## Run the C and C++ tests under AddressSanitizer, UBSan and valgrind
	@.ci/setup sanitize
	@.ci/test-sanitize $(PORTABLE)/dist/libsecondnature.so

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

.PHONY: help setup build dist demo models test check header install test-install portable package test-package test-sanitize test-stock test-host results clean-run
