# SPDX-License-Identifier: MIT
# visavis: make alone prints the targets

O	?= build
CC	:= $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
V	?= 0
RELEASE	?= 0
Q	:= $(if $(filter 1,$(V)),,@)
# One line for each thing made; none where V=1 shows commands or -s wants silence.
SAY	:= $(if $(Q),$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,echo))

# What would be built is not what was asked for: say so before it is.
ONE_OF	= $(if $(filter-out $(2),$($(1)))$(filter-out 1,$(words $($(1)))),$(error \
	  $(1)=$($(1)) is not one of $(2)))
$(call ONE_OF,V,0 1)
$(call ONE_OF,RELEASE,0 1)
ifneq ($(filter-out help doctor clean,$(MAKECMDGOALS)),)
$(if $(shell command -v $(firstword $(CC))),,$(error CC=$(CC): there is no such \
  compiler; `make doctor` names the package))
endif

LAYERS	:= arch kernel mm drivers iommu tests boot
OUT	:= $(O)/$(if $(filter 1,$(RELEASE)),release,check)$(patsubst %,-%,$(notdir \
	   $(filter-out gcc,$(lastword $(CC)))))
KERNEL	:= $(OUT)/visavis.elf

CFLAGS	:= -std=gnu11 -ffreestanding -O2 -g -Wall -Wextra -Werror \
	   -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
	   -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic \
	   -fno-stack-protector -fno-omit-frame-pointer \
	   -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-common \
	   -I. -DCONFIG_CHECK=$(if $(filter 1,$(RELEASE)),0,1)
LDFLAGS	:= -nostdlib -static -z max-page-size=4096 -z noexecstack \
	   --no-warn-rwx-segments -T linker.ld

C_SRC	:= $(wildcard $(LAYERS:%=%/*.c))
S_SRC	:= $(wildcard $(LAYERS:%=%/*.asm))
OBJ	:= $(C_SRC:%=$(OUT)/%.o) $(S_SRC:%=$(OUT)/%.o)

#: make run    boot in QEMU, run the suite; T= SMP= MEM= MODE= BOOT= SEED= DEVICES= QEMU= APPEND=
#: make test   what CI runs: every boot path, 1 and 4 CPUs, host tests, checks
#: make shell  a prompt on the serial line: `help` lists its commands
#: make list   one suite.test a line with its claim
#: make bench  one line a figure: name value unit (RELEASE=0: the checking build)
#: make stress 2,000,000 operations against the models, on 4 CPUs in parallel; STRESS=10: times
#: make stress-shrink  T=stress.TEST SEED= SMP= MODE=: the few operations that fail
#: make mutants  break the kernel line by line; the suite must fail each time
#: make check  format, layers, headers, sizes
#: make debug  the machine stopped, gdb attached, k-pt k-page k-threads k-lock k-trace
#: make doctor what is installed, what is missing
#: make all, iso, compdb (compile_commands.json in build/), host-test, gdb-test, shell-test, test-quick, fmt, clean
help:
	@sed -n 's/^#: //p' Makefile

all: $(KERNEL)

$(OUT)/%.c.o: %.c Makefile
	@mkdir -p $(@D)
	@$(if $(SAY),$(SAY) "  CC    $<")
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.asm.o: %.asm Makefile
	@mkdir -p $(@D)
	@$(if $(SAY),$(SAY) "  NASM  $<")
	$(Q)nasm -f elf64 -g -MD $(@:.o=.d) -MT $@ $< -o $@

# Twice: the second image carries the symbols of the first (kernel/ksym.h).
$(OUT)/first.elf: $(OBJ) linker.ld
	$(Q)ld $(LDFLAGS) $(OBJ) -o $@

$(OUT)/ksyms.c: $(OUT)/first.elf tools/ksyms
	$(Q)nm -n $< | sh tools/ksyms > $@

$(KERNEL): $(OBJ) $(OUT)/ksyms.c linker.ld
	$(Q)$(CC) $(CFLAGS) -c $(OUT)/ksyms.c -o $(OUT)/ksyms.o
	@$(if $(SAY),$(SAY) "  LD    $@")
	$(Q)ld $(LDFLAGS) $(OBJ) $(OUT)/ksyms.o -o $@

-include $(C_SRC:%=$(OUT)/%.d) $(S_SRC:%=$(OUT)/%.d)

ISO	:= $(O)/visavis.iso
# Of the environment, what is a setting; of make's own arguments, all: a name
# that is nearly a setting would silently do nothing, and tools/run says so.
OURS	:= O CC LD V RELEASE CI M TRIES STRESS
GIVEN	:= $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
SET	= $(foreach v,$(sort MODE BOOT SMP MEM T SEED APPEND QEMU CPU DEVICES DISK JUNIT \
	  $(filter-out $(OURS) -*% MAKE%,$(GIVEN))),$(if $($(v)),'$(v)=$($(v))'))

run: all $(if $(filter iso,$(BOOT)),iso)
	@tools/run $(SET) KERNEL=$(KERNEL) ISO=$(ISO)

shell: all $(if $(filter iso,$(BOOT)),iso)
	@tools/shell $(SET) KERNEL=$(KERNEL) ISO=$(ISO)

test-quick: all
	@tools/run $(SET) APPEND=quick KERNEL=$(KERNEL)

list:
	@$(MAKE) -s >&2 all
	@tools/run APPEND=list KERNEL=$(KERNEL) QEMU=$(QEMU) | grep '\.'

iso: $(ISO)
$(ISO): $(KERNEL) boot/grub.cfg
	@rm -rf $(O)/iso && mkdir -p $(O)/iso/boot/grub
	@cp $(KERNEL) $(O)/iso/boot/visavis.elf
	@cp boot/grub.cfg $(O)/iso/boot/grub/grub.cfg
	@$(if $(CI),touch $(O)/iso/boot/auto)
	@grub-file --is-x86-multiboot $(KERNEL)
	@grub-mkrescue -o $@ $(O)/iso >/dev/null 2>$(O)/iso.log || \
		{ cat $(O)/iso.log; exit 1; }

bench:
	@$(MAKE) -s >&2 all RELEASE=$(if $(filter 0,$(RELEASE)),$(if $(filter command%,$(origin RELEASE)),0,1),1)
	@tools/bench $(O)/$(if $(and $(filter command%,$(origin RELEASE)),$(filter 0,$(RELEASE))),check,release)/visavis.elf '$(T)'

# On the host, under the sanitizers: the parsers of what others claim, and what
# can be compared with the host's libc or with a list.  SEED= as in make run.
HOST	:= $(O)/host
HOST_CFLAGS := -std=gnu11 -g -O1 -Wall -Wextra -Werror -Wno-unused-parameter \
	   -fsanitize=address,undefined -fno-sanitize-recover -I. -DCONFIG_CHECK=1
STRING	:= memcpy memmove memset memcmp strlen strcmp strncmp strchr
fuzz_firmware := boot/multiboot drivers/acpi iommu/ivrs kernel/string
fuzz_text := kernel/printk kernel/string
fuzz_itree := kernel/itree
HOST_TESTS := fuzz_firmware fuzz_text fuzz_itree

$(HOST)/%.o: %.c Makefile
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
	@tools/test

# What is given on make's command line comes last, and wins.
STRESS	?= 10
stress: all
	@tools/run SMP=4 MODE=mttcg T='stress.*' LIMIT=7200 $(SET) \
		APPEND='$(strip stress=$(STRESS) $(APPEND))' KERNEL=$(KERNEL)

stress-shrink: all
	@tools/shrink $(SET) KERNEL=$(KERNEL) $(if $(TRIES),TRIES=$(TRIES))

check:
	@tools/check

mutants:
	@tools/mutants $(M)

doctor:
	@tools/doctor

fmt:
	clang-format -i $(wildcard $(LAYERS:%=%/*.[ch]))

compdb:
	@mkdir -p $(O)
	@$(MAKE) -s -Bn V=1 all host-test | tools/compdb > $(O)/compile_commands.json

debug: all
	@tools/debug $(KERNEL)

gdb-test: all
	@SMP=2 MEM=512M T='cow.*' APPEND= \
		timeout 60 tools/debug $(KERNEL) -nx -batch -x tools/gdb/check.py

clean:
	rm -rf $(O)

# Talks to make shell through a pipe; SMP= MODE= MEM=.
shell-test: all
	@tools/shell_test $(SET) KERNEL=$(KERNEL)

.PHONY: help all run shell shell-test test test-quick list iso bench check mutants doctor fmt
.PHONY: debug clean compdb host-test gdb-test stress stress-shrink
.DELETE_ON_ERROR:
