/* SPDX-License-Identifier: MIT */
/*
 * stress_mm.c - random operations against a flat model
 *
 * Every actor owns a set of address spaces and performs all operations on them
 * that change layout, private contents or the family tree; the model of a space
 * is an array of WINDOW pages: mapped or not, rights, and the tag that its
 * first word must hold.  Tags are unique: a wrong page cannot look right.
 *
 * Actors run on all CPUs and meet in the allocators, in the reverse map, in
 * each other's shootdowns, in shared objects (each actor writes only its own
 * word of a shared page, and its model knows the value) and through an evictor
 * that try_to_unmap()s pages behind everybody's back.  So each actor's model is
 * exact while the CPUs really race.
 *
 * A failure names seed and operation; the sequence of an actor depends only on
 * the seed and its number.
 */
#include "arch/smp.h"
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "tests/world.h"

#define ACTORS       4
#define SPACES       3  /* of one actor at a time                          */
#define WINDOW       48 /* pages that the model follows                    */
#define OBJECT_PAGES 16
#define TOTAL_OPS    208000

struct model_page {
	bool mapped, shared;
	enum prot prot;
	unsigned index; /* in the object                                   */
	uint64_t tag;   /* private pages: 0 until written                  */
};

struct space {
	struct mm *mm;
	struct model_page page[WINDOW];
};

struct actor {
	unsigned id;
	struct rng rng;
	struct space space[SPACES];
	uint64_t word[OBJECT_PAGES]; /* what this actor wrote to its word  */
	uint64_t next_tag;
	unsigned ops, failed;
	const char *last; /* operation                                     */
};

static struct object *shared;

static unsigned pick(struct actor *a, unsigned n)
{
	return (unsigned)rng_below(&a->rng, n);
}

static void wrong(struct actor *a, unsigned page, uint64_t got, uint64_t want)
{
	if (!a->failed++)
		test_fail(__FILE__, __LINE__,
			  "actor %u op %u (%s) page %u: got %lx, want %lx",
			  a->id, a->ops, a->last, page, got, want);
}

/* ---- one page: a real access, and what the model says of it ------------ */

static void check_read(struct actor *a, struct space *s, unsigned i)
{
	struct model_page *p = &s->page[i];
	va_t va = P(i) + (p->shared ? 8 * (1 + a->id) : 0);
	uint64_t got = rd(s->mm, va), want = p->tag;

	if (!p->mapped || !p->prot)
		want = BAD;
	else if (p->shared)
		want = a->word[p->index];
	if (got != want)
		wrong(a, i, got, want);
}

static void check_write(struct actor *a, struct space *s, unsigned i)
{
	struct model_page *p = &s->page[i];
	va_t va = P(i) + (p->shared ? 8 * (1 + a->id) : 0);
	uint64_t tag = (uint64_t)(a->id + 1) << 56 | ++a->next_tag;
	bool may = p->mapped && (p->prot & PROT_W);
	int ret = wr(s->mm, va, tag);

	if ((ret == 0) != may)
		wrong(a, i, (uint64_t)ret, may);
	if (!may)
		return;
	if (p->shared)
		a->word[p->index] = tag;
	else
		p->tag = tag;
}

/* ---- operations -------------------------------------------------------- */

static void range(struct actor *a, unsigned *first, unsigned *n)
{
	*first = pick(a, WINDOW);
	*n = 1 + pick(a, WINDOW - *first < 12 ? WINDOW - *first : 12);
}

static enum prot some_rights(struct actor *a)
{
	static const enum prot rights[] = { RW, RW, PROT_R, PROT_NONE };

	return rights[pick(a, 4)];
}

static void op_map(struct actor *a, struct space *s)
{
	unsigned first, n, index = 0;
	enum prot prot = some_rights(a);
	bool use = pick(a, 3) == 0;

	range(a, &first, &n);
	if (use) {
		index = pick(a, OBJECT_PAGES);
		n = n < OBJECT_PAGES - index ? n : OBJECT_PAGES - index;
	}
	if (mm_map(s->mm, P(first), n * PAGE_SIZE, prot, MAP_REPLACE,
		   use ? shared : NULL, index, NULL))
		return wrong(a, first, 1, 0);
	for (unsigned i = 0; i < n; i++)
		s->page[first + i] =
			(struct model_page){ true, use, prot, index + i, 0 };
}

static void op_unmap(struct actor *a, struct space *s)
{
	unsigned first, n;

	range(a, &first, &n);
	if (mm_unmap(s->mm, P(first), P(first + n)))
		wrong(a, first, 1, 0);
	for (unsigned i = 0; i < n; i++)
		s->page[first + i].mapped = false;
}

static void op_protect(struct actor *a, struct space *s)
{
	enum prot prot = some_rights(a);
	unsigned first, n;
	bool whole = true;
	int ret;

	range(a, &first, &n);
	for (unsigned i = 0; i < n; i++)
		whole &= s->page[first + i].mapped;
	ret = mm_protect(s->mm, P(first), P(first + n), prot);
	if (ret != (whole ? 0 : -ENOENT))
		wrong(a, first, (uint64_t)ret, whole);
	for (unsigned i = 0; whole && i < n; i++)
		s->page[first + i].prot = prot;
}

static void op_discard(struct actor *a, struct space *s)
{
	unsigned first, n;

	range(a, &first, &n);
	if (mm_discard(s->mm, P(first), P(first + n)))
		wrong(a, first, 1, 0);
	for (unsigned i = 0; i < n; i++)
		s->page[first + i].tag = 0;
}

/* Move one page to a hole: mm_remap() of a single page is always one region. */
static void op_remap(struct actor *a, struct space *s)
{
	unsigned from = pick(a, WINDOW), to = pick(a, WINDOW);
	va_t at;
	int ret;

	if (from == to || !s->page[from].mapped || s->page[to].mapped)
		return;
	ret = mm_remap(s->mm, P(from), PAGE_SIZE, P(to), PAGE_SIZE, &at);
	if (ret || at != P(to))
		return wrong(a, from, (uint64_t)ret, 0);
	s->page[to] = s->page[from];
	s->page[from].mapped = false;
}

static void op_fork(struct actor *a, struct space *s)
{
	struct space *to = &a->space[pick(a, SPACES)];
	struct mm *child;

	if (to == s)
		return;
	if (mm_fork(s->mm, &child))
		return wrong(a, 0, 1, 0);
	mm_bind(NULL);
	mm_put(to->mm);
	*to = *s;
	to->mm = child;
}

static void op_exit(struct actor *a, struct space *s)
{
	mm_bind(NULL);
	mm_put(s->mm);
	*s = (struct space){ .mm = mm_create() };
	if (!s->mm)
		test_fail(__FILE__, __LINE__, "no memory for an mm");
}

static void op_evict(struct actor *a, struct space *s)
{
	struct page *page = page_at(s->mm, P(pick(a, WINDOW)));

	if (!page)
		return;
	if (page != zero_page && try_to_unmap(page) == -EINVAL)
		wrong(a, 0, 1, 0);
	if (pick(a, 2))
		page_referenced(page);
	page_put(page);
}

static void op_pin(struct actor *a, struct space *s)
{
	unsigned i = pick(a, WINDOW);
	struct model_page *p = &s->page[i];
	struct page *page;
	bool may = p->mapped && p->prot;

	if (pin_pages(s->mm, P(i), 1, 0, &page)) {
		if (may)
			wrong(a, i, 1, 0);
		return;
	}
	if (!may)
		wrong(a, i, 0, 1);
	if (!p->shared && *(uint64_t *)page_va(page) != p->tag)
		wrong(a, i, *(uint64_t *)page_va(page), p->tag);
	unpin_pages(&page, 1);
}

static const struct {
	const char *name;
	void (*fn)(struct actor *a, struct space *s);
	unsigned weight;
} ops[] = {
	{ "map", op_map, 8 },         { "unmap", op_unmap, 5 },
	{ "protect", op_protect, 7 }, { "discard", op_discard, 3 },
	{ "remap", op_remap, 5 },     { "fork", op_fork, 2 },
	{ "exit", op_exit, 1 },       { "evict", op_evict, 5 },
	{ "pin", op_pin, 4 },
};

static void access(struct actor *a, struct space *s)
{
	unsigned i = pick(a, WINDOW);

	mm_bind(s->mm); /* and stay: the next operation must flush this CPU */
	if (pick(a, 2)) {
		a->last = "write";
		check_write(a, s, i);
	} else {
		a->last = "read";
		check_read(a, s, i);
	}
}

static void one_op(struct actor *a)
{
	struct space *s = &a->space[pick(a, SPACES)];
	unsigned dice = pick(a, 100), sum = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		sum += ops[i].weight;
		if (dice < sum) {
			a->last = ops[i].name;
			ops[i].fn(a, s);
			return;
		}
	}
	access(a, s);
}

static void check_all(struct actor *a)
{
	a->last = "final look";
	for (unsigned k = 0; k < SPACES; k++)
		for (unsigned i = 0; i < WINDOW; i++)
			check_read(a, &a->space[k], i);
}

static void actor_main(void *arg)
{
	struct actor *a = arg;

	for (; a->ops < TOTAL_OPS / ACTORS && !a->failed; a->ops++)
		one_op(a);
	check_all(a);
	mm_bind(NULL);
	for (unsigned k = 0; k < SPACES; k++)
		mm_put(a->space[k].mm);
}

TEST_FULL(stress, mm_against_model,
	  "208,000 random operations on all CPUs leave every space as the flat "
	  "model says",
	  1, 300)
{
	static struct actor actor[ACTORS];
	struct thread *t[ACTORS];
	unsigned done = 0;

	shared = object_create(OBJECT_PAGES);
	REQUIRE(shared);
	for (unsigned i = 0; i < ACTORS; i++) {
		actor[i] = (struct actor){ .id = i,
					   .rng = rng_seed(test_seed() + i) };
		for (unsigned k = 0; k < SPACES; k++) {
			actor[i].space[k].mm = mm_create();
			REQUIRE(actor[i].space[k].mm);
		}
	}
	for (unsigned i = 0; i < ACTORS; i++) {
		t[i] = thread_create("actor", actor_main, &actor[i]);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < ACTORS; i++) {
		thread_join(t[i]);
		done += actor[i].ops;
	}
	EXPECT_EQ(done, TOTAL_OPS);
	object_put(shared);
}
