/* SPDX-License-Identifier: MIT */
/*
 * console.h - text for people: the serial line, and the screen where there is one
 *
 * The serial line has all of it and is what tools/run reads.  A machine that was
 * started from an ISO may have a screen instead: VGA text, if there is a CRT
 * controller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Look for a screen at va, where the 32 KiB at CONSOLE_PA are mapped.  Later calls
 * say where they are mapped now; NULL: nowhere.  Returns whether there is one.
 * Context: boot, before other CPUs run.
 */
#define CONSOLE_PA   UINT64_C(0xb8000)
#define CONSOLE_SIZE UINT64_C(0x8000)
bool console_init(void *va);

/* Write len bytes to both.  Any context; callers take turns by a lock above. */
void console_write(const char *text, size_t len);
