/* SPDX-License-Identifier: MIT */
/*
 * printk.h - formatted text for the registered console
 *
 * Formats: %d %i %u %x %X %p %s %c %% with flags 0, - and #, width, precision of
 * %s, and the lengths l, ll, z.  Anything else is printed as it stands.  As ISO
 * C, but # puts 0x before 0 too.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include "arch/compiler.h"

/* Formats as ISO C: at most size bytes with the final 0.  Returns the whole length. */
int snprintk(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
int vsnprintk(char *buf, size_t size, const char *fmt, va_list args);

/* Sets the function that prints.  It gets whole pieces of text, under the console
 * lock. */
void printk_set_sink(void (*sink)(const char *text, size_t len));

/* Prints up to 511 bytes of text.  Context: any. */
void printk(const char *fmt, ...) printf_like(1, 2);

/* Prints without waiting for the lock from now on: a panic has stopped the other
 * CPUs. */
void printk_break_lock(void);
