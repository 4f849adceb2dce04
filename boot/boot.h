/* SPDX-License-Identifier: MIT */
/*
 * boot.h - the steps of kmain() that need a page of their own
 */
#pragma once

#include "boot/multiboot.h"
#include "drivers/acpi_madt.h"
#include "drivers/console.h"
#include "drivers/exitport.h"
#include "drivers/serial.h"
#include "kernel/thread.h"
#include "mm/core/mm.h"

/* Serial line and screen; the first line of all output. */
void boot_console(void);

/*
 * Memory: the loader's map, frames, final kernel tables.  Or a refusal.  magic:
 * the loader's, which says by which protocol info_pa is read.
 */
void boot_memory(uint32_t magic, pa_t info_pa, struct boot_info *info);

/*
 * Read what the tables MADT, FADT and HPET say, while all of low memory can be
 * read.  spoil: as acpi_find() has it.  table: scratch memory.
 */
void interrupts_read_acpi(acpi_reader *read, const char *spoil,
			  struct acpi_table *table);

/* What the MADT says of processors and I/O APICs; empty if there is none. */
const struct acpi_madt *interrupts_madt(void);

/* Local APIC, I/O APIC and clock of the boot CPU.  Or a refusal. */
void boot_interrupts(void);

/* Every other CPU of the MADT, as many as we have room for.  A thread. */
void boot_other_cpus(void);

/* What sits on the PCI bus, and what its IOMMU does.  Context: a thread. */
void boot_devices(const struct boot_info *info);

/* One sentence, and the status that says "not this machine". */
noreturn void boot_refuse(const char *why);

/* The end of a run that panicked. */
void boot_panicked(void);
