# usher's build, behind targets that anyone can guess. The build itself is meson's: see meson.build.
#
#   make            build the program           make run            build and serve a demonstration on 127.0.0.1:8080
#   make test       every test                  make test-sanitize  the same under ASan and UBSan
#   make bench      measure against peers       make fuzz           every fuzzer for SECONDS=60 each
#   make lint       static checks               make format         clang-format in place
#   make install    DESTDIR= prefix=/usr/local  make uninstall      the same two
#   make accuracy   usher and sslh on the corpus of real clients: a confusion matrix
#   make mutants    which faults in the code no test sees: COUNT=12 of each file, ROOM=deliver, FILE=relay.c
#   make soak       everything at once under ASan for MINUTES=10, then the books are balanced
#   make deb        Debian packages in build/deb  make test-deb     install, upgrade and purge them in a system of their own
#   make rpm        RPM packages in build/rpm     make test-rpm     rpmlint, install and remove them in a root of their own
#   make test-musl  all compiled with musl; what needs no library runs
prefix ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
MINUTES ?= 10
RELEASE ?= trixie
PYTHON ?= /usr/bin/python3
BUILD ?= build
OPTIONS ?=
SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: all configured run test test-unit test-system test-sanitize mutants soak benches bench bench-identifiers bench-accept accuracy fuzz lint format prefixed install uninstall deb test-deb rpm test-rpm test-musl test-release test-container clean packages-%

# The program and what is installed with it. Tests, benches and fuzzers are built by the targets that run them.
all: configured
	@ninja -C $(BUILD) --quiet

configured:
	@scripts/configure $(BUILD) --prefix=$(prefix) $(OPTIONS)

# make packages-build, packages-test, packages-bench, packages-demo: what apt must have installed
packages-%:
	@scripts/packages $*

run: packages-build packages-demo
	@$(MAKE) --no-print-directory all
	@$(BUILD)/src/usher demo

test: packages-build packages-test
	@$(MAKE) --no-print-directory test-unit
	@UNIT_TESTS=$(abspath $(BUILD))/unit-tests.txt $(MAKE) --no-print-directory test-system

test-unit: all
	scripts/unit-tests $(BUILD)

test-system: all
	@ninja -C $(BUILD) --quiet test-parts
	PYTHON=$(PYTHON) scripts/system-tests $(BUILD)

test-sanitize: packages-build packages-test
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(MAKE) --no-print-directory BUILD=build-sanitize \
		OPTIONS='-Db_sanitize=address,undefined -Dbuildtype=debug' test

# One fault at a time is put into a copy, and the tests of that file are to see it. make mutants ROOM=deliver, FILE=relay.c, COUNT=40, SEED=2
mutants: packages-build packages-test
	@$(PYTHON) tests/mutants/mutants.py $(if $(ROOM),--room $(ROOM)) $(if $(FILE),--file $(FILE)) $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

# Clients, servers, programs, reloads and worker deaths together: bytes, connections, descriptors and memory are accounted for.
soak: packages-build packages-test
	@scripts/configure build-soak -Db_sanitize=address,undefined -Dbuildtype=debug
	@ninja -C build-soak --quiet src/usher
	$(PYTHON) tests/soak/soak.py --usher $(abspath build-soak)/src/usher --minutes $(MINUTES)

benches: all
	@ninja -C $(BUILD) --quiet benches

bench: packages-build packages-bench
	@$(MAKE) --no-print-directory BUILD=build-bench OPTIONS=-Dbuildtype=release benches
	BUILD=build-bench $(PYTHON) bench/run.py

# External identifiers: a kept process beside a process each.
bench-identifiers: packages-build
	@$(MAKE) --no-print-directory BUILD=build-bench OPTIONS=-Dbuildtype=release benches
	BUILD=build-bench $(PYTHON) bench/identifiers.py

# nginx that accepts from usher (usher-accept), beside nginx itself and a relay.
bench-accept: packages-build packages-bench
	@$(MAKE) --no-print-directory BUILD=build-bench OPTIONS=-Dbuildtype=release benches
	BUILD=build-bench $(PYTHON) bench/accept.py

# Who is what, by usher and by sslh, on tests/corpus. docs' table: make accuracy ACCURACY="--readme docs/accuracy.md".
accuracy: packages-build packages-accuracy
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/accuracy/accuracy.py --usher $(BUILD)/src/usher $(ACCURACY)

# make fuzz SECONDS=600 FUZZERS="probes policy": those alone
fuzz: packages-build packages-fuzz
	@CC=clang scripts/configure build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C build-fuzz --quiet fuzzers
	@scripts/fuzz build-fuzz $(SECONDS) $(FUZZERS)

# Minutes, most of them the analyzers'. make lint LINT="format shell python": those checks alone
lint: packages-build packages-lint
	@scripts/lint build-lint $(LINT)

format:
	clang-format -i $(SOURCES)

# The build with this prefix: what does not depend on it stays as it was built.
prefixed: configured
	@meson configure $(BUILD) -Dprefix=$(prefix)
	@ninja -C $(BUILD) --quiet build.ninja >/dev/null

install: prefixed
	@ninja -C $(BUILD) --quiet
	@meson install -C $(BUILD) --quiet --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

uninstall: prefixed
	@scripts/uninstall $(BUILD) "$(if $(DESTDIR),$(abspath $(DESTDIR)))"

deb: packages-build packages-deb
	@scripts/deb $(BUILD)

# As root: it makes a small Debian with debootstrap, boots it, and throws it away.
test-deb: deb packages-test-deb
	DEBS=$(abspath $(BUILD))/deb $(PYTHON) -m pytest -q tests/deb

rpm: packages-build packages-rpm
	@scripts/rpm $(BUILD)

test-rpm: rpm
	@scripts/test-rpm $(BUILD)

# All of it compiles with musl; what needs no library but libc is linked with it and serves behind the usher that is built here.
test-musl: packages-build packages-musl
	@$(MAKE) --no-print-directory all
	@scripts/test-musl $(BUILD)

# As root, or with sudo: debootstrap makes that Debian and it is kept, see the script.
test-release:
	@scripts/test-release $(RELEASE) $(PARTS)

# As root, or with sudo: buildah builds the image of Containerfile from a Debian that debootstrap makes.
test-container: all
	@ninja -C $(BUILD) --quiet test-parts
	@scripts/test-container

clean:
	rm -rf build build-sanitize build-soak build-fuzz build-bench build-lint build-mutants
