/* SPDX-License-Identifier: MIT */
/*
 * pool.c - tests pool.c: objects are exclusive, zeroed, and come back
 */
#include "arch/cpu.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "tests/base/test.h"

#define SIZE 72 /* not a power of two, not a multiple of 16 */
#define HELD 150

struct object {
	uint64_t tag; /* its owner                                     */
	unsigned char body[SIZE - 8];
};

struct user {
	struct pool *pool;
	struct rng rng;
	uint64_t id;
	unsigned n, wrong;
	struct object *held[HELD];
};

static void user_take(struct user *u)
{
	struct object *o = pool_alloc(u->pool);

	if (!o) {
		u->wrong++;
		return;
	}
	for (unsigned i = 0; i < sizeof(o->body); i++)
		u->wrong += o->body[i] != 0;
	u->wrong += o->tag != 0 || (uintptr_t)o % 8;
	o->tag = u->id << 32 | u->n;
	memset(o->body, (int)u->id, sizeof(o->body));
	u->held[u->n++] = o;
}

static void user_give(struct user *u)
{
	unsigned i = (unsigned)rng_below(&u->rng, u->n);
	struct object *o = u->held[i];

	u->wrong += o->tag >> 32 != u->id;
	for (unsigned k = 0; k < sizeof(o->body); k++)
		u->wrong += o->body[k] != (unsigned char)u->id;
	pool_free(u->pool, o);
	u->held[i] = u->held[--u->n];
}

static void use(void *arg)
{
	struct user *u = arg;

	for (unsigned i = 0; i < 2000; i++) {
		if (u->n && (u->n == HELD || rng_below(&u->rng, 2)))
			user_give(u);
		else
			user_take(u);
	}
	while (u->n)
		user_give(u);
}

TEST(pool, objects_are_zeroed_and_exclusive,
     "on all CPUs an object holds zeros at first and then only what its owner "
     "wrote")
{
	static struct user users[MAX_CPUS];
	struct thread *threads[MAX_CPUS];
	struct pool pool;

	pool_init(&pool, "test", SIZE);
	for (unsigned i = 0; i < cpu_count(); i++) {
		users[i] = (struct user){ .pool = &pool,
					  .rng = rng_seed(test_seed() + i),
					  .id = i + 1 };
		threads[i] = thread_create_on(BIT(i), "user", use, &users[i]);
		REQUIRE(threads[i]);
	}
	for (unsigned i = 0; i < cpu_count(); i++) {
		thread_join(threads[i]);
		EXPECT_EQ(users[i].wrong, 0);
	}
	EXPECT_EQ(pool_live(&pool), 0);
	/* Threads keep their stacks; the leak checker counts what is free. */
	pool_destroy(&pool);
}

TEST(pool, empty_slabs_go_back,
     "the frames of empty slabs are freed at once but for one, which trim "
     "frees")
{
	uint64_t before = pmm_free_pages();
	void *held[200];
	struct pool pool;

	pool_init(&pool, "test", SIZE);
	for (unsigned i = 0; i < 200; i++)
		held[i] = pool_alloc(&pool);
	EXPECT_EQ(pool_live(&pool), 200);
	EXPECT_EQ(pool_slabs(&pool), (200 + pool.per_slab - 1) / pool.per_slab);
	for (unsigned i = 0; i < 200; i++)
		pool_free(&pool, held[i]);
	EXPECT_EQ(pool_slabs(&pool), 1);
	pool_trim_all();
	EXPECT_EQ(pool_slabs(&pool), 0);
	pool_destroy(&pool);
	EXPECT_EQ(pmm_free_pages(), before);
}

TEST(pool, all_sizes_fit,
     "objects of any size overlap neither each other nor the slab's header")
{
	for (unsigned size = 1; size <= POOL_MAX_SIZE; size += 61) {
		unsigned char *a, *b;
		struct pool pool;

		pool_init(&pool, "test", size);
		a = pool_alloc(&pool);
		b = pool_alloc(&pool);
		REQUIRE(a && b);
		memset(a, 0xaa, size);
		EXPECT(b[0] == 0 && b[size - 1] == 0);
		memset(b, 0xbb, size);
		EXPECT(a[0] == 0xaa && a[size - 1] == 0xaa);
		pool_free(&pool, a);
		pool_free(&pool, b);
		pool_destroy(&pool);
	}
}

TEST(pool, out_of_memory_is_null,
     "each failing allocation returns NULL and leaves no slab")
{
	struct pool pool;

	pool_init(&pool, "test", SIZE);
	inject_arm(1); /* the pool itself */
	EXPECT(!pool_alloc(&pool));
	inject_arm(2); /* its new frame */
	EXPECT(!pool_alloc(&pool));
	inject_arm(0);
	EXPECT(pool_live(&pool) == 0 && pool_slabs(&pool) == 0);
	pool_destroy(&pool);
}

/* ------------------------------------------------------- what must panic */

struct misuse {
	struct pool *pool;
	void *object;
};

static void free_it(void *arg)
{
	struct misuse *m = arg;

	pool_free(m->pool, m->object);
}

static void alloc_it(void *arg)
{
	struct misuse *m = arg;

	m->object = pool_alloc(m->pool);
}

/* Return whether fn panics with this message. */
static bool panics(void (*fn)(void *), struct misuse *m, const char *with)
{
	char words[200];

	return panic_catch(fn, m, words, sizeof(words)) &&
	       glob_match(with, words);
}

TEST(pool, misuse_is_caught,
     "a double free, an overrun and a foreign object panic with the pool's "
     "name")
{
	struct pool pool, other;
	struct misuse m = { &pool, NULL };
	uint64_t *a, *b;

	CHECKED_ONLY("has redzones");
	pool_init(&pool, "test", SIZE);
	pool_init(&other, "other", SIZE);
	a = pool_alloc(&pool);
	b = pool_alloc(&pool);
	REQUIRE(a && b);

	m = (struct misuse){ &other, a };
	EXPECT(panics(free_it, &m, "*is of pool test*"));
	m = (struct misuse){ &pool, a + 1 };
	EXPECT(panics(free_it, &m, "*not the start of an object*"));

	a[SIZE / 8] ^= 1; /* the redzone */
	m.object = a;
	EXPECT(panics(free_it, &m, "*pool test: overrun*"));
	a[SIZE / 8] ^= 1;

	pool_free(&pool, a);
	EXPECT(panics(free_it, &m, "*freed twice*"));
	pool_free(&pool, b);
	pool_destroy(&other);
	pool_destroy(&pool);
}

TEST(pool, write_after_free_is_caught, "a write into a freed object panics")
{
	struct misuse m;
	struct pool pool;
	uint64_t *a, *b;

	CHECKED_ONLY("poisons");
	pool_init(&pool, "test", SIZE);
	m.pool = &pool;
	a = pool_alloc(&pool);
	b = pool_alloc(&pool); /* keeps the slab */
	REQUIRE(a && b);
	pool_free(&pool, a);
	a[3] ^= 1;
	EXPECT(panics(alloc_it, &m, "*written after it was freed*"));
	/*
	 * The panic came when a was no longer free: it is ours, so repair it.
	 */
	a[3] ^= 1;
	a[SIZE / 8] = b[SIZE / 8];
	pool_free(&pool, a);
	pool_free(&pool, b);
	pool_destroy(&pool);
}

static void destroy_it(void *arg)
{
	pool_destroy(arg);
}

TEST(pool, leak_is_caught, "destroying a pool with live objects panics")
{
	char words[200];
	struct pool pool;
	void *object;

	pool_init(&pool, "leaky", SIZE);
	object = pool_alloc(&pool);
	REQUIRE(object);
	EXPECT(panic_catch(destroy_it, &pool, words, sizeof(words)));
	EXPECT(glob_match("*pool leaky destroyed with 1 objects in use*",
			  words));
	EXPECT_EQ(pool_live_all() > 0, true);
	pool_free(&pool, object);
	pool_destroy(&pool);
}
