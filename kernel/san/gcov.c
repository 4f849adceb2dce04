/* SPDX-License-Identifier: MIT */
/*
 * gcov.c - SAN=gcov: what ran, for make coverage
 *
 * The compiler counts each branch of mm/ and iommu/ and leaves a pointer to each
 * file's counters in .gcov_info; libgcov, which is part of gcc, turns them into the
 * bytes of a .gcda file.  When the machine ends they go to QEMU's debug console as
 * chunks: a kind, a length of 4 bytes, data.  'F' begins a file and has its name, 'D'
 * is a piece of it (tools/coverage).
 */
#include "kernel/san/gcov.h"
#include <gcov.h>
#include "arch/cpu.h"
#include "arch/io.h"
#include "kernel/panic.h"
#include "kernel/san/san.h"
#include "kernel/string.h"

#define CONSOLE      0xe9
#define CONSOLE_HERE 0xe9 /* what its port reads as, where it is         */

extern const struct gcov_info *const gcov_info_start[], *const gcov_info_end[];

/* What libgcov and the counters name and a kernel never calls: an inconsistent list
 * of counters, a value profile's memory, and the merging with an older file. */
void abort(void);
void *mmap(void *at, size_t len, int prot, int flags, int fd, long offset);
void __gcov_merge_add(int64_t *counters, unsigned n);

void abort(void)
{
	panic("gcov: the counters are inconsistent");
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, long offset)
{
	panic("gcov: a value profile needs memory");
}

void __gcov_merge_add(int64_t *counters, unsigned n)
{
	panic("gcov: there is no older file");
}

struct sink {
	gcov_sink *fn;
	void *arg;
};

static void name(const char *file, void *arg)
{
	struct sink *s = arg;

	s->fn('F', file, (uint32_t)strlen(file), s->arg);
}

static void data(const void *bytes, unsigned n, void *arg)
{
	struct sink *s = arg;

	s->fn('D', bytes, n, s->arg);
}

void gcov_each(gcov_sink *fn, void *arg)
{
	struct sink s = { fn, arg };

	for (const struct gcov_info *const *at = gcov_info_start;
	     at < gcov_info_end; at++)
		__gcov_info_to_gcda(*at, name, data, NULL, &s);
}

static void put(const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		outb(CONSOLE, ((const uint8_t *)bytes)[i]);
}

static void chunk(char kind, const void *bytes, uint32_t n, void *arg)
{
	put(&kind, 1);
	put(&n, sizeof(n));
	put(bytes, n);
}

void san_start(uint64_t seed)
{
}

void san_ignore(bool begin)
{
}

void san_end(void)
{
	irq_save(); /* libgcov's code has a red zone below its stack */
	if (inb(CONSOLE) == CONSOLE_HERE)
		gcov_each(chunk, NULL);
}
