/* SPDX-License-Identifier: MIT */
/*
 * domain_fail.c - every allocation of every operation fails once, and hardware
 * fails in the middle
 *
 * After -ENOMEM nothing has changed: the tables and what the device sees are
 * the same, and the same operation succeeds when it is called again.  The leak
 * checker finds leaks.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV   8
#define DEV2  9
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + PAGE_SIZE * (n))
#define HIGH  (UINT64_C(1) << 40)
#define RW    (PROT_R | PROT_W)
#define PAGES_SEEN \
	1536u /* pages from IOVA on that are compared               */

/* The entries of these pages and of the page at HIGH. */
struct picture {
	struct {
		pa_t pa;
		enum prot prot;
	} page[PAGES_SEEN + 1];
};

static void take_picture(struct domain *d, struct picture *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i <= PAGES_SEEN; i++)
		domain_lookup(d, i < PAGES_SEEN ? IO(i) : HIGH, &p->page[i].pa,
			      &p->page[i].prot);
}

struct setting {
	struct driver *v;
	struct domain *d;
	struct page *page;
};

typedef int attempt(struct setting *s);

static void prepare_domain(struct setting *s)
{
	s->d = domain_create(&s->v->iommu);
	REQUIRE(s->d);
	REQUIRE(!domain_map(s->d, IOVA, page_pa(s->page), PAGE_SIZE, RW));
	/* Two leaves of 2 MiB that no device reads. */
	REQUIRE(!domain_map(s->d, IO(512), 0, 2 * pt_span(1), RW));
	REQUIRE(!domain_attach(s->d, DEV, 0));
	EXPECT_EQ(driver_read(s->v, DEV, IOVA), 'A');
}

/* Make one attempt with the n-th allocation failing; false: there was none. */
static bool one_failure(struct setting *s, attempt *try, unsigned n)
{
	static struct picture before, after;
	bool delivered;
	int error;

	prepare_domain(s);
	take_picture(s->d, &before);
	inject_arm(n);
	error = try(s);
	delivered = inject_disarm();
	EXPECT_EQ(error, delivered ? -ENOMEM : 0);
	if (delivered) {
		take_picture(s->d, &after);
		EXPECT(!memcmp(&before, &after, sizeof(before)));
		EXPECT_EQ(driver_read(s->v, DEV, IOVA), 'A');
		EXPECT_EQ(try(s), 0);
	}
	if (s->v->iommu.table[DEV2].w[0] != iommu_deny(&s->v->iommu).w[0])
		REQUIRE(!domain_detach(s->d, DEV2));
	REQUIRE(!domain_detach(s->d, DEV));
	domain_destroy(s->d);
	return delivered;
}

static void sweep(attempt *try, unsigned at_least)
{
	struct setting s = { .v = driver_open(NULL) };
	unsigned n = 1;

	s.page = driver_page(s.v, 'A');
	while (one_failure(&s, try, n))
		n++;
	EXPECT(n > at_least);
	driver_close(s.v);
}

static int try_map(struct setting *s)
{
	return domain_map(s->d, IO(510) + pt_span(2), 0, 4 * PAGE_SIZE, RW);
}

/* The second segment needs a table more. */
static int try_map_sg(struct setting *s)
{
	const struct segment sg[] = { { 0, PAGE_SIZE },
				      { PAGE_SIZE * 7, 4 * PAGE_SIZE } };

	return domain_map_sg(s->d, IO(510) + pt_span(2), sg, 2, RW);
}

static int try_map_large(struct setting *s)
{
	return domain_map(s->d, IO(-1), UINT64_C(0x200000) - PAGE_SIZE,
			  PAGE_SIZE, RW);
}

static int try_grow(struct setting *s)
{
	return domain_map(s->d, HIGH, page_pa(s->page), PAGE_SIZE, PROT_R);
}

static int try_unmap(struct setting *s)
{
	return domain_unmap(s->d, IO(600), IO(1100));
}

static int try_protect(struct setting *s)
{
	return domain_protect(s->d, IO(600), IO(1100), PROT_R);
}

static int try_split(struct setting *s)
{
	return domain_split(s->d, IO(700));
}

static int try_attach(struct setting *s)
{
	return domain_attach(s->d, DEV2, 0);
}

TEST(domain_fail, map_without_memory,
     "a map into new tables without memory maps nothing")
{
	sweep(try_map, 3);
	sweep(try_map_sg, 3);
	sweep(try_map_large, 2);
}

TEST(domain_fail, growth_without_memory,
     "a map that needs one more level without memory changes nothing")
{
	sweep(try_grow, 4);
}

TEST(domain_fail, unmap_without_memory,
     "an unmap that splits two 2 MiB leaves without memory changes nothing")
{
	sweep(try_unmap, 2);
}

TEST(domain_fail, protect_without_memory,
     "a protect that splits two leaves without memory changes nothing")
{
	sweep(try_protect, 2);
}

TEST(domain_fail, split_without_memory, "so does a split")
{
	sweep(try_split, 1);
}

TEST(domain_fail, attach_without_memory,
     "an attach without memory leaves the device denied")
{
	sweep(try_attach, 1);
}

TEST(domain_fail, create_without_memory,
     "a create without memory makes no domain, whichever allocation fails")
{
	struct driver *v = driver_open(NULL);
	struct domain *d = NULL;
	unsigned n = 1;

	for (; !d; n++) {
		inject_arm(n);
		d = domain_create(&v->iommu);
		EXPECT_EQ(inject_disarm(), !d);
	}
	EXPECT(n >= 4);
	domain_destroy(d);
	driver_close(v);
}

/* ---- hardware that fails ----------------------------------------------- */

TEST(domain_fail, lost_unmap_frees_nothing,
     "an unmap that the IOMMU does not confirm returns -ETIMEDOUT and frees "
     "neither the page nor the tables (C120)")
{
	struct driver *v = driver_open(NULL);
	struct setting s = { .v = v, .page = driver_page(v, 'A') };
	struct page *tables[2];
	unsigned level;

	prepare_domain(&s);
	REQUIRE(!domain_unmap(s.d, IO(512), IO(1536)));
	tables[0] = pt_table_page(pt_slot(&s.d->pt, IOVA, 0, false));
	tables[1] = pt_table_page(pt_lookup(&s.d->pt, IOVA, 1, &level));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	EXPECT_EQ(domain_unmap(s.d, IOVA, IO(1)), -ETIMEDOUT);
	driver_capture_end();
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT(model_names_table(v->m, page_pa(tables[0]), NULL, 0));
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(page_kind(tables[i]), PAGE_TABLE);

	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	/* Confirmed after all: a test may free what the driver must keep. */
	page_put(tables[0]);
	page_put(tables[1]);
	REQUIRE(!domain_detach(s.d, DEV));
	domain_destroy(s.d);
	driver_close(v);
}

TEST(domain_fail, lost_detach_stays_a_member,
     "a detach that is not confirmed returns -ETIMEDOUT and can be repeated")
{
	struct driver *v = driver_open(NULL);
	struct setting s = { .v = v, .page = driver_page(v, 'A') };

	prepare_domain(&s);
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	EXPECT_EQ(domain_detach(s.d, DEV), -ETIMEDOUT);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT_EQ(domain_attach(s.d, DEV, 0), -EBUSY);
	EXPECT_EQ(domain_attach(s.d, DEV2, 0), -ETIMEDOUT);
	driver_capture_end();
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	REQUIRE(!domain_detach(s.d, DEV));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	REQUIRE(!domain_detach(s.d, DEV2));
	domain_destroy(s.d);
	driver_close(v);
}

TEST(domain_fail, lost_growth_reaches_every_member,
     "a map that needs one more level returns -ETIMEDOUT if an entry is not "
     "confirmed, and maps nothing; when it is repeated every member reaches "
     "the page")
{
	struct driver *v = driver_open(NULL);
	struct setting s = { .v = v, .page = driver_page(v, 'A') };
	enum prot prot = 0;
	pa_t pa = 0;

	prepare_domain(&s);
	REQUIRE(!domain_attach(s.d, DEV2, 0));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	EXPECT_EQ(try_grow(&s), -ETIMEDOUT);
	driver_capture_end();
	domain_lookup(s.d, HIGH, &pa, &prot);
	EXPECT(!prot);
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(try_grow(&s), 0);
	EXPECT_EQ(driver_read(v, DEV, HIGH), 'A');
	EXPECT_EQ(driver_read(v, DEV2, HIGH), 'A');
	EXPECT_EQ(driver_read(v, DEV2, IOVA), 'A');
	REQUIRE(!domain_detach(s.d, DEV));
	REQUIRE(!domain_detach(s.d, DEV2));
	domain_destroy(s.d);
	driver_close(v);
}

TEST(domain_fail, flush_without_room_is_an_error,
     "a flush that finds no room in the ring of a hung IOMMU returns "
     "-ETIMEDOUT, though all that it could wait for is done")
{
	struct driver *v = driver_open(NULL);
	struct setting s = { .v = v, .page = driver_page(v, 'A') };
	struct command none = command_invalidate_devtab_entry(DEV2);
	unsigned waits = 0;
	uint64_t seq;

	prepare_domain(&s);
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	while (!queue_submit(&v->iommu.queue, &none, 1, &seq))
		waits++;
	EXPECT(waits > 100);
	EXPECT_EQ(domain_flush(s.d, IOVA, IO(1)), -ETIMEDOUT);
	driver_capture_end();
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(domain_flush(s.d, IOVA, IO(1)), 0);
	REQUIRE(!domain_detach(s.d, DEV));
	domain_destroy(s.d);
	driver_close(v);
}
