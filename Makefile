# SPDX-License-Identifier: MIT
# visavis: make alone prints the targets

# A setting stands on the command line; tools/settings.py knows which targets it is for.
O	:= build
CC	:= $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
V	?= 0
SAN	:=
# Figures are of the release build unless said otherwise.
RELEASE	?= $(if $(filter bench,$(MAKECMDGOALS)),1,0)
GIVEN	:= $(filter-out -*% MAKE%,$(foreach v,$(.VARIABLES),$(if $(filter \
	   command,$(firstword $(origin $(v)))),$(v))))
SET	:= $(foreach v,$(GIVEN),'$(v)=$(subst ','\'',$(value $(v)))')
ifneq ($(GIVEN),)
WRONG	:= $(shell tools/settings.py check '$(MAKECMDGOALS)' $(SET))
$(if $(WRONG),$(error $(WRONG)))
endif

# They are of this make alone: a tool that calls make names those that it means.
MAKEOVERRIDES :=

Q	:= $(if $(filter 1,$(V)),,@)
# One line for each thing made; none where V=1 shows commands or -s wants silence.
SAY	:= $(if $(Q),$(if $(findstring s,$(firstword -$(MAKEFLAGS))),:,echo >&2),:)
# As many jobs as CPUs unless -j says otherwise; targets in their order: make clean all.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS))$(word 2,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif

ifneq ($(filter-out help doctor clean,$(MAKECMDGOALS)),)
$(if $(shell command -v $(firstword $(CC))),,$(error CC=$(CC): there is no such \
  compiler; `make doctor` names the package))
endif
# Only a folder that make made is built in, or removed: it has this file.
MARK	:= $(O)/.visavis
ifneq ($(O),build)
$(if $(filter-out 1,$(words $(O))),$(error O=$(O): a path without spaces))
$(if $(wildcard $(MARK)),,$(if $(wildcard $(O)/* $(O)/.[!.]*),$(error O=$(O) is a folder \
  with other files in it: name a new one)))
endif

LAYERS	:= arch kernel mm drivers iommu tests boot
OUT	:= $(O)/$(if $(filter 1,$(RELEASE)),release,check)$(patsubst %,-%,$(notdir \
	   $(filter-out gcc,$(lastword $(CC)))))$(SAN:%=-%)
KERNEL	:= $(OUT)/visavis.elf

CFLAGS	:= -std=gnu11 -ffreestanding -O2 -g -Wall -Wextra -Werror \
	   -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
	   -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic \
	   -fno-stack-protector -fno-omit-frame-pointer \
	   -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-common \
	   -ffile-prefix-map=$(CURDIR)=. -fmacro-prefix-map=./= \
	   -I. -DCONFIG_CHECK=$(if $(filter 1,$(RELEASE)),0,1) -DCONFIG_SAN=$(if $(SAN),1,0) \
	   -DCONFIG_KASAN=$(if $(filter kasan,$(SAN)),1,0) -DCONFIG_KCSAN=$(if $(filter kcsan,$(SAN)),1,0)
LDFLAGS	:= -nostdlib -static -z max-page-size=4096 -z noexecstack \
	   --no-warn-rwx-segments -T linker.ld

# make run SAN=...: the compiler's instrumentation and our runtime for it.  Code that
# a report runs through is left as it is.
SAN_ubsan := -fsanitize=undefined
SAN_kcsan := -fsanitize=thread --param tsan-instrument-func-entry-exit=0 \
	   --param tsan-distinguish-volatile=1 -Wno-tsan
SAN_kasan := -fsanitize=kernel-address -fsanitize-recover=kernel-address \
	   -fasan-shadow-offset=0xdffff00000000000 --param asan-stack=1 \
	   --param asan-globals=1 --param asan-instrumentation-with-call-threshold=0
SAN_gcov := -fprofile-arcs -ftest-coverage -fprofile-info-section -fprofile-update=atomic
# Tests that look at freed memory on purpose, and the strict IOMMU, which is hardware.
SAN_BAD	:= tests/model/%.c $(addprefix tests/,scenario/sva/frames.c scenario/iommu/hostile.c \
	   scenario/notifier/device_steps.c fixture/iommu/iommu_fixture.c unit/mm/pmm.c unit/mm/pool.c)
SAN_OFF	:= kernel/san/% kernel/printk.c kernel/ksym.c drivers/serial.c drivers/console.c \
	   $(addprefix tests/explore/,footprint.c actors.c explore.c) \
	   $(if $(filter kasan,$(SAN)),mm/frame/pmm.c mm/frame/pool.c $(SAN_BAD)) \
	   $(if $(filter gcov,$(SAN)),$(addsuffix /%,$(filter-out mm iommu,$(LAYERS))))
SAN_LIB	:= $(if $(filter gcov,$(SAN)),$(shell gcc -print-file-name=libgcov.a))
SAN_SRC	:= $(if $(SAN),kernel/san/report.c kernel/san/$(SAN).c tests/san/$(SAN).c) \
	   $(if $(filter kasan,$(SAN)),mm/san/shadow.c)

# The order of the tests' folders is the order in which tests run.  Which room may
# include which: ROOMS of tools/check.
ROOMS	:= $(LAYERS) $(addsuffix /*,mm iommu drivers) $(addprefix tests/,base timeline model checker \
	   fixture/* fake unit/* scenario/* race explore stress bench shell run)
C_SRC	:= $(filter-out mm/san/%,$(wildcard $(ROOMS:%=%/*.c))) $(SAN_SRC)
S_SRC	:= $(wildcard $(ROOMS:%=%/*.asm))
OBJ	:= $(C_SRC:%=$(OUT)/%.o) $(S_SRC:%=$(OUT)/%.o)

help:
	@tools/settings.py help

all: $(KERNEL)

$(MARK):
	@mkdir -p $(O)
	@echo 'Made by the Makefile of visavis: make clean removes this folder.' > $@

# Files that change only when what they say does: who depends on them is made again
# when a flag changes, or when a source comes or goes.
STAMPED	= @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(OUT)/flags: FORCE | $(MARK)
	$(call STAMPED,$(CC) $(CFLAGS))
$(OUT)/sources: FORCE | $(MARK)
	$(call STAMPED,$(OBJ))

$(OUT)/%.c.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	@$(SAY) "  CC    $<"
	$(Q)$(CC) $(CFLAGS) $(if $(filter-out $(SAN_OFF),$<),$(SAN_$(SAN))) -MMD -MP -c $< -o $@

$(OUT)/%.asm.o: %.asm $(OUT)/flags
	@mkdir -p $(@D)
	@$(SAY) "  NASM  $<"
	$(Q)nasm -f elf64 -g $(if $(filter kasan,$(SAN)),-DCONFIG_KASAN) -MD $(@:.o=.d) -MT $@ $< -o $@

# Twice: the second image carries the symbols of the first (kernel/ksym.h).
$(OUT)/first.elf: $(OBJ) $(OUT)/sources linker.ld
	$(Q)ld $(LDFLAGS) $(OBJ) $(SAN_LIB) -o $@

VERSION	:= $(shell tools/version)
$(OUT)/version: FORCE | $(MARK)
	$(call STAMPED,$(VERSION))

$(OUT)/ksyms.c: $(OUT)/first.elf $(OUT)/version tools/ksyms
	$(Q)nm -n $< | sh tools/ksyms '$(VERSION)' > $@

$(KERNEL): $(OBJ) $(OUT)/ksyms.c linker.ld
	$(Q)$(CC) $(CFLAGS) -c $(OUT)/ksyms.c -o $(OUT)/ksyms.o
	@$(SAY) "  LD    $@"
	$(Q)ld $(LDFLAGS) $(OBJ) $(OUT)/ksyms.o $(SAN_LIB) -o $@

-include $(C_SRC:%=$(OUT)/%.d) $(S_SRC:%=$(OUT)/%.d)

run: all
	@tools/run --kernel=$(KERNEL) $(SET)

failed: all
	@tools/run --kernel=$(KERNEL) --failed $(SET)

shell: all
	@tools/shell --kernel=$(KERNEL) $(SET)

debug: all
	@tools/debug --kernel=$(KERNEL) $(SET)

test-quick: all check
	@tools/run --kernel=$(KERNEL) $(SET) APPEND='$(strip quick $(APPEND))'

list: all
	@tools/run --kernel=$(KERNEL) LOG=none APPEND=list $(filter 'T=% 'QEMU=%,$(SET)) | \
		awk '/	/ { n++; print; next } /^visavis:/ { print >"/dev/stderr" } END { exit !n }'

iso: all
	@$(SAY) "  ISO   $(OUT)/visavis.iso"
	@tools/iso $(KERNEL) $(OUT)/visavis.iso '$(strip $(if $(T),test=$(T)) \
		$(if $(SEED),seed=$(SEED)) $(APPEND))'

# The same bytes from any clean clone in any folder: without debug information, in
# which NASM puts the path.
dist: all
	@$(SAY) "  DIST  $(O)/dist"
	@rm -rf $(O)/dist && mkdir -p $(O)/dist
	@objcopy --strip-debug $(KERNEL) $(O)/dist/visavis-$(VERSION).elf
	@tools/iso $(KERNEL) $(O)/dist/visavis-$(VERSION).iso
	@cd $(O)/dist && sha256sum *.elf *.iso > SHA256SUMS && cat SHA256SUMS

bench: all
	@tools/bench --kernel=$(KERNEL) $(SET)

# On the host, under the sanitizers: the parsers of what others claim, and what
# can be compared with the host's libc or with a list.  SEED= as in make run.
HOST	:= $(O)/host
HOST_CFLAGS := -std=gnu11 -g -O1 -Wall -Wextra -Werror -Wno-unused-parameter \
	   -fsanitize=address,undefined -fno-sanitize-recover -I. -DCONFIG_CHECK=1 -DCONFIG_SAN=0 -DCONFIG_KASAN=0 -DCONFIG_KCSAN=0
STRING	:= memcpy memmove memset memcmp strlen strcmp strncmp strchr
fuzz_firmware := boot/boot_info boot/multiboot boot/multiboot2 drivers/acpi \
		 drivers/acpi_madt iommu/core/ivrs iommu/core/ivrs_ids kernel/string
read_tables := tests/host/second_ivrs drivers/acpi drivers/acpi_madt iommu/core/ivrs \
	       iommu/core/ivrs_ids kernel/string
read_maps := boot/boot_info boot/multiboot boot/multiboot2 mm/frame/memmap kernel/string
fuzz_text := kernel/printk kernel/string
fuzz_itree := kernel/itree
HOST_TESTS := fuzz_firmware read_tables read_maps fuzz_text fuzz_itree

$(HOST)/%.o: %.c Makefile | $(MARK)
	@mkdir -p $(@D)
	$(Q)gcc $(HOST_CFLAGS) -MMD -MP -c $< -o $@

# Under names of its own, or it would be the test's and the sanitizer's too.
$(HOST)/kernel/string.o: HOST_CFLAGS += -fno-builtin $(foreach f,$(STRING),-D$(f)=kernel_$(f))

.SECONDEXPANSION:
$(HOST_TESTS:%=$(HOST)/%): $(HOST)/%: $(HOST)/tests/host/%.o $$(foreach f,$$($$*),$(HOST)/$$f.o)
	$(Q)gcc $(HOST_CFLAGS) $^ -o $@

-include $(wildcard $(HOST)/*/*.d $(HOST)/*/*/*.d)

host-test: $(HOST_TESTS:%=$(HOST)/%)
	@set -e; for t in $^; do timeout 60 $$t $(SEED); done

test:
	@tools/test $(SET)

test-full:
	@tools/test full $(SET)

test-alone: all
	@tools/alone --kernel=$(KERNEL) $(SET)

# What is given on make's command line comes last, and wins.
STRESS	?= 160
stress: all
	@tools/run --kernel=$(KERNEL) SMP=4 MODE=mttcg T='stress.*' LIMIT=7200 \
		$(filter-out 'STRESS=%,$(SET)) APPEND='$(strip stress=$(STRESS) $(APPEND))'
	$(if $(T),,@tools/run --kernel=$(KERNEL) SMP=4 MODE=mttcg LIMIT=7200 \
		T=stress.steps_without_memory $(filter-out 'STRESS=%,$(SET)) \
		APPEND='$(strip stress=1200 $(APPEND))')
	$(if $(T),,@tools/run --kernel=$(KERNEL) SMP=4 MODE=mttcg LIMIT=7200 \
		T='swap_region.*,swap_device.no_write*,migrate_device.no_write*' \
		$(filter-out 'STRESS=%,$(SET)) APPEND='$(strip stress=200 $(APPEND))')
	$(if $(T),,@for seed in 2 3; do \
		tools/run --kernel=$(KERNEL) SMP=4 MODE=mttcg LIMIT=7200 T='guest.hostile*' \
			$(filter-out 'STRESS=%,$(SET)) SEED=$$seed \
			APPEND='$(strip stress=125 $(APPEND))' || exit; \
	done)

# Every order of the scenarios of suite explore, with at most two preemptions; their
# numbers are those of tests/explore/README.md.
explore: all
	@tools/run --kernel=$(KERNEL) T='explore.*' LIMIT=7200 $(filter-out 'APPEND=% 'SCHED=%,$(SET)) \
		APPEND='$(strip explore=2 $(SCHED:%=explain sched=%) $(APPEND))'
	$(if $(filter-out O V JUNIT SILENCE,$(GIVEN)),,@tools/explore_counts $(O)/run.log)

# Broken steps of mm and iommu for which a scenario of suite explore finds a wrong order.
explore-finds:
	@tools/explore_finds

stress-shrink: all
	@tools/shrink --kernel=$(KERNEL) $(SET)

check:
	@tools/check

# Exercises (labs/README.md).  make lab 5: the number is a goal too.
LAB	:= $(filter 0% 1% 2% 3% 4% 5% 6% 7% 8% 9%,$(MAKECMDGOALS))
ifneq ($(LAB),)
$(LAB): lab
	@:
endif
lab:
	@tools/lab $(LAB)
hint grade:
	@tools/lab $@

mutants:
	@tools/mutants $(patsubst 'M=%,'%,$(SET))

# The suite with counters in mm/ and iommu/, and the lines that it does not reach.
coverage:
	@tools/coverage --needs
	@$(MAKE) -s O=$(O) SAN=gcov all
	@tools/coverage --kernel=$(O)/check-gcov/visavis.elf $(SET)

doctor:
	@tools/doctor

# By hand: what outside tools do that surprised us, each with its version.
findings:
	@set -e; for f in findings/*.sh; do echo "== $$f"; sh $$f; done

fmt:
	clang-format -i $(wildcard $(ROOMS:%=%/*.[ch]) kernel/san/*.[ch] tests/san/*.[ch])

compdb: | $(MARK)
	@{ $(MAKE) -s -Bn $(SET) V=1 all host-test; for san in ubsan kasan kcsan gcov; do \
		$(MAKE) -s -Bn O=$(O) V=1 SAN=$$san all; done; } | \
		tools/compdb > $(O)/compile_commands.json

gdb-test: all
	@timeout 200 tools/debug --kernel=$(KERNEL) SMP=2 T='cow.*,sva.page_of_the_cpu*' $(SET) -- \
		-nx -batch -x tools/gdb/check.py
	@timeout 200 tools/replay_test --kernel=$(KERNEL) $(SET)

clean:
	@$(if $(wildcard $(MARK)),rm -rf $(O),[ ! -e $(O) ] || { \
		echo "make: $(O) has no file .visavis: make did not make it"; exit 1; })

# Static pages: documents, sources, and each race played step by step.
book: all
	@$(SAY) "  BOOK  $(O)/book"
	@tools/book/book.py --kernel=$(KERNEL) $(O)/book

book-test: book
	@tools/book/check.py $(O)/book

# Talks to make shell through a pipe.
shell-test: all
	@tools/shell_test --kernel=$(KERNEL) $(SET)

FORCE:
.PHONY: help all run failed shell shell-test test test-quick list iso bench check mutants doctor fmt
.PHONY: book book-test coverage findings dist test-full test-alone debug clean compdb host-test gdb-test stress
.PHONY: stress-shrink explore explore-finds lab hint grade $(LAB)
.DELETE_ON_ERROR:
