/* SPDX-License-Identifier: MIT */
/*
 * unit_ats.c - devices with a TLB of their own (ATS)
 *
 * No QEMU device has one, so only the model shows it.  The device is greedy: it
 * asks for the page at every access to a register, that is between any two steps
 * of a flush, and keeps what it gets.
 */
#include "kernel/err.h"
#include "tests/driver.h"

#define DEV   8
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + (n)*PAGE_SIZE)
#define HIGH  (UINT64_C(1) << 40)
#define RW    (PROT_R | PROT_W)

static const struct model_config shuffled = { .mode = MODEL_SHUFFLED,
					      .delay = 1 };
static iova_t wanted;
static unsigned asked;
static struct thread *flusher; /* between whose steps it asks            */

static void ask(struct driver *v)
{
	/* Refusals make events: the log's reader would feed itself. */
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
     "a device that asks between all steps of an unmap has nothing after it: "
     "the IOMMU forgets first, then the device (B7, C18)")
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
     "and so does a right that is taken, and one that is given")
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
     "an unmap that takes more than FLUSH_MAX commands empties the device's "
     "TLB "
     "of its whole range")
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

TEST(ats, moved_device_keeps_nothing,
     "a device that changes its domain, its TLB full and greedy, sees the new "
     "domain and no page of the old")
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
     "a tree that grows under a device with a TLB loses it no page")
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

TEST(ats, mute_device_is_no_success,
     "a device that never answers its invalidation: unmap says -ETIMEDOUT, for "
     "the device still reaches the page")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_ats(&v, &page);

	/* So that no table is unhooked: it would have to be kept for ever. */
	REQUIRE(!domain_map(d, IO(2), page_pa(page), PAGE_SIZE, RW));
	model_set_ats(v->m, DEV, MODEL_ATS_MUTE);
	driver_hush();
	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), -ETIMEDOUT);
	driver_speak();
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT_EQ(page_kind(page), PAGE_DMA);
	/* It is well again: what was queued is done. */
	model_set_ats(v->m, DEV, MODEL_ATS_ON);
	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	close_ats(v, d);
}
