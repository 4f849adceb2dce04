/* SPDX-License-Identifier: MIT */
/*
 * boot.h - the steps of kmain() that need a page of their own
 */
#pragma once

#include "boot/multiboot.h"
#include "drivers/exitport.h"
#include "drivers/serial.h"
#include "kernel/thread.h"
#include "mm/mm.h"

/* Memory: the loader's map, frames, final kernel tables.  Or a refusal. */
void boot_memory(pa_t info_pa, struct boot_info *info);

/* Local APIC and clock of the boot CPU. */
void boot_interrupts(struct boot_info *info);

/* Every other CPU of the MADT.  Context: a thread. */
void boot_other_cpus(struct boot_info *info);

/* What sits on the PCI bus, and what its IOMMU does.  Context: a thread. */
void boot_devices(const struct boot_info *info);

/* The end of a run that panicked. */
void boot_panicked(void);
