/* SPDX-License-Identifier: MIT */
/*
 * gcov.c - SAN=gcov: the counters count what runs
 */
#include "kernel/san/gcov.h"
#include "arch/cpu.h"
#include "kernel/string.h"
#include "mm/ksm/ksm_sum.h"
#include "tests/base/test.h"

struct seen {
	const char *file;
	bool inside;
	unsigned files;
	uint64_t hash;
};

static void see(char kind, const void *bytes, uint32_t n, void *arg)
{
	struct seen *s = arg;

	if (kind == 'F') {
		s->inside = glob_match(s->file, bytes);
		s->files += s->inside;
	}
	for (uint32_t i = 0; s->inside && i < n; i++)
		s->hash =
			(s->hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
}

/* Hash the counters of one file. */
static uint64_t counters(const char *file)
{
	struct seen s = { .file = file };
	uint64_t flags = irq_save();

	gcov_each(see, &s);
	irq_restore(flags);
	REQUIRE(s.files == 1);
	return s.hash;
}

TEST(gcov, executed_code_is_counted,
     "the counters of a file change when its code runs, and only then")
{
	static char page[PAGE_SIZE];
	uint64_t before = counters("*/ksm_sum.c.gcda");
	uint64_t other = counters("*/evict.c.gcda");

	EXPECT_EQ(counters("*/ksm_sum.c.gcda"), before);
	test_note("%x", ksm_sum(page));
	EXPECT(counters("*/ksm_sum.c.gcda") != before);
	EXPECT_EQ(counters("*/evict.c.gcda"), other);
}
