/* SPDX-License-Identifier: MIT */
/*
 * unit_endpoint.c - the faulting device itself, with a pager that we know
 */
#include "kernel/err.h"
#include "tests/pager.h"

#define WINDOW 4u

static struct endpoint e;
static struct pager pager;

static void open_pager(struct stand *s)
{
	pager_open(&pager, s, 0);
	endpoint_open(&e, s, 0, NULL);
}

IOMMU_TEST(endpoint, fault_brings_the_page,
	   "a device that misses a page asks once and then moves its data, by "
	   "the real DMA; a second access asks nobody")
{
	uint32_t word;

	open_pager(s);
	for (unsigned i = 0; i < WINDOW; i++) {
		EXPECT_EQ(endpoint_read(&e, IO(i), &word), 0);
		EXPECT_EQ(word, 'A' + i);
		EXPECT_EQ(endpoint_write(&e, IO(i) + 8, 'a' + i), 0);
		EXPECT_EQ(((uint64_t *)page_va(pager.page[i]))[1], 'a' + i);
		EXPECT_EQ(stand_word(pager.page[i]), 'A' + i);
	}
	EXPECT_EQ(e.stats.faults, WINDOW);
	EXPECT_EQ(pager.calls, WINDOW);
	EXPECT_EQ(e.stats.dmas, 2 * WINDOW);
	EXPECT_EQ(e.stats.fruitless, 0);
}

IOMMU_TEST(endpoint, write_asks_for_the_right,
	   "a page that may only be read brings a fault when the device writes")
{
	uint32_t word;

	open_pager(s);
	pager.prot = PROT_R;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	EXPECT_EQ(endpoint_write(&e, IOVA, 'x'), -EFAULT);
	EXPECT_EQ(stand_word(pager.page[0]), 'A');
	pager.prot = IO_RW;
	EXPECT_EQ(endpoint_write(&e, IOVA, 'x'), 0);
	EXPECT_EQ(stand_word(pager.page[0]), 'x');
	EXPECT_EQ(e.stats.faults, 3);
	EXPECT_EQ(e.stats.invalid, 1);
}

IOMMU_TEST(endpoint, zero_is_a_word,
	   "a word of 0 that the device reads is data where a page is mapped, "
	   "and a fault where none is")
{
	uint32_t word = 1;

	open_pager(s);
	*(uint64_t *)page_va(pager.page[1]) = 0;
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), 0);
	EXPECT_EQ(word, 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), 0);
	EXPECT_EQ(e.stats.faults, 1);
	REQUIRE(!domain_unmap(pager.d, IO(1), IO(2)));
	EXPECT(!endpoint_reaches(&e, IO(1), &word, false));
}

IOMMU_TEST(endpoint, gives_up_after_its_limit,
	   "faults that are answered and change nothing bring the device into "
	   "its failure state at the limit, not before")
{
	uint32_t word;

	open_pager(s);
	pager.in_vain = ENDPOINT_LIMIT - 1;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	EXPECT_EQ(e.stats.fruitless, ENDPOINT_LIMIT - 1);
	EXPECT_EQ(e.state, ENDPOINT_RUNS);
	pager.calls = 0;
	pager.in_vain = ENDPOINT_LIMIT;
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), -EIO);
	EXPECT_EQ(e.state, ENDPOINT_FAILED);
	EXPECT_EQ(pager.calls, ENDPOINT_LIMIT);
	/* What it could reach before it does not touch either. */
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(pager.calls, ENDPOINT_LIMIT);
}

IOMMU_TEST(endpoint, failure_stops_it,
	   "after FAILURE the device sends no more page requests")
{
	uint32_t word;

	open_pager(s);
	pager.status = PPR_FAILURE;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(e.state, ENDPOINT_STOPPED);
	pager.status = PPR_SUCCESS;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(pager.calls, 1);
}

IOMMU_TEST(endpoint, denied_device_may_not_ask,
	   "a device whose entry does not let it send page requests gets no "
	   "answer and no data")
{
	uint32_t word;

	open_pager(s);
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	stand_detach(s, 0);
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EFAULT);
	EXPECT_EQ(pager.calls, 1);
	EXPECT_EQ(pri_total(s->devid[0]).asked, 1);
}

IOMMU_TEST(endpoint, group_of_pages,
	   "a group of several pages is one question and one answer")
{
	struct pri_tally t;
	uint32_t word;

	open_pager(s);
	EXPECT_EQ(endpoint_ask(&e, IOVA, WINDOW, true), 0);
	EXPECT_EQ(pager.calls, WINDOW);
	t = pri_total(s->devid[0]);
	EXPECT_EQ(t.asked, 1);
	EXPECT_EQ(t.answered[PPR_SUCCESS], 1);
	for (unsigned i = 0; i < WINDOW; i++)
		EXPECT_EQ(endpoint_read(&e, IO(i), &word), 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.requests, WINDOW);
}

/* Where the device's thread was when it wrote. */
static _Atomic uint64_t wrote_on;

static void note_cpu(uint64_t a, uint64_t b, void *arg)
{
	(void)a, (void)b, (void)arg;
	atomic_fetch_or(&wrote_on, BIT(cpu_id()));
}

IOMMU_TEST_SMP(endpoint, runs_on_its_own_cpu,
	       "a device that was given a CPU works there and nowhere else, "
	       "whoever uses it",
	       2)
{
	open_pager(s);
	endpoint_close(&e);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		endpoint_open(&e, s, 0,
			      &(struct endpoint_config){ .cpus = BIT(cpu) });
		wrote_on = 0;
		hook("endpoint_write", note_cpu, NULL);
		for (unsigned i = 0; i < 40; i++) {
			EXPECT_EQ(endpoint_write(&e, IO(i % WINDOW), i + 1), 0);
			yield();
		}
		unhook("endpoint_write");
		EXPECT_EQ(wrote_on, BIT(cpu));
		endpoint_close(&e);
	}
}
