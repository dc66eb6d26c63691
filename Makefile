# mailfs: build, test, install.
#
#   make              programs into $(BUILD)/bin
#   make check        every suite (needs root; under 15 minutes on two cores)
#   make bench        how fast it is, beside native ext4, bindfs, an empty FUSE server, Gluster, rsync and others (20 minutes)
#   make killpoints   the daemons killed at every durable write of a scenario (about 40 minutes)
#   make faultpoints  the same, and each write fails instead: no room, an error, half of it (over an hour)
#   make torture      SEEDS=n: so many more seeds of the simulation; ROUNDS=n: two nodes under load
#   make torture-seed a node is filled with 200,000 messages while mail flows and the link is cut
#   make mutants      the deliberate faults that the simulation must find, as a table
#   make rules        rules of the design taken out of the real code, one at a time: their tests must fail (7 minutes)
#   make demo         two mail servers on this machine, sharing their mailboxes
#   make lint         formatting, static analysis, layers
#   make install      honours DESTDIR and PREFIX
#   make deps         installs what the above need on Debian 12 and 13
#
# Options: BUILD=dir  WERROR=1  SAN=1 (ASan and UBSan, into build-asan)  CC=clang  V=1
#
# A folder's *.c are picked up by name, so that a new file needs no line here:
#   lib/X/*.c           -> $(BUILD)/lib/libX.a
#   lib/wire/*.proto    -> $(BUILD)/gen/wire/*.pb-c.[ch], part of libwire.a
#   mailfs|syncd|tools  -> main.c is the program, the rest an archive that tests link too
#   tests/K/test_*.c    -> one program each, linked with tests/K/'s other *.c (same for bench_,
#                          fuzz_, torture_, tool_)
#   tests/K/stubs_X.c   -> in place of what K's test_X.c and test_X_*.c would take from an archive

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

SAN ?=
FUZZ ?=
WERROR ?=
V ?=
ifneq ($(filter 1,$(SAN)),)
BUILD ?= build-asan
else ifneq ($(filter 1,$(FUZZ)),)
BUILD ?= build-fuzz
else
BUILD ?= build
endif

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/mailfs
UNITDIR = $(PREFIX)/lib/systemd/system

ifeq ($(origin CC),default)
CC = gcc
endif
AR = ar
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
INSTALL ?= install

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(2)')

# --- flags -------------------------------------------------------------------------------

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
       -Wpointer-arith -Wwrite-strings -Wvla -Wno-unused-parameter \
       $(if $(filter 1,$(WERROR)),-Werror)
# A deferred-initialisation bug in a parser must not become an exploit: the usual hardening set.
HARDEN = -fstack-protector-strong -fstack-clash-protection -fPIE
HARDEN_LD = -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed
OPT = -O2 -g
ifneq ($(filter 1,$(SAN)),)
SANFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT = -O1 -g
else ifneq ($(filter 1,$(FUZZ)),)
CC = clang
SANFLAGS = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
	   -fno-omit-frame-pointer -DMAILFS_FUZZ
OPT = -O1 -g
else
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif

CFLAGS ?=
LDFLAGS ?=
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread $(OPT) $(WARN) $(HARDEN) \
	     $(SANFLAGS) -Ilib -I$(BUILD)/gen $(FOLDER_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(HARDEN_LD) $(SANFLAGS) $(LDFLAGS)

# Asked once, here; a missing package shows itself as a compiler error that names the header.
pc = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)
FUSE_CFLAGS := $(call pc,--cflags fuse3)
LIBS_mailfs := -lfuse3
LIBS_common := -levent_openssl -levent_pthreads -levent -lssl -lcrypto -lprotobuf-c -llmdb -lconfuse \
	       -ljson-c -linotifytools -lzstd -lrsync
LIBS_test := -lcmocka

# --- what there is ------------------------------------------------------------------------

# Link order: a library may use those to its right only (make lint proves the same of includes).
LIB_ORDER = net wire replica maildir conf io util
LIBDIRS = $(foreach l,$(LIB_ORDER),$(if $(wildcard lib/$(l)/*.c lib/$(l)/*.proto),$(l)))
LIBS_A = $(LIBDIRS:%=$(BUILD)/lib/lib%.a)

PROTOS := $(wildcard lib/wire/*.proto)
GEN_H = $(PROTOS:lib/wire/%.proto=$(BUILD)/gen/wire/%.pb-c.h)
GEN_C = $(GEN_H:.h=.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

PROG_mailfs = mailfs
PROG_syncd = mailfs-syncd
PROG_tools = mailfsctl
PROG_DIRS = mailfs syncd tools
prog_rest = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c $(1)/*/*.c))
PROGS = $(foreach d,$(PROG_DIRS),$(if $(wildcard $(d)/main.c),$(BUILD)/bin/$(PROG_$(d))))
PROG_AR = $(foreach d,$(PROG_DIRS),$(if $(call prog_rest,$(d)),$(BUILD)/lib/prog_$(d).a))

TEST_KINDS = unit sim posix nodes faults torture bench lab
TEST_PREFIX = test_ bench_ torture_ tool_
test_mains = $(sort $(foreach p,$(TEST_PREFIX),$(wildcard tests/$(1)/$(p)*.c)))
test_stubs = $(wildcard tests/$(1)/stubs_*.c)
test_helpers = $(filter-out $(call test_mains,$(1)) $(call test_stubs,$(1)),$(wildcard tests/$(1)/*.c))
test_bins = $(patsubst tests/%.c,$(BUILD)/tests/%,$(call test_mains,$(1)))
TEST_BINS = $(foreach k,$(TEST_KINDS),$(call test_bins,$(k)))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_HELPERS = $(filter-out $(FUZZ_SRC),$(wildcard tests/fuzz/*.c))
FUZZ_BINS = $(FUZZ_SRC:tests/%.c=$(BUILD)/tests/%)

ALL_SRC := $(sort $(wildcard lib/*/*.c mailfs/*.c mailfs/*/*.c syncd/*.c syncd/*/*.c tools/*.c \
	   tools/*/*.c tests/*/*.c))
ALL_HDR := $(sort $(wildcard lib/*/*.h mailfs/*.h mailfs/*/*.h syncd/*.h syncd/*/*.h tools/*.h \
	   tools/*/*.h tests/*/*.h))

.PHONY: all programs tests deps check demo unit sim posix nodes lint fuzz fuzz-bins torture killpoints faultpoints \
	bench mutants rules torture-seed format install clean print-%

all: programs

programs: $(PROGS) $(LIBS_A) $(PROG_AR)
tests: $(TEST_BINS)

# --- compiling -----------------------------------------------------------------------------

# Only the folders that may see a foreign header get its include path.
$(BUILD)/obj/mailfs/%.o: FOLDER_CFLAGS = $(FUSE_CFLAGS)
$(BUILD)/obj/tests/%.o: FOLDER_CFLAGS = -I. $(FUSE_CFLAGS)

$(BUILD)/obj/%.o: %.c | $(GEN_H)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# protoc-c's output is not ours to keep free of warnings.
$(BUILD)/obj/gen/wire/%.pb-c.o: $(BUILD)/gen/wire/%.pb-c.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -w -MMD -MP -c -o $@ $<

$(BUILD)/gen/wire/%.pb-c.c $(BUILD)/gen/wire/%.pb-c.h &: lib/wire/%.proto
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(BUILD)/gen/wire
	$(Q)$(PROTOC_C) --proto_path=lib/wire --c_out=$(BUILD)/gen/wire $<

# --- libraries -----------------------------------------------------------------------------

define ARCHIVE
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^
endef

define LIB_RULE
$(BUILD)/lib/lib$(1).a: $(call obj,$(wildcard lib/$(1)/*.c)) \
	$(if $(filter wire,$(1)),$(GEN_C:$(BUILD)/gen/%.c=$(BUILD)/obj/gen/%.o))
	$$(ARCHIVE)
endef
$(foreach l,$(LIBDIRS),$(eval $(call LIB_RULE,$(l))))

define PROG_RULE
$(BUILD)/lib/prog_$(1).a: $(call obj,$(call prog_rest,$(1)))
	$$(ARCHIVE)
$(BUILD)/bin/$(PROG_$(1)): $(call obj,$(1)/main.c) \
	$(if $(call prog_rest,$(1)),$(BUILD)/lib/prog_$(1).a) $(LIBS_A)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIBS_$(1)) $$(LIBS_common)
endef
$(foreach d,$(PROG_DIRS),$(eval $(call PROG_RULE,$(d))))

# --- test programs --------------------------------------------------------------------------

# Archives, so that a test takes in only what it refers to; the folder's own comes first.
test_ar = $(if $(call test_helpers,$(1)),$(BUILD)/lib/tests_$(1).a)
define TEST_RULE
$(BUILD)/lib/tests_$(1).a: $(call obj,$(call test_helpers,$(1)))
	$$(ARCHIVE)
$(BUILD)/tests/$(1)/%: $(BUILD)/obj/tests/$(1)/%.o $(call test_ar,$(1)) $(PROG_AR) $(LIBS_A)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(LIBS_test) \
		$$(LIBS_mailfs) $$(LIBS_common)
endef
$(foreach k,$(TEST_KINDS),$(eval $(call TEST_RULE,$(k))))

# Stubs are in no archive: a test of something else would take them for what they stand for.
stubbed = $(addprefix $(BUILD)/tests/$(1)/,$(patsubst stubs_%,test_%,$(2)) $(patsubst stubs_%,test_%_%,$(2)))
define STUBS_RULE
$(filter $(call stubbed,$(1),$(basename $(notdir $(2)))),$(call test_bins,$(1))): $(call obj,$(2))
endef
$(foreach k,$(TEST_KINDS),$(foreach s,$(call test_stubs,$(k)),$(eval $(call STUBS_RULE,$(k),$(s)))))

# What the targets take from the programs, which are not all built once more for it.
FUZZ_OF_PROGS = syncd/delta.c
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(call obj,$(FUZZ_HELPERS) $(FUZZ_OF_PROGS)) $(LIBS_A)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS_mailfs) $(LIBS_common)

fuzz-bins: $(FUZZ_BINS)

unit sim posix nodes: programs
	@$(MAKE) --no-print-directory tests
	tests/run --build $(BUILD) $@

# --- everything -----------------------------------------------------------------------------

deps:
	scripts/install-deps

# deps first and on its own: nothing below compiles before it.
check: deps
	tests/run all

demo: deps
	@$(MAKE) --no-print-directory all tests
	scripts/demo --build $(BUILD)

lint:
	scripts/lint

# FUZZ_SECONDS per target; the corpus grows in build-fuzz/corpus.
FUZZ_SECONDS ?= 600
fuzz: deps
	tests/run --fuzz-seconds $(FUZZ_SECONDS) fuzz

# killpoints: each daemon killed before and after every durable write of a scenario (about 40 minutes)
# faultpoints: each of them fails, once, with ENOSPC, with EIO, and each write is done by half
killpoints faultpoints: deps
	@$(MAKE) --no-print-directory all tests
	tests/run --build $(BUILD) $@

# SEEDS=n: the simulation on n further seeds, from SEED on; else (ROUNDS=n) the lab.
SEED ?= 100001
torture: deps
	@$(MAKE) --no-print-directory all tests
ifneq ($(SEEDS),)
	tests/run --build $(BUILD) --seed $(SEED) --seeds $(SEEDS) seeds
else
	ROUNDS='$(ROUNDS)' tests/run --build $(BUILD) torture
endif

# MESSAGES=200000 CUTS=10: a node is filled while mail flows and the link is cut
torture-seed: deps
	@$(MAKE) --no-print-directory all tests
	LAB_BIN='$(abspath $(BUILD))/bin' python3 tests/torture/seed.py

mutants: deps
	@$(MAKE) --no-print-directory tests
	tests/run --build $(BUILD) mutants

# each patch of tests/rules in a copy of the tree; tests/rules/run NAME: one of them
rules: deps
	@$(MAKE) --no-print-directory all tests
	tests/run --build $(BUILD) $@

# ROUNDS=5 SCALE=1 PARTS=... ONLY=... JSON=file PLOT=file.png: see tests/bench/run. A peer that cannot be
# installed is skipped.
bench: deps
	@$(MAKE) --no-print-directory all tests
	-scripts/install-deps bench $(if $(PLOT),plot)
	tests/bench/run --build $(BUILD)

format:
	clang-format -i $(ALL_SRC) $(ALL_HDR)

# --- installing -----------------------------------------------------------------------------

# Files of packaging/ and docs/man that do not exist (yet) are no error: each line asks.
inst = $(if $(strip $(2)),$(INSTALL) -d '$(DESTDIR)$(3)' && $(INSTALL) -m $(1) $(2) '$(DESTDIR)$(3)',@:)

install: programs
	$(call inst,755,$(filter %/mailfs %/mailfs-syncd,$(PROGS)),$(SBINDIR))
	$(call inst,755,$(filter %/mailfsctl,$(PROGS)),$(BINDIR))
	$(call inst,644,$(wildcard docs/man/*.1),$(MANDIR)/man1)
	$(call inst,644,$(wildcard docs/man/*.5),$(MANDIR)/man5)
	$(call inst,644,$(wildcard docs/man/*.8),$(MANDIR)/man8)
	$(INSTALL) -d '$(DESTDIR)$(UNITDIR)'
	@set -e; for f in packaging/systemd/*.service; do \
		sed 's,/usr/sbin/,$(SBINDIR)/,' "$$f" > '$(DESTDIR)$(UNITDIR)'/"$${f##*/}"; \
		chmod 644 '$(DESTDIR)$(UNITDIR)'/"$${f##*/}"; done
	$(call inst,644,$(wildcard README.md CHANGELOG.md docs/*.md),$(DOCDIR))
	@set -e; for f in $$(find packaging/examples -type f 2>/dev/null); do \
		d="$(DESTDIR)$(DOCDIR)/examples/$$(dirname "$${f#packaging/examples/}")"; \
		$(INSTALL) -d "$$d"; $(INSTALL) -m 644 "$$f" "$$d"; done

clean:
	rm -rf build build-asan build-fuzz

# For scripts: make -s print-ALL_SRC
print-%:
	@echo $($*)

.SECONDARY:
-include $(ALL_SRC:%.c=$(BUILD)/obj/%.d)
