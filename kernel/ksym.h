/* SPDX-License-Identifier: MIT */
/*
 * ksym.h - names for addresses of the kernel's code
 *
 * The Makefile links twice: the table of the second image is made from the
 * symbols of the first, and comes last in the file so that nothing moves.
 */
#pragma once

#include <stdint.h>

/* Returns the name of the function that contains address, "?" if none does; its
 * offset in it and its size, both in bytes. */
const char *ksym_find(uint64_t address, uint64_t *offset, uint64_t *size);

/* The output of tools/version; of fixed length, so that printing it costs the same. */
const char *ksym_version(void);
