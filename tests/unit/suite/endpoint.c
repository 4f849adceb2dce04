/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c - the faulting device itself, with a known fault server
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/fault_server.h"

#define PAGES 4u

static struct endpoint e;
static struct fault_server fault_server;

static void open_fault_server(struct iommu_fixture *s)
{
	fault_server_open(&fault_server, s, 0);
	endpoint_open(&e, s, 0, NULL);
}

IOMMU_TEST(endpoint, fault_brings_the_page,
	   "a device that misses a page sends one request and then moves its "
	   "data by real DMA; a second access sends none")
{
	uint32_t word;

	open_fault_server(s);
	for (unsigned i = 0; i < PAGES; i++) {
		EXPECT_EQ(endpoint_read(&e, IO(i), &word), 0);
		EXPECT_EQ(word, 'A' + i);
		EXPECT_EQ(endpoint_write(&e, IO(i) + 8, 'a' + i), 0);
		EXPECT_EQ(((uint64_t *)page_va(fault_server.page[i]))[1],
			  'a' + i);
		EXPECT_EQ(fixture_word(fault_server.page[i]), 'A' + i);
	}
	EXPECT_EQ(e.stats.faults, PAGES);
	EXPECT_EQ(fault_server.calls, PAGES);
	EXPECT_EQ(e.stats.dmas, 2 * PAGES);
	EXPECT_EQ(e.stats.fruitless, 0);
}

IOMMU_TEST(endpoint, write_asks_for_the_right,
	   "a write to a read-only page makes the device fault")
{
	uint32_t word;

	open_fault_server(s);
	fault_server.prot = PROT_R;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	EXPECT_EQ(endpoint_write(&e, IOVA, 'x'), -EFAULT);
	EXPECT_EQ(fixture_word(fault_server.page[0]), 'A');
	fault_server.prot = IO_RW;
	EXPECT_EQ(endpoint_write(&e, IOVA, 'x'), 0);
	EXPECT_EQ(fixture_word(fault_server.page[0]), 'x');
	EXPECT_EQ(e.stats.faults, 3);
	EXPECT_EQ(e.stats.invalid, 1);
}

IOMMU_TEST(endpoint, zero_is_a_word,
	   "a word of 0 is data where a page is mapped, and a fault where "
	   "none is")
{
	uint32_t word = 1;

	open_fault_server(s);
	*(uint64_t *)page_va(fault_server.page[1]) = 0;
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), 0);
	EXPECT_EQ(word, 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), 0);
	EXPECT_EQ(e.stats.faults, 1);
	REQUIRE(!domain_unmap(fault_server.d, IO(1), IO(2)));
	EXPECT(!endpoint_reaches(&e, IO(1), &word, false));
}

IOMMU_TEST(endpoint, gives_up_after_its_limit,
	   "a device enters its failure state after exactly `limit` faults "
	   "that were answered in vain")
{
	uint32_t word;

	open_fault_server(s);
	fault_server.in_vain = ENDPOINT_LIMIT - 1;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	EXPECT_EQ(e.stats.fruitless, ENDPOINT_LIMIT - 1);
	EXPECT_EQ(e.state, ENDPOINT_RUNS);
	fault_server.calls = 0;
	fault_server.in_vain = ENDPOINT_LIMIT;
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), -EIO);
	EXPECT_EQ(e.state, ENDPOINT_FAILED);
	EXPECT_EQ(fault_server.calls, ENDPOINT_LIMIT);
	/* It no longer accesses a page that it could reach before. */
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(fault_server.calls, ENDPOINT_LIMIT);
}

IOMMU_TEST(endpoint, failure_stops_it,
	   "after the answer FAILURE the device sends no more page requests")
{
	uint32_t word;

	open_fault_server(s);
	fault_server.status = PPR_FAILURE;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(e.state, ENDPOINT_STOPPED);
	fault_server.status = PPR_SUCCESS;
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EIO);
	EXPECT_EQ(fault_server.calls, 1);
}

IOMMU_TEST(endpoint, denied_device_may_not_ask,
	   "a device whose entry forbids page requests gets no answer and no "
	   "data")
{
	uint32_t word;

	open_fault_server(s);
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), 0);
	fixture_detach(s, 0);
	EXPECT_EQ(endpoint_read(&e, IOVA, &word), -EFAULT);
	EXPECT_EQ(fault_server.calls, 1);
	EXPECT_EQ(pri_total(s->devid[0]).asked, 1);
}

IOMMU_TEST(endpoint, group_has_one_answer,
	   "a group of several pages is one request with one answer")
{
	struct pri_tally t;
	uint32_t word;

	open_fault_server(s);
	EXPECT_EQ(endpoint_ask(&e, IOVA, PAGES, true), 0);
	EXPECT_EQ(fault_server.calls, PAGES);
	t = pri_total(s->devid[0]);
	EXPECT_EQ(t.asked, 1);
	EXPECT_EQ(t.answered[PPR_SUCCESS], 1);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(endpoint_read(&e, IO(i), &word), 0);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.requests, PAGES);
}

/* The CPU of the device's thread when it wrote. */
static _Atomic uint64_t wrote_on;

static void note_cpu(uint64_t a, uint64_t b, void *arg)
{
	(void)a, (void)b, (void)arg;
	atomic_fetch_or(&wrote_on, BIT(cpu_id()));
}

IOMMU_TEST_SMP(endpoint, runs_on_its_own_cpu,
	       "a device that was given a CPU works on that CPU only", 2)
{
	open_fault_server(s);
	endpoint_close(&e);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		endpoint_open(&e, s, 0,
			      &(struct endpoint_config){ .cpus = BIT(cpu) });
		wrote_on = 0;
		hook("endpoint_write", note_cpu, NULL);
		for (unsigned i = 0; i < 40; i++) {
			EXPECT_EQ(endpoint_write(&e, IO(i % PAGES), i + 1), 0);
			yield();
		}
		unhook("endpoint_write");
		EXPECT_EQ(wrote_on, BIT(cpu));
		endpoint_close(&e);
	}
}
