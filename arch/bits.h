/* SPDX-License-Identifier: MIT */
/*
 * bits.h - fields of registers and memory-resident structures
 *
 * Layouts are written with the manual's bit numbers, GENMASK(high, low), and
 * read and built through FIELD_GET and FIELD_PREP: no shift is spelled twice.
 */
#pragma once

#include <stdint.h>

#define BIT(n)        (UINT64_C(1) << (n))
#define GENMASK(h, l) ((~UINT64_C(0) >> (63 - (h))) & (~UINT64_C(0) << (l)))

/* The field's value, moved down to bit 0. */
#define FIELD_GET(m, v) (((uint64_t)(v) & (m)) >> __builtin_ctzll(m))
/* The value moved up into the field; bits that do not fit are cut off. */
#define FIELD_PREP(m, v) (((uint64_t)(v) << __builtin_ctzll(m)) & (m))
