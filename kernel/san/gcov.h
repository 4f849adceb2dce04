/* SPDX-License-Identifier: MIT */
/*
 * gcov.h - SAN=gcov: the counters of executed code (make coverage)
 */
#pragma once

#include <stdint.h>

/* Takes one chunk: 'F' and a file's name, or 'D' and n bytes of that file. */
typedef void gcov_sink(char kind, const void *bytes, uint32_t n, void *arg);

/*
 * Pass the counters of each file in mm/ and iommu/ as a .gcda file to fn.
 * Context: interrupts off (libgcov's code has a red zone).
 */
void gcov_each(gcov_sink *fn, void *arg);
