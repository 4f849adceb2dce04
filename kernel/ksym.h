/* SPDX-License-Identifier: MIT */
/*
 * ksym.h - names for addresses of our own code
 *
 * The Makefile links twice: the table of the second image is made from the
 * symbols of the first, and comes last in the file so that nothing moves.
 */
#pragma once

#include <stdint.h>

/* The function that contains address, how far in, and its bytes; "?" if none. */
const char *ksym_find(uint64_t address, uint64_t *offset, uint64_t *size);
