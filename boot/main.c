/* SPDX-License-Identifier: MIT */
/*
 * main.c - the composition root: what comes up, in which order
 *
 * Reading kmain() is reading the table of contents of the kernel.
 */
#include "arch/clock.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "boot/boot.h"
#include "boot/hostile.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/ksm/ksm.h"
#include "tests/run/tests.h"

void kmain(uint32_t magic, uint32_t info);

/* Below, what needs threads: runs as the first of them. */
static void main_thread(void *arg)
{
	struct boot_info *info = arg;

	boot_other_cpus();
	hostile_phase("CPUs");
	boot_devices(info);
	exit_machine((enum exit_value)tests_main(info->cmdline));
}

static const char *asked(void)
{
	return serial_break() ? "asked by a break and an NMI" : NULL;
}

void kmain(uint32_t magic, uint32_t info_pa)
{
	static struct boot_info info;

	trap_init();
	cpu_init(0, 0);
	boot_console();
	panic_set_exit(boot_panicked);
	panic_set_request(asked);
	panic_init();

	boot_memory(magic, info_pa, &info);
	hostile_phase("memory");
	boot_interrupts();
	hostile_phase("interrupts");
	mm_init();
	ksm_init();
	thread_init();
	hostile_phase("threads");
	thread_create("main", main_thread, &info);
	thread_idle_forever();
}
