/* SPDX-License-Identifier: MIT */
/*
 * guest_stress.c - two vCPUs of a guest in an address space that six threads change
 *
 * The run of tests/stress/one.c, with two more actors, each of which drives a vCPU
 * (tests/fixture/guest/resident.h) by calls: it loads and stores words through nested paging,
 * while owners change the layout, CPUs load, store and pin, and the rover evicts and
 * forks.  Each vCPU is a writer like any other, with a word of its own in every page:
 * a stale read, a lost write or a write to the wrong page is reported with its
 * operation.
 *
 * Both forms: guest_own has a nested table of its own, guest_shared the mm's.  Rounds
 * end in turn by the end of the guest first and by the exit of the mm first.
 */
#include "tests/fixture/guest/resident.h"
#include "tests/stress/one.h"

#define ROUNDS    2u
#define ROUND_OPS 480u
#define WORDS     1000u /* at least, moved by the guest                     */
#define LIMIT     300   /* seconds, on a busy host                           */

static struct guest guest;
static struct resident vcpus[ONE_DEVICES];
static _Atomic uint64_t moved; /* words                                     */

static struct resident *vcpu_of(const struct one_actor *a)
{
	return &vcpus[a->id - ONE_ROVER - 1];
}

static void guest_read(struct one_actor *a, const struct op *op)
{
	unsigned k = op->dice % one.writers, page = one_page_for(op, PROT_R);
	struct look before = cell_look(page), after;
	uint64_t low = cell_low(&before, k);
	uint64_t got = guest_reads(vcpu_of(a), one_va(page) + 8 * k);

	after = cell_look(page);
	one_may(a, cell_may(&before, &after, PROT_R), got == BAD ? -1 : 0);
	if (got == BAD)
		return;
	one_value(a, &before, page, k, low, got);
	atomic_fetch_add(&moved, 1);
}

static void guest_write(struct one_actor *a, const struct op *op)
{
	unsigned page = one_page_for(op, PROT_W);
	struct look before = cell_look(page), after;
	uint64_t tag = cell_store_begin(a->writer, page);
	int ret = guest_writes(vcpu_of(a), one_va(page) + 8 * a->writer, tag);

	after = cell_look(page);
	one_may(a, cell_may(&before, &after, PROT_W), ret);
	cell_store_end(a->writer, &before, &after, ret == 0);
	if (!ret)
		atomic_fetch_add(&moved, 1);
}

static const struct role vcpu = { { { "guest writes", 55, OP_PAGE },
				    { "guest reads", 45, OP_PAGE },
				    { NULL, 0, 0 } },
				  { guest_write, guest_read },
				  ROUND_OPS };

/* ---- rounds ------------------------------------------------------------ */

static struct mm *begin(unsigned round)
{
	struct mm *mm = mm_fixture(1);

	REQUIRE(!guest_create(&guest, guest_form(), mm));
	if (guest.form->empty)
		REQUIRE(!guest_add_slot(&guest, &resident_memory));
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		resident_join(&vcpus[i], &guest, mm, RESIDENT_CALLED);
	return mm;
}

static void quiet(void)
{
}

static void end(unsigned round)
{
	if (round % 2)
		mm_put(one.mm);
	for (unsigned i = 0; i < ONE_DEVICES; i++)
		resident_stop(&vcpus[i]);
	guest_destroy(&guest);
	if (!(round % 2))
		mm_put(one.mm);
}

static void run(void)
{
	static const struct one_others with = { begin, quiet, end };

	atomic_store(&moved, 0);
	one_run(ROUNDS, &(struct one){ .writers = CELL_WRITERS,
				       .actors = ONE_ROVER + 1 + ONE_DEVICES,
				       .round_ops = ROUND_OPS,
				       .others = &with,
				       .device = &vcpu });
	test_note("stress: %lu words moved by the guest", atomic_load(&moved));
	if (!stress_planned() && !one.run.failed)
		EXPECT(atomic_load(&moved) >= WORDS * stress_times());
}

TEST_FULL(stress, guests,
	  "two vCPUs of a guest, with a nested table of its own and with the "
	  "mm's, read and write the same memory as its threads",
	  1, LIMIT)
{
	with_each_form(run);
}
