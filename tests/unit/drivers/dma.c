/* SPDX-License-Identifier: MIT */
/*
 * dma.c - tests dma.h: what holds for every engine
 */
#include "arch/bits.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/mm/mm_fixture.h"

/* Make one test of the claim for each engine. */
#define ON_EACH_ENGINE(name, claim)              \
	static void name(struct dma_engine *e);  \
	TEST(dma, name##_lsi0, claim ": lsi0")   \
	{                                        \
		name(need_engine("lsi0"));       \
	}                                        \
	TEST(dma, name##_lsi1, claim ": lsi1")   \
	{                                        \
		name(need_engine("lsi1"));       \
	}                                        \
	TEST(dma, name##_edu, claim ": edu")     \
	{                                        \
		name(need_engine("edu"));        \
	}                                        \
	TEST(dma, name##_e1000, claim ": e1000") \
	{                                        \
		name(need_engine("e1000"));      \
	}                                        \
	static void name(struct dma_engine *e)

/*
 * Return whether the bytes at `at` are the pattern of buffer i from offset from
 * on.
 */
static bool holds(const uint8_t *at, unsigned i, uint64_t from, uint64_t bytes)
{
	for (uint64_t n = 0; n < bytes; n++)
		if (at[n] != buffer_pattern(i, from + n))
			return false;
	return true;
}

TEST(dma, transfer_is_between_two_probes,
     "a transfer begins and ends with a probe that names its target")
{
	struct dma_engine *e = need_engine("lsi0");
	iova_t dst = buffer_bus(engine_buffer(1));
	uint64_t since = probes_begin();

	EXPECT_EQ(dma_copy(e, dst, buffer_bus(engine_buffer(0)), 8), 0);
	EXPECT(probes_in_order(since, (void *)dst, "dma_start dma_done"));
}

ON_EACH_ENGINE(copy_moves_these_bytes,
	       "a copy moves every byte, and no byte beside them")
{
	struct rng rng = rng_seed(test_seed());

	for (unsigned round = 0; round < (e->sleeps ? 2 : 8); round++) {
		uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
		uint64_t bytes = 1 + rng_below(&rng, 5000);
		uint64_t from = rng_below(&rng, BUFFER_SIZE - bytes);
		uint64_t to = rng_below(&rng, BUFFER_SIZE - bytes);
		uint64_t end = to + bytes;

		EXPECT_EQ(dma_copy(e, buffer_bus(dst + to),
				   buffer_bus(src + from), bytes),
			  0);
		EXPECT(holds(dst, 1, 0, to));
		EXPECT(holds(dst + to, 0, from, bytes));
		EXPECT(holds(dst + end, 1, end, BUFFER_SIZE - end));
		EXPECT(holds(src, 0, 0, BUFFER_SIZE));
	}
}

ON_EACH_ENGINE(read_and_write_use_kernel_memory,
	       "reads and writes use buffers that no device can address")
{
	uint8_t *bus = engine_buffer(0), local[6000];
	uint64_t bytes = sizeof(local);

	memset(local, 0, bytes);
	EXPECT_EQ(dma_read(e, buffer_bus(bus + 5), local, bytes), 0);
	EXPECT(holds(local, 0, 5, bytes));
	for (uint64_t n = 0; n < bytes; n++)
		local[n] = buffer_pattern(2, n);
	EXPECT_EQ(dma_write(e, buffer_bus(bus + 77), local, bytes), 0);
	EXPECT(holds(bus, 0, 0, 77));
	EXPECT(holds(bus + 77, 2, 0, bytes));
	EXPECT(holds(bus + 77 + bytes, 0, 77 + bytes,
		     BUFFER_SIZE - 77 - bytes));
}

ON_EACH_ENGINE(
	addresses_out_of_reach_are_refused,
	"an address outside the engine's width is an error, and no other is")
{
	uint8_t *dst = engine_buffer(0);
	iova_t bus = buffer_bus(dst);
	char byte = 0;

	if (e->address_bits < 64) {
		iova_t end = BIT(e->address_bits);

		EXPECT_EQ(dma_copy(e, bus, end, 1), -EINVAL);
		EXPECT_EQ(dma_copy(e, end, bus, 1), -EINVAL);
		EXPECT_EQ(dma_copy(e, bus, end - 4, 8), -EINVAL);
		EXPECT_EQ(dma_read(e, end - 1, &byte, 2), -EINVAL);
		EXPECT(dma_reaches(e, end - 8, 8));
	}
	EXPECT_EQ(dma_copy(e, bus, UINT64_MAX - 3, 8), -EINVAL);
	EXPECT(!dma_reaches(e, UINT64_MAX - 3, 8));
	EXPECT_EQ(dma_copy(e, bus, bus + 100, 0), 0);
	EXPECT(holds(dst, 0, 0, BUFFER_SIZE));
}

struct user {
	struct dma_engine *e;
	unsigned i, wrong, failed;
};

/*
 * Write and read this thread's own buffer again and again, beside other
 * threads.
 */
static void use_engine(void *arg)
{
	struct user *u = arg;
	uint8_t *mine = engine_buffer(u->i);

	for (unsigned round = 0; round < (u->e->sleeps ? 2 : 50); round++) {
		uint8_t local[300];

		u->failed += dma_read(u->e, buffer_bus(mine + round), local,
				      sizeof(local)) != 0;
		u->wrong += !holds(local, u->i, round, sizeof(local));
		u->failed += dma_write(u->e, buffer_bus(mine + round), local,
				       sizeof(local)) != 0;
		u->wrong += !holds(mine, u->i, 0, BUFFER_SIZE);
	}
}

ON_EACH_ENGINE(users_get_their_own_bytes,
	       "several threads that use one engine each get their own bytes")
{
	struct user users[BUFFERS];
	struct thread *threads[BUFFERS];

	for (unsigned i = 0; i < BUFFERS; i++) {
		users[i] = (struct user){ .e = e, .i = i };
		threads[i] = thread_create("user", use_engine, &users[i]);
		REQUIRE(threads[i]);
	}
	for (unsigned i = 0; i < BUFFERS; i++) {
		thread_join(threads[i]);
		EXPECT_EQ(users[i].failed, 0);
		EXPECT_EQ(users[i].wrong, 0);
	}
}

TEST(dma, engines_have_names, "every engine has one name and one location")
{
	struct dma_engine *e;

	for (unsigned i = 0; (e = dma_engine_at(i)); i++) {
		EXPECT(dma_engine_named(e->name) == e);
		EXPECT_EQ(e->own.bus, e->own.pa);
		for (unsigned k = 0; k < i; k++)
			EXPECT(dma_engine_at(k)->devid != e->devid);
	}
	EXPECT(!dma_engine_named("no_such_engine"));
}
