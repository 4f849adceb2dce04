/* SPDX-License-Identifier: MIT */
/*
 * stress_device.c - two devices in an address space that six threads change
 *
 * The run of stress_one.c, with two more users of its mm who are no threads of
 * it: each device loads and stores words by DMA at the process's addresses, and
 * faults pages in by page requests (tests/endpoint.h), while owners change the
 * layout, CPUs load, store and pin, and the rover evicts and forks.  Each device
 * is a writer like any other, with a word of its own in every page: what it and
 * the CPUs load is judged by what the page's owner said before and after, so a
 * stale read, a lost write, or a write that arrives where it may not be seen
 * later is told, with the operation.
 *
 * Both forms: USER_SVA walks the mm's own tables, USER_MIRROR has a tree of its
 * own.  On QEMU the words move by real DMA.
 *
 * Between rounds nobody runs: what devices have cached or mapped must be what
 * the CPU's tables say (O3, mirror_check(), iommu_check()).  Rounds end in turn
 * by unbinding first and by the exit of the mm first.
 */
#include "kernel/err.h"
#include "tests/endpoint.h"
#include "tests/stand_mm.h"
#include "tests/stress_one.h"

#define ROUNDS       76u
#define MODEL_ROUNDS 10u /* its steps are slow, and it moves no real data   */
#define ROUND_OPS    480u
#define LIMIT        300 /* seconds, on a busy host                      */

static struct guest {
	struct endpoint endpoint;
	struct user *user;
	_Atomic uint64_t moved; /* words                                   */
} guests[ONE_DEVICES];

static struct stand *stand;

static struct guest *guest_of(const struct one_actor *a)
{
	return &guests[a->id - ONE_ROVER - 1];
}

/* At once, without a thread in between; or by faults, until it is decided. */
static int move(struct guest *g, va_t va, uint32_t *word, bool write)
{
	int ret = 0;

	if (!endpoint_reaches(&g->endpoint, va, word, write))
		ret = write ? endpoint_write(&g->endpoint, va, *word)
			    : endpoint_read(&g->endpoint, va, word);
	if (!ret)
		atomic_fetch_add(&g->moved, 1);
	return ret;
}

/* -EFAULT is an answer; anything else says that the device has given up. */
static void may(struct one_actor *a, enum may may, int ret)
{
	if (ret && ret != -EFAULT)
		ONE_WRONG(a, "the device ends with %d", ret);
	one_may(a, may, ret);
}

/* A page from op's on that allows it now, mostly: refusals move no data. */
static unsigned page_for(const struct op *op, enum prot right)
{
	unsigned page = op->page;

	for (unsigned i = 0; i < 8 && op->dice & 0x7000; i++) {
		if (cell_look(page).now & right)
			break;
		page = (page + 1) % CELL_PAGES;
	}
	return page;
}

static void device_read(struct one_actor *a, const struct op *op)
{
	unsigned k = op->dice % one.writers, page = page_for(op, PROT_R);
	struct look before = cell_look(page), after;
	uint64_t low = cell_low(&before, k);
	uint32_t word = 0;
	int ret = move(guest_of(a), P(page) + 8 * k, &word, false);

	after = cell_look(page);
	may(a, cell_may(&before, &after, PROT_R), ret);
	if (!ret)
		one_value(a, &before, page, k, low, word);
}

static void device_write(struct one_actor *a, const struct op *op)
{
	unsigned page = page_for(op, PROT_W);
	struct look before = cell_look(page), after;
	uint32_t tag = cell_store_begin(a->writer, page);
	int ret = move(guest_of(a), P(page) + 8 * a->writer, &tag, true);

	after = cell_look(page);
	may(a, cell_may(&before, &after, PROT_W), ret);
	cell_store_end(a->writer, &before, &after, ret == 0);
}

/* Several pages in one group: the worst of them decides, and it may race. */
static void device_ask(struct one_actor *a, const struct op *op)
{
	int ret = endpoint_ask(&guest_of(a)->endpoint, P(op->page),
			       1 + op->dice % 3, op->dice & BIT(8));

	if (ret && ret != -EFAULT)
		ONE_WRONG(a, "the device ends with %d", ret);
}

const struct role one_device = { { { "device writes", 54, OP_PAGE },
				   { "device reads", 44, OP_PAGE },
				   { "device asks", 2, OP_PAGE },
				   { NULL, 0, 0 } },
				 { device_write, device_read, device_ask },
				 ROUND_OPS };

/* ---- rounds ------------------------------------------------------------ */

static struct mm *begin(unsigned round)
{
	struct mm *mm = stand_mm(stand, 1);

	for (unsigned i = 0; i < ONE_DEVICES; i++)
		guests[i].user = stand_bind(stand, i, mm);
	return mm;
}

static void quiet(void)
{
	oracles_look();
	EXPECT_STR_NULL(iommu_check(stand->iommu));
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		if (guests[i].user->kind == USER_MIRROR)
			EXPECT_STR_NULL(mirror_check(&guests[i].user->mirror));
}

static void end(unsigned round)
{
	if (round % 2)
		stand_exit(one.mm);
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		stand_unbind(stand, i);
	if (!(round % 2))
		stand_exit(one.mm);
}

static void run(struct stand *s)
{
	static const struct one_guests with = { begin, quiet, end };
	uint64_t moved = 0, faults = 0, vain = 0;

	stand = s;
	stand_serve(s);
	for (unsigned i = 0; i < ONE_DEVICES; i++) {
		endpoint_open(&guests[i].endpoint, s, i,
			      &(struct endpoint_config){ .limit = 1000000 });
		atomic_store(&guests[i].moved, 0);
	}
	one_run(s->model ? MODEL_ROUNDS : ROUNDS,
		&(struct one){ .writers = CELL_WRITERS,
			       .actors = ONE_ROVER + 1 + ONE_DEVICES,
			       .round_ops = ROUND_OPS,
			       .guests = &with });
	for (unsigned i = 0; i < ONE_DEVICES; i++) {
		moved += atomic_load(&guests[i].moved);
		faults += guests[i].endpoint.stats.faults;
		vain += guests[i].endpoint.stats.fruitless;
	}
	test_note("stress: %lu words moved by DMA, %lu page requests, %lu in "
		  "vain",
		  moved, faults, vain);
	if (!stress_planned() && !one.run.failed && !s->model)
		EXPECT(moved >= 50000);
}

static void stress_devices(struct stand *s)
{
	run(s);
}

USER_TEST_IN(stress, devices, sva, USER_SVA, qemu,
	     "two devices in the mm, walking its tables, load and store what "
	     "its threads do",
	     LIMIT);
USER_TEST_IN(stress, devices, sva, USER_SVA, model, "the same, strictly",
	     LIMIT);
USER_TEST_IN(stress, devices, mirror, USER_MIRROR, qemu,
	     "the same with a tree of the devices' own", LIMIT);
USER_TEST_IN(stress, devices, mirror, USER_MIRROR, model, "the same, strictly",
	     LIMIT);
