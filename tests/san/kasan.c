/* SPDX-License-Identifier: MIT */
/*
 * kasan.c - planted bad accesses: each is reported
 */
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "tests/base/test.h"
#include "tests/san/expect_report.h"

struct thing {
	char bytes[20];
};

static volatile unsigned beyond = 20;
static char global[20];

TEST(kasan, frame_after_free, "a load from a freed frame is reported")
{
	struct page *page = page_alloc();
	volatile char *p;

	REQUIRE(page);
	p = page_va(page);
	p[8] = 1;
	EXPECT(!san_take());
	page_put(page);
	(void)p[8];
	EXPECT_REPORT("*read of 1 bytes*freed memory");
}

TEST(kasan, object_after_free, "a load from a freed object is reported")
{
	struct pool pool;
	volatile struct thing *thing;

	pool_init(&pool, "kasan", sizeof(struct thing));
	thing = pool_alloc(&pool);
	REQUIRE(thing);
	thing->bytes[19] = 1;
	EXPECT(!san_take());
	pool_free(&pool, (void *)thing);
	(void)thing->bytes[19];
	EXPECT_REPORT("*read of 1 bytes*freed memory");
	pool_destroy(&pool);
}

TEST(kasan, beyond_an_object, "a load beyond the end of an object is reported")
{
	struct pool pool;
	volatile struct thing *thing;

	pool_init(&pool, "kasan", sizeof(struct thing));
	thing = pool_alloc(&pool);
	REQUIRE(thing);
	(void)thing->bytes[beyond];
	EXPECT_REPORT("*read of 1 bytes*the end of an object");
	(void)thing->bytes[beyond + 4];
	EXPECT_REPORT("*read of 1 bytes*between two objects");
	pool_free(&pool, (void *)thing);
	pool_destroy(&pool);
}

TEST(kasan, beyond_a_variable,
     "a load beyond an array on the stack is reported")
{
	volatile char local[20] = { 0 };

	(void)local[beyond + 12];
	EXPECT_REPORT("*read of 1 bytes*variable of the stack");
}

TEST(kasan, beyond_a_global, "a store beyond a global array is reported")
{
	char old = global[0];

	((volatile char *)global)[beyond + 4] = old;
	EXPECT_REPORT("*write of 1 bytes*global variable");
}

TEST(kasan, range_over_the_end,
     "a copy of which only the last bytes are bad is reported")
{
	struct page *page = page_alloc();
	struct thing copy, *at;

	REQUIRE(page);
	at = (void *)((char *)page_va(page) + PAGE_SIZE - 32);
	san_poison((char *)at + 16, 16, SAN_REDZONE);
	copy = *at;
	__asm__ volatile("" ::"m"(copy));
	EXPECT_REPORT("*read of*between two objects");
	page_put(page);
}
