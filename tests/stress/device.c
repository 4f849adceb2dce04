/* SPDX-License-Identifier: MIT */
/*
 * device.c - two devices in an address space that six threads change
 *
 * The run of tests/stress/one.c, with two devices in its mm: each loads and stores
 * words by DMA at the process's addresses, and faults pages in by page requests
 * (tests/fixture/iommu/endpoint.h), while owners change the layout, CPUs load,
 * store and pin, and the rover evicts and forks.  Each device is a writer like any
 * other, with a word of its own in every page.  Each load is checked against what
 * the page's owner stated before and after it, so a stale read, a lost write, or a
 * write to the wrong page is reported with its operation.
 *
 * Both forms: USER_SVA walks the mm's own tables, USER_MIRROR has a tree of its
 * own.  On QEMU the words move by real DMA.
 *
 * Between rounds all actors stop: what devices have cached or mapped must be what
 * the CPU's tables say (O3, mirror_check(), iommu_check()).  Rounds end in turn
 * by unbinding first and by the exit of the mm first.
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/stress/one.h"

#define ROUNDS       5u
#define MODEL_ROUNDS 3u /* its steps are slow, and it moves no real data   */
#define ROUND_OPS    480u
#define WORDS        2700u /* at least, moved by DMA on QEMU              */
#define LIMIT        300   /* seconds, on a busy host                      */

static struct one_device {
	struct endpoint endpoint;
	struct user *user;
	_Atomic uint64_t moved; /* words                                   */
} devices[ONE_DEVICES];

static struct iommu_fixture *fixture;

static struct one_device *device_of(const struct one_actor *a)
{
	return &devices[a->id - ONE_ROVER - 1];
}

/* At once, without a thread in between; or by faults, until it is decided. */
static int move(struct one_device *g, va_t va, uint32_t *word, bool write)
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

static void device_read(struct one_actor *a, const struct op *op)
{
	unsigned k = op->dice % one.writers, page = one_page_for(op, PROT_R);
	struct look before = cell_look(page), after;
	uint64_t low = cell_low(&before, k);
	uint32_t word = 0;
	int ret = move(device_of(a), one_va(page) + 8 * k, &word, false);

	after = cell_look(page);
	may(a, cell_may(&before, &after, PROT_R), ret);
	if (!ret)
		one_value(a, &before, page, k, low, word);
}

static void device_write(struct one_actor *a, const struct op *op)
{
	unsigned page = one_page_for(op, PROT_W);
	struct look before = cell_look(page), after;
	uint32_t tag = cell_store_begin(a->writer, page);
	int ret = move(device_of(a), one_va(page) + 8 * a->writer, &tag, true);

	after = cell_look(page);
	may(a, cell_may(&before, &after, PROT_W), ret);
	cell_store_end(a->writer, &before, &after, ret == 0);
}

/* Several pages in one group: the worst of them decides, and it may race. */
static void device_ask(struct one_actor *a, const struct op *op)
{
	int ret = endpoint_ask(&device_of(a)->endpoint, one_va(op->page),
			       1 + op->dice % 3, op->dice & BIT(8));

	if (ret && ret != -EFAULT)
		ONE_WRONG(a, "the device ends with %d", ret);
}

static const struct role device = { { { "device writes", 54, OP_PAGE },
				      { "device reads", 44, OP_PAGE },
				      { "device asks", 2, OP_PAGE },
				      { NULL, 0, 0 } },
				    { device_write, device_read, device_ask },
				    ROUND_OPS };

/* ---- rounds ------------------------------------------------------------ */

static struct mm *begin(unsigned round)
{
	struct mm *mm = fixture_mm(fixture, 1);

	for (unsigned i = 0; i < ONE_DEVICES; i++)
		devices[i].user = fixture_bind(fixture, i, mm);
	return mm;
}

static void quiet(void)
{
	device_checkers_look();
	EXPECT_STR_NULL(iommu_check(fixture->iommu));
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		if (devices[i].user->kind == USER_MIRROR)
			EXPECT_STR_NULL(mirror_check(&devices[i].user->mirror));
}

static void end(unsigned round)
{
	if (round % 2)
		fixture_exit(one.mm);
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		fixture_unbind(fixture, i);
	if (!(round % 2))
		fixture_exit(one.mm);
}

static void run(struct iommu_fixture *s)
{
	static const struct one_others with = { begin, quiet, end };
	uint64_t moved = 0, faults = 0, vain = 0;

	fixture = s;
	fixture_serve(s);
	for (unsigned i = 0; i < ONE_DEVICES; i++) {
		endpoint_open(&devices[i].endpoint, s, i,
			      &(struct endpoint_config){ .limit = 1000000 });
		atomic_store(&devices[i].moved, 0);
	}
	one_run(s->model ? MODEL_ROUNDS : ROUNDS,
		&(struct one){ .writers = CELL_WRITERS,
			       .actors = ONE_ROVER + 1 + ONE_DEVICES,
			       .round_ops = ROUND_OPS,
			       .others = &with,
			       .device = &device });
	for (unsigned i = 0; i < ONE_DEVICES; i++) {
		moved += atomic_load(&devices[i].moved);
		faults += devices[i].endpoint.stats.faults;
		vain += devices[i].endpoint.stats.fruitless;
	}
	test_note("stress: %lu words moved by DMA, %lu page requests, %lu in "
		  "vain",
		  moved, faults, vain);
	if (!stress_planned() && !one.run.failed && !s->model)
		EXPECT(moved >= WORDS * stress_times());
}

static void stress_devices(struct iommu_fixture *s)
{
	run(s);
}

USER_TEST_IN(stress, devices, sva, USER_SVA, qemu,
	     "two devices that walk the mm's page table read and write the "
	     "same memory as its threads, on QEMU's IOMMU",
	     LIMIT);
USER_TEST_IN(stress, devices, sva, USER_SVA, model,
	     "two devices that walk the mm's page table read and write the "
	     "same memory as its threads, on the strict model",
	     LIMIT);
USER_TEST_IN(stress, devices, mirror, USER_MIRROR, qemu,
	     "two devices with a mirror of the mm read and write the same "
	     "memory as its threads, on QEMU's IOMMU",
	     LIMIT);
USER_TEST_IN(stress, devices, mirror, USER_MIRROR, model,
	     "two devices with a mirror of the mm read and write the same "
	     "memory as its threads, on the strict model",
	     LIMIT);
