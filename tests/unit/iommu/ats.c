/* SPDX-License-Identifier: MIT */
/*
 * ats.c - devices with a TLB of their own (ATS)
 *
 * No QEMU device has one, so only the model shows it.  The device is greedy: it
 * requests the page's translation at every access to a register, that is
 * between any two steps of a flush, and keeps what it gets.
 */
#include "arch/clock.h"
#include "iommu/core/unresponsive.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV   8
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + PAGE_SIZE * (n))
#define HIGH  (UINT64_C(1) << 40)
#define RW    (PROT_R | PROT_W)

static const struct model_config shuffled = { .mode = MODEL_SHUFFLED,
					      .delay = 1 };
static iova_t wanted;
static unsigned asked;
static struct thread *flusher; /* between whose steps the device asks    */

static void ask(struct driver *v)
{
	/* Refusals cause events: the log's reader would cause new ones. */
	if (current() != flusher)
		return;
	asked++;
	driver_read(v, DEV, wanted);
	driver_write(v, DEV, wanted + 8, 'X');
}

static void greedy(struct driver *v, iova_t iova)
{
	wanted = iova;
	asked = 0;
	flusher = current();
	v->between = ask;
}

static void sated(struct driver *v)
{
	v->between = NULL;
	EXPECT(asked > 2);
}

static bool device_names(struct driver *v, iova_t iova)
{
	struct model_entry e;

	return model_lookup(v->m, true, DEV, iova, &e);
}

static struct domain *open_ats(struct driver **v, struct page **page)
{
	struct domain *d;

	*v = driver_open(&shuffled);
	model_set_ats((*v)->m, DEV, MODEL_ATS_ON);
	*page = driver_page(*v, 'A');
	d = domain_create(&(*v)->iommu);
	REQUIRE(d && !domain_map(d, IOVA, page_pa(*page), PAGE_SIZE, RW));
	REQUIRE(!domain_attach(d, DEV, ATTACH_ATS));
	EXPECT_EQ(driver_read(*v, DEV, IOVA), 'A');
	EXPECT(device_names(*v, IOVA));
	return d;
}

static void close_ats(struct driver *v, struct domain *d)
{
	REQUIRE(!domain_detach(d, DEV));
	domain_destroy(d);
	driver_close(v);
}

TEST(ats, unmap_reaches_the_device,
     "a device that asks between all steps of an unmap has no translation "
     "afterwards: the IOMMU is flushed first, then the device (B7, C18)")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	for (unsigned i = 0; i < 20; i++) {
		greedy(v, IOVA);
		EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
		sated(v);
		EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
		EXPECT(!device_names(v, IOVA));
		EXPECT(!model_names_frame(v->m, page_pa(page), NULL, 0));
		REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
		EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	}
	close_ats(v, d);
}

TEST(ats, lost_right_reaches_the_device,
     "a change of rights reaches a device that asks between all steps, "
     "whether rights are taken or given")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	EXPECT(driver_write(v, DEV, IOVA, 'B'));
	greedy(v, IOVA);
	EXPECT_EQ(domain_protect(d, IOVA, IO(1), PROT_R), 0);
	sated(v);
	EXPECT(!driver_write(v, DEV, IOVA, 'C'));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'B');
	greedy(v, IOVA);
	EXPECT_EQ(domain_protect(d, IOVA, IO(1), RW), 0);
	sated(v);
	EXPECT(driver_write(v, DEV, IOVA, 'D'));
	close_ats(v, d);
}

TEST(ats, wide_flush_reaches_the_device,
     "an unmap that takes more than FLUSH_MAX commands flushes its whole "
     "range from the device's TLB")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);
	iova_t end = IO(2 * 32768 - 1);

	for (iova_t at = IO(1); at < end; at += IO(5000) - IOVA)
		REQUIRE(!domain_map(d, at, page_pa(page), PAGE_SIZE, RW));
	for (iova_t at = IO(1); at < end; at += IO(5000) - IOVA)
		EXPECT_EQ(driver_read(v, DEV, at), 'A');
	EXPECT_EQ(domain_unmap(d, IO(1), end), 0);
	for (iova_t at = IO(1); at < end; at += IO(5000) - IOVA)
		EXPECT(!device_names(v, at));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	close_ats(v, d);
}

static uint64_t done(struct driver *v, enum command_op op)
{
	struct model_stats s;

	model_stats(v->m, &s);
	return s.commands[op];
}

TEST(ats, flush_counts_its_commands,
     "a domain counts a flush, and the commands that it took: one for the "
     "IOMMU and one for the device's TLB")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);
	uint64_t flushes = d->flushes, commands = d->commands;
	uint64_t pages = done(v, INVALIDATE_IOMMU_PAGES);
	uint64_t tlbs = done(v, INVALIDATE_IOTLB_PAGES);

	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
	EXPECT_EQ(d->flushes, flushes + 1);
	EXPECT_EQ(d->commands, commands + 2);
	EXPECT_EQ(done(v, INVALIDATE_IOMMU_PAGES), pages + 1);
	EXPECT_EQ(done(v, INVALIDATE_IOTLB_PAGES), tlbs + 1);
	close_ats(v, d);
}

TEST(ats, moved_device_keeps_no_translation,
     "a device with a full TLB that changes its domain sees the new domain "
     "and no page of the old")
{
	struct page *page, *other;
	struct driver *v;
	struct domain *d = open_ats(&v, &page), *next;

	other = driver_page(v, 'B');
	next = domain_create(&v->iommu);
	REQUIRE(next);
	REQUIRE(!domain_map(next, IO(1), page_pa(other), PAGE_SIZE, RW));
	greedy(v, IOVA);
	REQUIRE(!domain_detach(d, DEV));
	sated(v);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT(!model_names_frame(v->m, page_pa(page), NULL, 0));
	REQUIRE(!domain_attach(next, DEV, ATTACH_ATS));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT_EQ(driver_read(v, DEV, IO(1)), 'B');
	REQUIRE(!domain_detach(next, DEV));
	REQUIRE(!domain_attach(d, DEV, ATTACH_ATS));
	domain_destroy(next);
	close_ats(v, d);
}

TEST(ats, growth_keeps_the_device,
     "a device with a TLB loses no page when the tree grows")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	greedy(v, HIGH);
	REQUIRE(!domain_map(d, HIGH, page_pa(page), PAGE_SIZE, RW));
	sated(v);
	EXPECT_EQ(driver_read(v, DEV, HIGH), 'A');
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	close_ats(v, d);
}

/* ---- a device that does not answer (iommu/core/unresponsive.h) --------- */

#define NEIGHBOUR 9

/* The thread that reads the log marks the device, and only then says so. */
static void await_complaint(struct driver *v)
{
	if (iommu_is_unresponsive(&v->iommu, DEV))
		capture_await();
	capture_end();
}

static void unmap_of_unresponsive(struct driver *v, struct domain *d)
{
	model_set_ats(v->m, DEV, MODEL_ATS_UNRESPONSIVE);
	capture_begin();
	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
	await_complaint(v);
	v->between = NULL;
	EXPECT(iommu_is_unresponsive(&v->iommu, DEV));
}

static void reset(struct driver *v)
{
	model_set_ats(v->m, DEV, MODEL_ATS_NONE);
	model_set_ats(v->m, DEV, MODEL_ATS_ON);
	iommu_clear_unresponsive(&v->iommu, DEV);
	EXPECT(!iommu_is_unresponsive(&v->iommu, DEV));
}

/* The page is still in its TLB, and the device does not reach it. */
static void expect_denied(struct driver *v, struct page *page)
{
	EXPECT(device_names(v, IOVA));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT(!driver_write(v, DEV, IOVA, 'X'));
	EXPECT(!model_names_frame(v->m, page_pa(page), NULL, 0));
	EXPECT_EQ(*(uint64_t *)page_va(page), 'A');
}

TEST(ats, unresponsive_device_is_denied,
     "a device that never answers invalidations is denied, so that unmap "
     "keeps its contract; the ring and other members of the domain continue")
{
	struct model_stats stats;
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	model_set_ats(v->m, NEIGHBOUR, MODEL_ATS_ON);
	REQUIRE(!domain_map(d, IO(2), page_pa(page), PAGE_SIZE, RW));
	REQUIRE(!domain_attach(d, NEIGHBOUR, ATTACH_ATS));
	EXPECT_EQ(driver_read(v, NEIGHBOUR, IOVA), 'A');
	unmap_of_unresponsive(v, d);
	expect_denied(v, page);
	EXPECT(glob_match("*device 8 does not answer*", captured));
	EXPECT_EQ(driver_read(v, NEIGHBOUR, IOVA), 0);
	EXPECT_EQ(driver_read(v, NEIGHBOUR, IO(2)), 'A');
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	/* The device is denied now and is not asked again. */
	EXPECT_EQ(domain_unmap(d, IO(2), IO(3)), 0);
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.events[IOTLB_INV_TIMEOUT], 1);
	REQUIRE(!domain_map(d, HIGH, page_pa(page), PAGE_SIZE, RW));
	EXPECT_EQ(driver_read(v, DEV, HIGH), 0);
	REQUIRE(!domain_detach(d, NEIGHBOUR));
	close_ats(v, d);
}

TEST(ats, unresponsive_device_comes_back_after_a_reset,
     "a device that did not answer may have no TLB in any domain until it was "
     "reset")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	unmap_of_unresponsive(v, d);
	REQUIRE(!domain_detach(d, DEV));
	EXPECT_EQ(domain_attach(d, DEV, ATTACH_ATS), -EIO);
	REQUIRE(!domain_attach(d, DEV, 0));
	expect_denied(v, page);
	REQUIRE(!domain_detach(d, DEV));
	reset(v);
	REQUIRE(!domain_attach(d, DEV, ATTACH_ATS));
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	close_ats(v, d);
}

TEST(ats, unresponsive_device_is_noticed_when_it_leaves,
     "a device that did not answer during its detach may have no TLB until it "
     "was reset")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	/* The log's thread is not woken. */
	reg_write(&v->port, REG_CONTROL,
		  reg_read(&v->port, REG_CONTROL) & ~CONTROL_EVENT_INT_EN);
	model_set_ats(v->m, DEV, MODEL_ATS_UNRESPONSIVE);
	capture_begin();
	REQUIRE(!domain_detach(d, DEV));
	await_complaint(v);
	expect_denied(v, page);
	EXPECT_EQ(domain_attach(d, DEV, ATTACH_ATS), -EIO);
	reset(v);
	REQUIRE(!domain_attach(d, DEV, ATTACH_ATS));
	close_ats(v, d);
}

TEST(ats, late_event_is_waited_for,
     "a flush waits for the timeout event that becomes visible after the wait "
     "has ended")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	model_set_log_delay(v->m, 400);
	unmap_of_unresponsive(v, d);
	expect_denied(v, page);
	close_ats(v, d);
}

/* Let the log's thread win the race whenever possible. */
static void let_drain(struct driver *v)
{
	uint64_t end = clock_ns() + 2000000;

	while (current() == flusher && clock_ns() < end &&
	       reg_read(&v->port, REG_EVENT_HEAD) !=
		       reg_read(&v->port, REG_EVENT_TAIL))
		cpu_pause();
}

TEST_SMP(ats, drained_event_is_not_missed,
	 "a flush does not miss a timeout event that the log's thread has "
	 "already taken",
	 2)
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	flusher = current();
	v->between = let_drain;
	unmap_of_unresponsive(v, d);
	expect_denied(v, page);
	close_ats(v, d);
}

/* The log overflowed, and its restart makes no progress: no event gets in. */
static void log_off(struct driver *v, bool off)
{
	uint64_t control = reg_read(&v->port, REG_CONTROL);

	atomic_fetch_add(&v->iommu.events.generation, 1);
	reg_write(&v->port, REG_CONTROL,
		  off ? control & ~CONTROL_EVENT_LOG_EN
		      : control | CONTROL_EVENT_LOG_EN);
}

TEST(ats, lost_event_is_no_proof,
     "a log that may have lost the timeout event proves nothing: the device "
     "is asked again, and then denied")
{
	struct model_stats stats;
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	log_off(v, true);
	unmap_of_unresponsive(v, d);
	log_off(v, false);
	expect_denied(v, page);
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.commands[INVALIDATE_IOTLB_PAGES], 3);
	EXPECT_EQ(stats.events[IOTLB_INV_TIMEOUT], 0);
	close_ats(v, d);
}

TEST(ats, full_log_denies_no_device,
     "a device that answers is not denied, whatever the log has lost")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	REQUIRE(!domain_map(d, IO(2), page_pa(page), PAGE_SIZE, RW));
	log_off(v, true);
	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
	log_off(v, false);
	EXPECT(!iommu_is_unresponsive(&v->iommu, DEV));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT_EQ(driver_read(v, DEV, IO(2)), 'A');
	close_ats(v, d);
}
