/* SPDX-License-Identifier: MIT */
/*
 * printk.h - formatted text to whoever registered as the console
 *
 * Formats: %d %i %u %x %X %p %s %c %% with flags 0, - and #, width, precision of
 * %s, and the lengths l, ll, z.  Anything else is printed as it stands.  As ISO
 * C, but # puts 0x before 0 too.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include "arch/compiler.h"

/* As ISO C: at most size bytes with the final 0; returns the whole length. */
int snprintk(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
int vsnprintk(char *buf, size_t size, const char *fmt, va_list args);

/* Who prints from now on: gets whole pieces of text, under the console lock. */
void printk_set_sink(void (*sink)(const char *text, size_t len));

/* Up to 511 bytes of text.  Any context. */
void printk(const char *fmt, ...) printf_like(1, 2);

/* A panic has stopped the other CPUs: print without waiting for the lock. */
void printk_break_lock(void);
