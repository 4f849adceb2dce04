# SPDX-License-Identifier: MIT
# visavis: make alone prints the targets

O	?= build
CC	:= $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
V	?= 0
RELEASE	?= 0
Q	:= $(if $(filter 1,$(V)),,@)

LAYERS	:= arch kernel mm drivers iommu tests boot
OUT	:= $(O)/$(if $(filter 1,$(RELEASE)),release,check)$(if $(findstring clang,$(CC)),-clang)
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

help:
	@sed -n 's/^#: //p' Makefile

all: $(KERNEL)

$(OUT)/%.c.o: %.c Makefile
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.asm.o: %.asm Makefile
	@mkdir -p $(@D)
	$(if $(Q),@echo "  NASM  $<")
	$(Q)nasm -f elf64 -g -MD $(@:.o=.d) -MT $@ $< -o $@

# Twice: the second image carries the symbols of the first (kernel/ksym.h).
$(OUT)/first.elf: $(OBJ) linker.ld
	$(Q)ld $(LDFLAGS) $(OBJ) -o $@

$(OUT)/ksyms.c: $(OUT)/first.elf tools/ksyms
	$(Q)nm -n $< | sh tools/ksyms > $@

$(KERNEL): $(OBJ) $(OUT)/ksyms.c linker.ld
	$(Q)$(CC) $(CFLAGS) -c $(OUT)/ksyms.c -o $(OUT)/ksyms.o
	$(if $(Q),@echo "  LD    $@")
	$(Q)ld $(LDFLAGS) $(OBJ) $(OUT)/ksyms.o -o $@

-include $(C_SRC:%=$(OUT)/%.d) $(S_SRC:%=$(OUT)/%.d)

clean:
	rm -rf $(O)

.PHONY: help all clean
.DELETE_ON_ERROR:
