/* SPDX-License-Identifier: MIT */
/*
 * huge_stress.c - random operations on regions with pages of 2 MiB, against a flat model
 *
 * As tests/stress/mm.c, with units that are large enough: each space has two places of
 * 2 MiB, of 16 chunks each.  A chunk is 32 pages that every operation treats alike; one
 * page of it, drawn when it is mapped, holds its tag.  So the model of 1,024
 * pages stays an array of 32, and an operation meets whole entries of 2 MiB, cuts them
 * between chunks, or touches one page of them.
 *
 *	H  chunk 0      1            15 | 16           31
 *	  +-------+-------+-- ... --+----+----+-- ... --+
 *	  | . T   |  T .  |         |    |    |         |     T: the tag's page
 *	  +-------+-------+-- ... --+----+----+-- ... --+
 *
 * Actors own their spaces, and meet in the allocator, the reverse map and the block of
 * zeroes.  The scanner of collapse runs beside them as a thread, also while a space is
 * forked or ends.  The first two actors have a device in a space that lives for the
 * whole run: it reads and writes tags by page requests.
 */
#include "kernel/err.h"
#include "mm/huge/collapse.h"
#include "mm/huge/scan.h"
#include "mm/rmap/huge_zero.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/stress/stress.h"

#define ACTORS  3u
#define DEVICES 2u
#define SPACES  3u /* of one actor; 0 has the device                        */
#define CHUNKS  32u
#define CHUNK   (BLOCK_SIZE / 16)
#define OPS     1000u /* of each actor                                        */
#define LIMIT   300   /* seconds, on a busy host                             */

#define H(c) (VA + (UINT64_C(1) << 30) + (c)*CHUNK)

struct chunk {
	bool mapped;
	enum prot prot;
	unsigned page; /* of the chunk, where the tag is                   */
	uint64_t tag;
};

struct space {
	struct mm *mm;
	struct chunk chunk[CHUNKS];
};

static struct actor {
	unsigned id, number; /* of the operation                           */
	struct space space[SPACES];
} actors[ACTORS];

static struct endpoint endpoints[DEVICES];
static struct stress stress;

#define WRONG(a, ...) STRESS_WRONG(&stress, (a)->id, __VA_ARGS__)

static va_t tag_at(const struct space *s, unsigned c)
{
	return H(c) + s->chunk[c].page * PAGE_SIZE;
}

/* Let one operation in three cover all of 2 MiB. */
static struct op widened(struct op op)
{
	if (op.dice % 3 == 0) {
		op.page &= 16;
		op.n = 16;
	}
	return op;
}

static bool all_mapped(const struct space *s, const struct op *op)
{
	bool all = true;

	for (unsigned i = 0; i < op->n; i++)
		all &= s->chunk[op->page + i].mapped;
	return all;
}

static void check_read(struct actor *a, struct space *s, unsigned i)
{
	const struct chunk *c = &s->chunk[i];
	uint64_t want = c->mapped && c->prot ? c->tag : BAD;
	uint64_t got = rd(s->mm, tag_at(s, i));

	if (got != want)
		WRONG(a, "chunk %u of space %u: read %lx, want %lx", i,
		      (unsigned)(s - a->space), got, want);
}

static uint32_t new_tag(const struct actor *a)
{
	return (a->id + 1) << 24 | (a->number + 1);
}

/* ---- operations ------------------------------------------------------------ */

static void op_map(struct actor *a, struct space *s, const struct op *op)
{
	unsigned flags = MAP_REPLACE | (op->dice & 0x30 ? MAP_HUGE : 0);
	int ret = mm_map(s->mm, H(op->page), op->n * CHUNK, op->prot, flags,
			 NULL, 0, NULL);

	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		s->chunk[op->page + i] =
			(struct chunk){ true, op->prot, (op->dice >> 6) % 32,
					0 };
}

static void op_unmap(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_unmap(s->mm, H(op->page), H(op->page + op->n));

	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		s->chunk[op->page + i].mapped = false;
}

static void op_protect(struct actor *a, struct space *s, const struct op *op)
{
	bool all = all_mapped(s, op);
	int ret = mm_protect(s->mm, H(op->page), H(op->page + op->n), op->prot);

	if (ret != (all ? 0 : -ENOENT))
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; all && i < op->n; i++)
		s->chunk[op->page + i].prot = op->prot;
}

static void op_discard(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_discard(s->mm, H(op->page), H(op->page + op->n));

	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		s->chunk[op->page + i].tag = 0;
}

/* Move a chunk, or one place of 2 MiB, to a hole: one region, or nothing moves. */
static void op_remap(struct actor *a, struct space *s, const struct op *op)
{
	unsigned n = op->n == 16 ? 16 : 1;
	unsigned to = n == 16 ? op->page ^ 16 : op->to;
	int ret;

	for (unsigned i = 0; i < n; i++)
		if (op->page == to || !s->chunk[op->page + i].mapped ||
		    s->chunk[to + i].mapped)
			return;
	ret = mm_remap(s->mm, H(op->page), n * CHUNK, H(to), n * CHUNK, NULL);
	if (ret == -ENOENT && n == 16)
		return;
	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < n; i++) {
		s->chunk[to + i] = s->chunk[op->page + i];
		s->chunk[op->page + i].mapped = false;
	}
}

/* The space that a child goes to, or that ends: not that of a device. */
static struct space *victim(struct actor *a, const struct op *op)
{
	return &a->space[1 + op->to_space % (SPACES - 1)];
}

static void op_fork(struct actor *a, struct space *s, const struct op *op)
{
	struct space *to = victim(a, op);
	struct mm *child;
	int ret;

	if (to == s)
		return;
	ret = mm_fork(s->mm, &child);
	if (ret)
		return WRONG(a, "returns %d", ret);
	mm_bind(NULL);
	mm_put(to->mm);
	*to = *s;
	to->mm = child;
}

static void op_exit(struct actor *a, struct space *s, const struct op *op)
{
	struct space *to = victim(a, op);

	mm_bind(NULL);
	mm_put(to->mm);
	*to = (struct space){ .mm = mm_create() };
	if (!to->mm)
		WRONG(a, "no memory for an mm");
}

/* Splits a huge entry, also the one of the zeroes. */
static void op_pin(struct actor *a, struct space *s, const struct op *op)
{
	const struct chunk *c = &s->chunk[op->page];
	bool may = c->mapped && c->prot;
	struct page *page;
	int ret = pin_pages(s->mm, tag_at(s, op->page), 1, 0, &page);

	if ((ret == 0) != may)
		WRONG(a, "returns %d", ret);
	if (ret)
		return;
	if (*(uint64_t *)page_va(page) != c->tag)
		WRONG(a, "the pinned page holds something else");
	unpin_pages(&page, 1);
}

static void op_evict(struct actor *a, struct space *s, const struct op *op)
{
	struct page *page = page_at(s->mm, tag_at(s, op->page));

	if (!page)
		return;
	if (page != zero_page && try_to_unmap(page) == -EINVAL)
		WRONG(a, "returns -EINVAL");
	page_put(page);
}

static void op_collapse(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_collapse(s->mm, H(op->page));

	if (ret && ret != -EINVAL && ret != -ENOENT && ret != -EBUSY)
		WRONG(a, "returns %d", ret);
}

static void op_advise(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_advise_huge(s->mm, H(op->page), H(op->page + op->n),
				 op->dice & 0x30);

	if (ret != (all_mapped(s, op) ? 0 : -ENOENT))
		WRONG(a, "returns %d", ret);
}

static void op_write(struct actor *a, struct space *s, const struct op *op)
{
	struct chunk *c = &s->chunk[op->page];
	bool may = c->mapped && (c->prot & PROT_W);
	uint32_t tag = new_tag(a);
	int ret;

	mm_bind(s->mm);
	ret = wr(s->mm, tag_at(s, op->page), tag);
	if ((ret == 0) != may)
		WRONG(a, "the store returns %d", ret);
	if (may)
		c->tag = tag;
}

static void op_read(struct actor *a, struct space *s, const struct op *op)
{
	mm_bind(s->mm);
	check_read(a, s, op->page);
}

/* The device of the actor, in its first space, reads or writes. */
static void op_device(struct actor *a, struct space *any, const struct op *op)
{
	struct space *s = &a->space[0];
	struct chunk *c = &s->chunk[op->page];
	bool write = op->dice & 0x100;
	bool may = c->mapped && c->prot && (!write || c->prot & PROT_W);
	uint32_t word = write ? new_tag(a) : 0;
	int ret;

	if (a->id >= DEVICES)
		return;
	ret = write ? endpoint_write(&endpoints[a->id], tag_at(s, op->page),
				     word)
		    : endpoint_read(&endpoints[a->id], tag_at(s, op->page),
				    &word);
	if (ret != (may ? 0 : -EFAULT))
		return WRONG(a, "the device's access returns %d", ret);
	if (may && !write && word != c->tag)
		WRONG(a, "the device has read %x from chunk %u, want %lx", word,
		      op->page, c->tag);
	if (may && write)
		c->tag = word;
}

#define IN_CHUNK (OP_PAGE | OP_SPACE)
#define IN_RANGE (OP_RANGE | OP_SPACE)
static const struct op_kind kinds[] = {
	{ "map", 12, IN_RANGE | OP_PROT },
	{ "unmap", 4, IN_RANGE },
	{ "protect", 6, IN_RANGE | OP_PROT },
	{ "discard", 3, IN_RANGE },
	{ "remap", 4, IN_RANGE | OP_TO },
	{ "fork", 5, OP_SPACE | OP_TO_SPACE },
	{ "exit", 1, OP_TO_SPACE },
	{ "pin", 2, IN_CHUNK },
	{ "evict", 2, IN_CHUNK },
	{ "collapse", 6, IN_CHUNK },
	{ "advise", 2, IN_RANGE },
	{ "write", 20, IN_CHUNK },
	{ "read", 15, IN_CHUNK },
	{ "device", 18, OP_PAGE },
	{ NULL, 0, 0 },
};

/* In the order of kinds[]. */
static void (*const run_op[])(struct actor *a, struct space *s,
			      const struct op *op) = {
	op_map, op_unmap, op_protect,  op_discard, op_remap, op_fork, op_exit,
	op_pin, op_evict, op_collapse, op_advise,  op_write, op_read, op_device,
};
_Static_assert(ARRAY_SIZE(run_op) + 1 == ARRAY_SIZE(kinds), "one each");

/* ---- the run ---------------------------------------------------------------- */

static struct op draw(unsigned actor, unsigned number)
{
	static const struct op_limits limits = { .spaces = SPACES,
						 .pages = CHUNKS,
						 .longest = 12 };

	return widened(op_draw(kinds, &limits, test_seed(), actor, number));
}

static void words(unsigned actor, unsigned number, char *buf, size_t len)
{
	struct op op = draw(actor, number);

	op_words(kinds, &op, buf, len);
}

static void actor_main(void *arg)
{
	struct actor *a = arg;
	unsigned end = stress.ops;

	for (a->number = stress_next(&stress, a->id, 0, end); a->number < end;
	     a->number = stress_next(&stress, a->id, a->number + 1, end)) {
		struct op op = draw(a->id, a->number);

		run_op[op.kind](a, &a->space[op.space], &op);
	}
	for (unsigned i = 0; i < SPACES * CHUNKS; i++)
		check_read(a, &a->space[i / CHUNKS], i % CHUNKS);
	mm_bind(NULL);
}

/* Give each actor its spaces, and the first ones a device. */
static void spaces_begin(struct iommu_fixture *s)
{
	fixture_serve(s);
	for (unsigned i = 0; i < ACTORS; i++) {
		struct actor *a = &actors[i];

		*a = (struct actor){ .id = i };
		a->space[0].mm = fixture_mm(s, 1);
		for (unsigned k = 1; k < SPACES; k++) {
			a->space[k].mm = mm_create();
			REQUIRE(a->space[k].mm);
		}
		if (i >= DEVICES)
			continue;
		fixture_bind(s, i, a->space[0].mm);
		endpoint_open(&endpoints[i], s, i,
			      &(struct endpoint_config){ .limit = 1000000 });
	}
}

static void spaces_end(void)
{
	for (unsigned i = 0; i < DEVICES; i++)
		endpoint_close(&endpoints[i]);
	for (unsigned i = 0; i < ACTORS; i++)
		for (unsigned k = 1; k < SPACES; k++)
			mm_put(actors[i].space[k].mm);
}

/* What must have happened in a whole run. */
static void expect_work(const struct huge_stat *before, uint64_t scanned)
{
	struct huge_scan_stat scan;
	struct huge_stat now;

	huge_stat(&now);
	huge_scan_stat(&scan);
	test_note("%lu faults, %lu splits, %lu collapsed by the scanner",
		  now.faults - before->faults, now.splits - before->splits,
		  scan.collapsed - scanned);
	if (stress_planned() || stress.failed)
		return;
	EXPECT_EQ(stress.done, ACTORS * stress.ops);
	EXPECT(now.faults > before->faults);
	EXPECT(now.splits > before->splits);
	EXPECT(scan.collapsed > scanned);
	EXPECT(huge_zero);
}

static void stress_huge(struct iommu_fixture *s)
{
	struct thread *t[ACTORS];
	struct huge_scan_stat scanned;
	struct huge_stat before;

	stress = (struct stress){ .actors = ACTORS,
				  .ops = OPS * stress_times(),
				  .words = words };
	spaces_begin(s);
	huge_stat(&before);
	huge_scan_stat(&scanned);
	huge_scan_knobs.sleep_ns = 200000;
	stress_begin(&stress);
	REQUIRE(!huge_scan_start());
	for (unsigned i = 0; i < ACTORS; i++) {
		t[i] = thread_create("actor", actor_main, &actors[i]);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < ACTORS; i++)
		thread_join(t[i]);
	huge_scan_end();
	stress_end(&stress);
	huge_scan_knobs = HUGE_SCAN_KNOBS_DEFAULT;
	expect_work(&before, scanned.collapsed);
	spaces_end();
	EXPECT_STR_NULL(fixture_check(0));
	EXPECT_STR_NULL(fixture_check(1));
}

USER_TEST_IN(
	stress, huge, sva, USER_SVA, qemu,
	"spaces with pages of 2 MiB, a scanner and two devices in the same "
	"tables equal the flat model after 3,000 operations",
	LIMIT);
USER_TEST_IN(stress, huge, sva, USER_SVA, model,
	     "the same on the strict model, with devices in the same tables",
	     LIMIT);
USER_TEST_IN(stress, huge, mirror, USER_MIRROR, qemu,
	     "the same with mirrors, on QEMU's IOMMU", LIMIT);
USER_TEST_IN(stress, huge, mirror, USER_MIRROR, model,
	     "the same with mirrors, on the strict model", LIMIT);
