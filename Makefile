# SPDX-License-Identifier: MIT
# usher's build. `make help` lists the targets.

CC ?= cc
CFLAGS ?= -O2 -g
CPPFLAGS ?=
LDFLAGS ?=
INSTALL ?= install
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3

prefix ?= /usr/local
sbindir ?= $(prefix)/sbin
sysconfdir ?= $(if $(filter /usr,$(prefix)),/etc,$(prefix)/etc)
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/usher

VERSION := 0.1.0

# SAN=address,undefined or SAN=thread builds beside the normal build
SAN ?=
comma := ,
BUILD := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

ifeq ($(V),1)
Q :=
else
Q := @
endif

PKGS := libconfig libsystemd libcares
# asked only when something is compiled, so that a machine without pkg-config can still run the targets that install it
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(PKGS)))$(PKG_LIBS)
CHECK_LIBS = $(eval CHECK_LIBS := $$(shell $(PKG_CONFIG) --libs check))$(CHECK_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wnull-dereference
WERROR ?=
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined))

# the packager's flags come last
USHER_CPPFLAGS = -Isrc -D_GNU_SOURCE -DUSHER_VERSION='"$(VERSION)"' -DUSHER_CONFIG_FILE='"$(sysconfdir)/usher/usherd.conf"'
USHER_CFLAGS = -std=gnu11 -pthread $(WARNINGS) $(WERROR) $(SAN_FLAGS) $(PKG_CFLAGS)
USHER_LDFLAGS = -pthread $(SAN_FLAGS)

LIB_SRCS := $(sort $(wildcard src/*/*.c))
LIB_SRCS := $(filter-out src/ctl/%,$(LIB_SRCS))
LIB_OBJS := $(LIB_SRCS:%.c=$(BUILD)/%.o)
MAIN_OBJ := $(BUILD)/src/main.o
UNIT_SRCS := $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BINS := $(UNIT_SRCS:%.c=$(BUILD)/%)

.DEFAULT_GOAL := all
.PHONY: all
all: $(BUILD)/usherd

$(BUILD)/usherd: $(MAIN_OBJ) $(BUILD)/libusher.a
	@echo "  LD      $@"
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(BUILD)/libusher.a: $(LIB_OBJS)
	@echo "  AR      $@"
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $@"
	$(Q)$(CC) $(USHER_CPPFLAGS) $(CPPFLAGS) $(USHER_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libusher.a
	@echo "  LD      $@"
	$(Q)$(CC) $(USHER_LDFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS) $(LDLIBS)

-include $(LIB_OBJS:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_BINS:=.d)

.PHONY: unit
unit: $(UNIT_BINS)
	@for t in $(UNIT_BINS); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build
