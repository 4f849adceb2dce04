/* SPDX-License-Identifier: MIT */
/*
 * exitport.h - QEMU's isa-debug-exit: the run's verdict
 */
#pragma once

#include <stdint.h>
#include "arch/compiler.h"

/* QEMU ends with status 2 * value + 1.  Only EXIT_PASS is a success.
 * tools/run and docs/settings.md say the words that stand here. */
enum exit_value {
	EXIT_PASS = 0x10,     /* every test passed */
	EXIT_FAIL = 0x11,     /* some tests failed */
	EXIT_PANIC = 0x12,    /* the kernel panicked */
	EXIT_USAGE = 0x13,    /* no such test, or a bad command line */
	EXIT_PLATFORM = 0x14, /* the kernel cannot use this machine */
};

noreturn void exit_machine(enum exit_value value);
