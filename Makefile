# SPDX-License-Identifier: MIT
# usher's build. `make help` lists the targets.

CC ?= cc
CFLAGS ?= -O2 -g
CPPFLAGS ?=
LDFLAGS ?=
LDLIBS ?=
INSTALL ?= install
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)

prefix ?= /usr/local
sbindir ?= $(prefix)/sbin
sysconfdir ?= /etc
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/usher
unitdir ?= $(prefix)/lib/systemd/system
sysusersdir ?= $(prefix)/lib/sysusers.d
tmpfilesdir ?= $(prefix)/lib/tmpfiles.d
catalogdir ?= $(prefix)/lib/systemd/catalog

VERSION := 0.1.0

# SAN=address,undefined or SAN=thread builds beside the normal build; FUZZ=1 builds what tests/fuzz needs
SAN ?=
FUZZ ?=
comma := ,
ifeq ($(FUZZ),1)
BUILD := build/fuzz
SAN := address,undefined,fuzzer-no-link
override CC := clang
else
BUILD := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
endif

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

PKGS := libconfig libsystemd libcares libcap-ng libssl libcrypto
# asked only when something is compiled, so that a machine without pkg-config can still run the targets that install it
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(PKGS)))$(PKG_LIBS)
CHECK_LIBS = $(eval CHECK_LIBS := $$(shell $(PKG_CONFIG) --libs check))$(CHECK_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wnull-dereference
WERROR ?=
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined) \
	$(if $(findstring thread,$(SAN)),-Wno-tsan)) # it does not know fences; the atomics around them it does

# the packager's flags come last
USHER_CPPFLAGS = -Isrc -D_GNU_SOURCE -DUSHER_VERSION='"$(VERSION)"' -DUSHER_CONFIG_FILE='"$(sysconfdir)/usher/usherd.conf"'
USHER_CFLAGS = -std=gnu11 -pthread $(WARNINGS) $(WERROR) $(SAN_FLAGS) $(PKG_CFLAGS)
USHER_LDFLAGS = -pthread $(SAN_FLAGS)

LIB_SRCS := $(filter-out src/ctl/%,$(sort $(wildcard src/*/*.c)))
LIB_OBJS := $(LIB_SRCS:%.c=$(BUILD)/%.o)
MAIN_OBJ := $(BUILD)/src/main.o
UNIT_SRCS := $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BINS := $(UNIT_SRCS:%.c=$(BUILD)/%)
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZ_SRCS:%.c=$(BUILD)/%)
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
BENCH_BINS := $(BENCH_SRCS:%.c=$(BUILD)/%)
# the manual, once its generator is there
MAN := $(if $(wildcard doc/mkman.c),$(patsubst doc/%,$(BUILD)/doc/%,$(patsubst %.in,%,$(wildcard doc/*.8.in doc/*.5.in))))
# what names the daemon's place, and what does not
UNITS := $(patsubst %.in,$(BUILD)/%,$(wildcard systemd/*.in))
SOCKET_UNITS := $(wildcard systemd/*.socket)

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

##@ Build
.PHONY: all
all: $(BUILD)/usherd $(MAN) $(UNITS) ## the daemon, its manual and its unit, in build/ (SAN=address,undefined: in build/san-address-undefined)

$(BUILD)/usherd: $(MAIN_OBJ) $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# a daemon that tests can make stick (src/base/test_hook.h): these objects take the place of the library's
HOOKS_OBJS := $(patsubst %.c,$(BUILD)/hooks/%.o,src/base/test_hook.c src/worker/worker.c)
$(BUILD)/hooks/%.o: %.c
	$(say) CC $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(USHER_CPPFLAGS) -DUSHER_TEST_HOOKS $(CPPFLAGS) $(USHER_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/hooks/usherd: $(MAIN_OBJ) $(HOOKS_OBJS) $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# preloaded into a daemon by tests: counts what it asks of the heap
$(BUILD)/tests/functional/%.so: tests/functional/%.c
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 $(WARNINGS) $(WERROR) $(CFLAGS) -fno-builtin -fPIC -shared $(LDFLAGS) -o $@ $<

TEST_HELPERS := $(BUILD)/hooks/usherd $(BUILD)/tests/functional/flood $(if $(SAN),,$(BUILD)/tests/functional/count_heap.so)
.PHONY: hooks
hooks: $(TEST_HELPERS) ## build/hooks/usherd, which tests can make stick (never install it), and other helpers of tests

$(BUILD)/libusher.a: $(LIB_OBJS)
	$(say) AR $@
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	$(say) CC $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(USHER_CPPFLAGS) $(CPPFLAGS) $(USHER_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# the daemon and its manual name these: another prefix builds them anew
PLACES := $(sysconfdir) $(sbindir)
$(BUILD)/places: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(PLACES)' | cmp -s - $@ || echo '$(PLACES)' >$@
.PHONY: FORCE
FORCE:
$(MAIN_OBJ) $(MAN) $(UNITS): $(BUILD)/places

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS) $(LDLIBS)

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) -fsanitize=fuzzer $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# a functional test's load
$(BUILD)/tests/functional/%: $(BUILD)/tests/functional/%.o $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# the load of a benchmark, or one of a part
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

# prints those parts of the manual that are made from the tables in the source
$(BUILD)/mkman: $(BUILD)/doc/mkman.o $(BUILD)/libusher.a
	$(say) LD $@
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(BUILD)/doc/%.mdoc: $(BUILD)/mkman
	$(Q)mkdir -p $(@D)
	$(Q)$(BUILD)/mkman $* >$@

MAN_PARTS := options close_reasons log_fields log_kinds
$(BUILD)/doc/%: doc/%.in $(MAN_PARTS:%=$(BUILD)/doc/%.mdoc)
	$(say) MAN $@
	$(Q)mkdir -p $(@D)
	$(Q)sed -e '/^@OPTIONS@$$/{r $(BUILD)/doc/options.mdoc' -e 'd}' \
		-e '/^@CLOSE_REASONS@$$/{r $(BUILD)/doc/close_reasons.mdoc' -e 'd}' \
		-e '/^@LOG_FIELDS@$$/{r $(BUILD)/doc/log_fields.mdoc' -e 'd}' \
		-e '/^@LOG_KINDS@$$/{r $(BUILD)/doc/log_kinds.mdoc' -e 'd}' \
		-e 's|@CONFIG_FILE@|$(sysconfdir)/usher/usherd.conf|g' -e 's|@SBINDIR@|$(sbindir)|g' $< >$@

$(BUILD)/systemd/%: systemd/%.in
	$(say) UNIT $@
	$(Q)mkdir -p $(@D)
	$(Q)sed 's|@SBINDIR@|$(sbindir)|g' $< >$@

-include $(LIB_OBJS:.o=.d) $(HOOKS_OBJS:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_BINS:=.d) $(FUZZ_BINS:=.d) $(BENCH_BINS:=.d) $(BUILD)/tests/functional/flood.d $(BUILD)/doc/mkman.d

.PHONY: man
man: $(MAN) ## the manual alone

.PHONY: run
run: ## installs what the build needs, builds, and runs the daemon with conf/demo.conf
	@tests/deps build run
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@conf/run-demo $(BUILD)/usherd conf/demo.conf

##@ Test
.PHONY: check
check: ## installs what the tests need, builds, runs all tests
	@tests/deps build test $$(test "$$(id -u)" != 0 || echo boot)
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-bins
	@PYTHON='$(PYTHON)' tests/run $(BUILD) unit functional boot

.PHONY: test
test: ## the tests that need no root, no network and no other programs (only check and python3-pytest)
	@tests/deps --need unit
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-bins
	@PYTHON='$(PYTHON)' PYTEST_ARGS="$(PYTEST_ARGS) -m 'not programs and not root and not heavy'" tests/run $(BUILD) unit functional

.PHONY: unit-bins
unit-bins: $(UNIT_BINS) $(TEST_HELPERS) # and what the functional tests need besides the daemon

.PHONY: unit
unit: unit-bins ## the unit tests
	@tests/run $(BUILD) unit

.PHONY: functional
functional: all hooks ## the functional tests; PYTEST_ARGS='-k reload' picks some
	@PYTHON='$(PYTHON)' tests/run $(BUILD) functional

.PHONY: check-boot
check-boot: ## the tests in a Debian that really boots, with the package installed; needs root
	@tests/deps build boot
	@PYTHON='$(PYTHON)' tests/run $(BUILD) boot

.PHONY: bench-bins
bench-bins: $(BENCH_BINS) ## what makes the load of a benchmark, and measures of single parts

# PUBLISH=1 puts the outcome where README.md shows it
BENCH = tests/bench/bench $(if $(QUICK),--quick) $(if $(WORK),--work $(WORK)) $(if $(PEERS),--peers $(PEERS)) \
	$(if $(PUBLISH),--into doc/bench --readme README.md)
.PHONY: bench bench-one bench-needs
bench-needs:
	@tests/deps build bench
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/usherd bench-bins
bench: bench-needs ## usherd beside HAProxy, nginx, stunnel and others, in 25 minutes; QUICK=1 in 3
	@$(BENCH)
bench-one: bench-needs ## WORK=request,connection alone, of those that `tests/bench/bench --list` names; PEERS=haproxy
	@$(if $(WORK),$(BENCH),echo 'bench-one: say which: make bench-one WORK=request' >&2; exit 64)

.PHONY: fuzz fuzz-bins
fuzz-bins: $(FUZZ_BINS)
fuzz: ## every fuzz target for FUZZ_SECONDS (20)
	@$(MAKE) --no-print-directory -j$(JOBS) FUZZ=1 fuzz-bins
	@tests/fuzz/run build/fuzz/tests/fuzz

##@ Lint
.PHONY: lint lint-format lint-tidy lint-cppcheck lint-roles lint-includes lint-headers lint-length lint-shell lint-man lint-units
LINT_PARTS := lint-format lint-includes lint-headers lint-length lint-shell lint-man lint-units lint-roles lint-cppcheck lint-tidy
lint: ## everything below, in parallel
	@tests/deps build lint
	@$(MAKE) --no-print-directory -k -j$(JOBS) --output-sync=target $(LINT_PARTS)
	@echo "lint: nothing to complain about"

SRC_C = $(sort $(wildcard src/*.c src/*/*.c))
SRC_H = $(sort $(wildcard src/*/*.h))
OTHER_C = $(sort $(wildcard tests/unit/*.h tests/unit/*/*.[ch] tests/fuzz/*.[ch] tests/bench/*.[ch] tests/functional/*.[ch] doc/*.[ch]))
# clang knows what gcc does not, and less of what gcc warns of
CLANG_FLAGS = $(USHER_CPPFLAGS) -std=gnu11 -pthread -Wall -Wextra -Wno-unknown-warning-option $(PKG_CFLAGS)

lint-format: ## the format of C files (clang-format)
	@clang-format --dry-run --Werror $(SRC_C) $(SRC_H) $(OTHER_C) \
		|| { echo "lint-format: make format puts it right" >&2; exit 1; }

.PHONY: format
format: ## puts C files into the format
	clang-format -i $(SRC_C) $(SRC_H) $(OTHER_C)

lint-tidy: $(SRC_C:%.c=$(BUILD)/lint/%.tidy) ## clang-tidy and the analyzer, by .clang-tidy

$(BUILD)/lint/%.tidy: %.c .clang-tidy $(SRC_H)
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(CLANG_FLAGS) 2>$@.err >$@.out \
		|| { cat $@.out; grep -v 'warnings generated' $@.err; \
		echo "lint-tidy: $<: mend what it names; a false alarm gets // NOLINT(check-name) with a reason" >&2; exit 1; }
	@touch $@

lint-cppcheck: ## cppcheck
	@mkdir -p $(BUILD)/lint
	@cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --std=c11 -j$(JOBS) \
		--suppress=missingIncludeSystem --suppress=unmatchedSuppression --suppress=readdirCalled --library=posix -Isrc -D__GNUC__ \
		'-DUSHER_VERSION=""' '-DUSHER_CONFIG_FILE=""' src \
		|| { echo "lint-cppcheck: mend what it names; a false alarm gets // cppcheck-suppress NAME" >&2; exit 1; }

lint-roles: ## which thread may call what (clang's thread-safety analysis over base/role.h)
	@clang $(CLANG_FLAGS) -fsyntax-only -Wthread-safety -Werror $(SRC_C) \
		|| { echo "lint-roles: a function is called from a thread whose role it does not have; see src/base/role.h" >&2; exit 1; }

lint-includes: ## which folder may include which (tests/lint/includes)
	@$(PYTHON) -B tests/lint/includes src
	@tests/lint/test_includes

lint-headers: ## every header compiles alone
	@clang $(CLANG_FLAGS) -Werror -Wno-unused-function -fsyntax-only -x c $(SRC_H) \
		|| { echo "lint-headers: a header must include what it uses" >&2; exit 1; }

lint-length: ## files of at most 600 lines, functions of at most 80
	@tests/lint/length 600 80 $(SRC_C) $(SRC_H)

lint-shell: ## shellcheck over every shell script
	@find . \( -name .git -o -name build -o -name corpus \) -prune -o -type f -size -200k \
		-exec awk 'FNR == 1 && /^#!.*(bash|\/sh|env sh)/ { print FILENAME } { nextfile }' {} + | xargs -r shellcheck

lint-man: $(MAN) ## the manual (mandoc -T lint)
	@$(if $(MAN),mandoc -T lint -W warning $(MAN))

lint-units: $(BUILD)/usherd ## the units (systemd-analyze): that they are right, and how much they shut out
	@tests/lint/units $(BUILD)/usherd $(BUILD)/lint/units

##@ Install
.PHONY: install
install: all ## into DESTDIR, under prefix (/usr/local); a configuration that is there already stays
	$(INSTALL) -D -m 0755 $(BUILD)/usherd $(DESTDIR)$(sbindir)/usherd
	@for page in $(filter %.8,$(MAN)); do set -x; \
		$(INSTALL) -D -m 0644 $$page $(DESTDIR)$(mandir)/man8/$${page##*/} || exit 1; done
	@for page in $(filter %.5,$(MAN)); do set -x; \
		$(INSTALL) -D -m 0644 $$page $(DESTDIR)$(mandir)/man5/$${page##*/} || exit 1; done
	@for file in $(wildcard README.md LICENSE doc/*.md); do set -x; \
		$(INSTALL) -D -m 0644 $$file $(DESTDIR)$(docdir)/$${file##*/} || exit 1; done
	@for unit in $(UNITS) $(SOCKET_UNITS); do set -x; \
		$(INSTALL) -D -m 0644 $$unit $(DESTDIR)$(unitdir)/$${unit##*/} || exit 1; done
	@for file in $(wildcard systemd/examples/*) conf/demo.conf; do set -x; \
		$(INSTALL) -D -m 0644 $$file $(DESTDIR)$(docdir)/examples/$${file##*/} || exit 1; done
	$(INSTALL) -D -m 0644 systemd/usher.sysusers $(DESTDIR)$(sysusersdir)/usher.conf
	$(INSTALL) -D -m 0644 systemd/usher.tmpfiles $(DESTDIR)$(tmpfilesdir)/usher.conf
	$(INSTALL) -d $(DESTDIR)$(sysconfdir)/usher/tls # tmpfiles.d/usher.conf says whose it is
	$(INSTALL) -D -m 0644 systemd/usher.catalog $(DESTDIR)$(catalogdir)/usher.catalog
	@if [ -e $(DESTDIR)$(sysconfdir)/usher/usherd.conf ]; then \
		echo "keeping $(DESTDIR)$(sysconfdir)/usher/usherd.conf"; \
	else set -x; \
		$(INSTALL) -D -m 0644 conf/usherd.conf $(DESTDIR)$(sysconfdir)/usher/usherd.conf; fi

.PHONY: deb lint-deb
deb: ## the Debian packages, in build/deb (DEB_BUILD_OPTIONS=nocheck leaves their tests out)
	@tests/deps build deb unit
	@tests/package/build $(BUILD)/deb

lint-deb: $(filter deb,$(MAKECMDGOALS)) ## lintian and blhc, of what make deb has built
	@tests/package/lint $(BUILD)/deb

.PHONY: clean
clean: ## removes build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "Variables: CC CFLAGS CPPFLAGS LDFLAGS prefix DESTDIR SAN V=1 WERROR=-Werror JOBS PYTEST_ARGS FUZZ_SECONDS QUICK=1 WORK PEERS PUBLISH=1"
