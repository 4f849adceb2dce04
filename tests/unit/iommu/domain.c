/* SPDX-License-Identifier: MIT */
/*
 * domain.c - domains: ids, members, refusals, and concurrent operations
 *
 * Races are constructed: at a probe or at a register access the test runs the
 * other thread's step in place.
 */
#include "arch/clock.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "tests/fixture/iommu/driver_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define DEV   8
#define DEV2  9
#define IOVA  UINT64_C(0x40000000)
#define IO(n) (IOVA + PAGE_SIZE * (n))
#define HIGH  (UINT64_C(1) << 40) /* needs a fourth level                  */

static struct domain *domain_of(struct driver *v)
{
	struct domain *d = domain_create(&v->iommu);

	REQUIRE(d);
	return d;
}

static void map_page(struct domain *d, iova_t iova, struct page *page)
{
	REQUIRE(!domain_map(d, iova, page_pa(page), PAGE_SIZE, RW));
}

/* Make a domain with one page at IOVA and DEV in it. */
static struct domain *one_page(struct driver *v, struct page *page,
			       unsigned flags)
{
	struct domain *d = domain_of(v);

	map_page(d, IOVA, page);
	REQUIRE(!domain_attach(d, DEV, flags));
	return d;
}

static void close_one(struct driver *v, struct domain *d)
{
	REQUIRE(!domain_detach(d, DEV));
	domain_destroy(d);
	driver_close(v);
}

/* ---- ids --------------------------------------------------------------- */

TEST(domain, ids_are_taken_once,
     "when every id but one is in use that one is given out, then none, and "
     "no id is lost")
{
	struct driver *v = driver_open(NULL);
	uint64_t *ids = v->iommu.ids;
	struct domain *d;

	memset(ids, 0xff, DOMAIN_IDS / 8);
	EXPECT(!domain_create(&v->iommu));
	for (unsigned id = 1; id < DOMAIN_IDS; id = id * 3 + 1) {
		ids[id / 64] &= ~BIT(id % 64);
		d = domain_of(v);
		EXPECT_EQ(d->id, id);
		EXPECT(!domain_create(&v->iommu));
		domain_destroy(d);
		EXPECT_EQ(ids[id / 64], ~BIT(id % 64));
		ids[id / 64] |= BIT(id % 64);
	}
	ids[0] &= ~BIT(0); /* that of denied devices, never a domain's */
	EXPECT(!domain_create(&v->iommu));
	EXPECT(!(ids[0] & BIT(0)));
	driver_close(v);
}

static void tag_is(const struct model_entry *e, void *arg)
{
	unsigned *n = arg;

	n[1] += !e->device_tlb && e->tag == n[0];
}

TEST(domain, freed_id_is_in_no_cache,
     "no cache holds an entry of the id of a destroyed domain (B55)")
{
	struct driver *v = driver_open(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 2 });
	struct domain *d = domain_of(v);
	unsigned n[2] = { d->id, 0 };
	struct page *page = driver_page(v, 'A');

	for (unsigned i = 0; i < 20; i++)
		map_page(d, IO(600 * i), page);
	REQUIRE(!domain_attach(d, DEV, 0));
	REQUIRE(!domain_attach(d, DEV2, 0));
	for (unsigned i = 0; i < 20; i++)
		EXPECT_EQ(driver_read(v, i % 2 ? DEV : DEV2, IO(600 * i)), 'A');
	model_each(v->m, tag_is, n);
	EXPECT_EQ(n[1], 20);
	REQUIRE(!domain_detach(d, DEV));
	REQUIRE(!domain_detach(d, DEV2));
	domain_destroy(d);
	EXPECT(!(v->iommu.ids[n[0] / 64] & BIT(n[0] % 64)));
	n[1] = 0;
	model_each(v->m, tag_is, n);
	EXPECT_EQ(n[1], 0);
	driver_close(v);
}

/* ---- refusals ---------------------------------------------------------- */

TEST(domain, attach_and_detach_refuse,
     "a device is in one domain at most, and is detached only from the one it "
     "is in")
{
	struct driver *v = driver_open(NULL);
	struct page *page = driver_page(v, 'A');
	struct domain *other = domain_of(v), *d = one_page(v, page, 0);

	EXPECT_EQ(domain_attach(d, DEV, 0), -EBUSY);
	EXPECT_EQ(domain_attach(other, DEV, 0), -EBUSY);
	EXPECT_EQ(domain_detach(other, DEV), -ENOENT);
	EXPECT_EQ(domain_detach(d, DEV2), -ENOENT);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	REQUIRE(!domain_detach(d, DEV));
	EXPECT_EQ(domain_detach(d, DEV), -ENOENT);
	REQUIRE(!domain_attach(other, DEV, 0));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	REQUIRE(!domain_detach(other, DEV));
	domain_destroy(other);
	domain_destroy(d);
	driver_close(v);
}

TEST(domain, bad_ranges_are_refused,
     "an unaligned, empty, wrapping, too high or rightless range is refused "
     "without effect; unmapping above the tree succeeds")
{
	struct driver *v = driver_open(NULL);
	struct page *page = driver_page(v, 'A');
	struct domain *d = one_page(v, page, 0);
	iova_t top = pt_span(DOMAIN_LEVELS_MAX);
	pa_t pa = page_pa(page);

	EXPECT_EQ(domain_map(d, IO(1), pa, 0, RW), -EINVAL);
	EXPECT_EQ(domain_map(d, IO(1) + 8, pa, PAGE_SIZE, RW), -EINVAL);
	EXPECT_EQ(domain_map(d, IO(1), pa + 8, PAGE_SIZE, RW), -EINVAL);
	EXPECT_EQ(domain_map(d, IO(1), pa, 8, RW), -EINVAL);
	EXPECT_EQ(domain_map(d, IO(1), pa, PAGE_SIZE, PROT_NONE), -EINVAL);
	EXPECT_EQ(domain_map(d, top, pa, PAGE_SIZE, RW), -EINVAL);
	EXPECT_EQ(domain_map(d, -PAGE_SIZE, pa, 2 * PAGE_SIZE, RW), -EINVAL);
	EXPECT_EQ(domain_unmap(d, IO(1), IO(1)), -EINVAL);
	EXPECT_EQ(domain_unmap(d, IO(1), IO(0)), -EINVAL);
	EXPECT_EQ(domain_unmap(d, IO(0) + 8, IO(1)), -EINVAL);
	EXPECT_EQ(domain_protect(d, IO(0), IO(1), PROT_NONE), -EINVAL);
	EXPECT_EQ(domain_protect(d, IO(0), top, RW), -EINVAL);
	EXPECT_EQ(domain_split(d, top), -EINVAL);
	EXPECT_EQ(domain_join(d, IOVA), -EINVAL);
	EXPECT_EQ(domain_join(d, top), -EINVAL);
	EXPECT_EQ(domain_unmap(d, HIGH, HIGH + PAGE_SIZE), 0);
	EXPECT_EQ(domain_unmap(d, IO(5), HIGH), 0);
	EXPECT_EQ(d->pt.levels, DOMAIN_LEVELS);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	close_one(v, d);
}

TEST(domain, bad_segments_are_refused,
     "no segment, an empty or unaligned one, and lengths whose sum wraps are "
     "refused without effect")
{
	struct driver *v = driver_open(NULL);
	struct page *page = driver_page(v, 'A');
	struct domain *d = one_page(v, page, 0);
	struct segment sg[2] = { { page_pa(page), PAGE_SIZE },
				 { page_pa(page), 0 } };
	enum prot prot;
	pa_t pa;

	EXPECT_EQ(domain_map_sg(d, IO(1), sg, 0, RW), -EINVAL);
	EXPECT_EQ(domain_map_sg(d, IO(1), sg, 2, RW), -EINVAL);
	sg[1] = (struct segment){ page_pa(page) + 8, PAGE_SIZE };
	EXPECT_EQ(domain_map_sg(d, IO(1), sg, 2, RW), -EINVAL);
	sg[1] = (struct segment){ page_pa(page), PAGE_SIZE + 8 };
	EXPECT_EQ(domain_map_sg(d, IO(1), sg, 2, RW), -EINVAL);
	/* The sum would be one page. */
	sg[0].len = 0 - PAGE_SIZE;
	sg[1].len = 2 * PAGE_SIZE;
	EXPECT_EQ(domain_map_sg(d, IO(1), sg, 2, RW), -EINVAL);
	EXPECT(!domain_lookup(d, IO(1), &pa, &prot));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	close_one(v, d);
}

TEST(domain, map_over_something_maps_nothing,
     "a map of a range that meets a mapped page fails with -EEXIST and maps "
     "nothing")
{
	struct driver *v = driver_open(NULL);
	struct page *page = driver_page(v, 'A');
	struct domain *d = one_page(v, page, 0);
	enum prot prot;
	pa_t pa;

	EXPECT_EQ(domain_map(d, IO(-3), page_pa(page), 4 * PAGE_SIZE, RW),
		  -EEXIST);
	EXPECT_EQ(domain_map(d, IO(-512), 0, pt_span(1) * 2, RW), -EEXIST);
	EXPECT_EQ(domain_map(d, IOVA, 0, pt_span(1), RW), -EEXIST);
	for (int i = -512; i < 512; i++)
		EXPECT_EQ(domain_lookup(d, IO(i), &pa, &prot), !i);
	EXPECT(domain_lookup(d, IOVA + 8, &pa, &prot));
	EXPECT_EQ(pa, page_pa(page) + 8);
	EXPECT_EQ(prot, RW);
	close_one(v, d);
}

/* ---- others in the middle ---------------------------------------------- */

static struct {
	struct driver *v;
	struct domain *d;
	struct page *page;
	struct thread *victim; /* the thread that is interrupted              */
	_Atomic bool inside, done;
	int error;
	unsigned times;
} race;

static void race_of(struct driver *v, struct domain *d, struct page *page)
{
	memset(&race, 0, sizeof(race));
	race.v = v;
	race.d = d;
	race.page = page;
	race.victim = current();
}

/* Runs between the queueing of an unmap's flush and its completion. */
static void map_neighbour(uint64_t start, uint64_t end, void *arg)
{
	if (race.times++)
		return;
	map_page(race.d, IO(1), race.page);
	EXPECT_EQ(driver_read(race.v, DEV, IO(1)), 'B');
	/* And at the same address. */
	map_page(race.d, IO(0), race.page);
	EXPECT_EQ(driver_read(race.v, DEV, IO(0)), 'B');
}

TEST(domain, map_waits_for_an_unmap_in_flight,
     "a page mapped beside one that is being unmapped is mapped when map "
     "returns, though their table was unhooked and is still cached")
{
	struct driver *v = driver_open(
		&(struct model_config){ .mode = MODEL_DELAYED, .delay = 5 });
	struct page *page = driver_page(v, 'A'), *next = driver_page(v, 'B');
	struct domain *d = one_page(v, page, 0);

	race_of(v, d, next);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	hook("domain_wait", map_neighbour, NULL);
	EXPECT_EQ(domain_unmap(d, IOVA, IO(1)), 0);
	unhook("domain_wait");
	EXPECT_EQ(race.times, 1);
	EXPECT_EQ(driver_read(v, DEV, IO(1)), 'B');
	close_one(v, d);
}

/* Runs on the other CPU in the middle of a detach. */
static void grow_meanwhile(void *arg)
{
	while (!atomic_load(&race.inside))
		cpu_pause();
	race.error =
		domain_map(race.d, HIGH, page_pa(race.page), PAGE_SIZE, RW);
	atomic_store(&race.done, true);
}

/*
 * The entry says "deny" and is not flushed yet: let the other thread continue.
 */
static void linger(uint64_t devid, uint64_t w0, void *arg)
{
	uint64_t end = clock_ns() + 2000000;

	if (current() != race.victim)
		return;
	atomic_store(&race.inside, true);
	while (!atomic_load(&race.done) && clock_ns() < end)
		cpu_pause();
}

TEST_SMP(domain, growth_undoes_no_detach,
	 "a tree that grows during a detach does not restore the device's "
	 "entry",
	 2)
{
	struct driver *v = driver_open(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 1 });
	struct page *page = driver_page(v, 'A');
	struct domain *d = one_page(v, page, 0);
	struct dte dte, deny = iommu_deny(&v->iommu);
	struct thread *other;

	race_of(v, d, page);
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	hook("dte_set", linger, NULL);
	other = thread_create_on(BIT(cpu_id() ? 0 : 1), "grow", grow_meanwhile,
				 NULL);
	REQUIRE(other);
	EXPECT_EQ(domain_detach(d, DEV), 0);
	thread_join(other);
	unhook("dte_set");
	EXPECT_EQ(race.error, 0);
	dte = iommu_get_dte(&v->iommu, DEV);
	EXPECT(!memcmp(&dte, &deny, sizeof(deny)));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 0);
	EXPECT_EQ(driver_read(v, DEV, HIGH), 0);
	EXPECT_EQ(d->pt.levels, DOMAIN_LEVELS + 1);
	domain_destroy(d);
	driver_close(v);
}

/* Whatever the state of the tree, a mapped page is readable. */
static void read_low(struct driver *v)
{
	race.times++;
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT_EQ(driver_read(v, DEV2, IOVA), 'A');
}

TEST(domain, growth_loses_no_mapping,
     "while a tree grows its devices see at every step what they saw before, "
     "and then the new page (C118, H53)")
{
	struct driver *v = driver_open(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 1 });
	struct page *page = driver_page(v, 'A'), *high = driver_page(v, 'H');
	struct domain *d = one_page(v, page, 0);
	struct model_stats stats;

	REQUIRE(!domain_attach(d, DEV2, 0));
	race_of(v, d, page);
	v->between = read_low;
	map_page(d, HIGH, high);
	v->between = NULL;
	EXPECT(race.times > 8);
	EXPECT_EQ(driver_read(v, DEV, HIGH), 'H');
	EXPECT_EQ(driver_read(v, DEV2, HIGH), 'H');
	EXPECT_EQ(driver_read(v, DEV, HIGH + IOVA), 0);
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.events[IO_PAGE_FAULT], 1);
	REQUIRE(!domain_detach(d, DEV2));
	close_one(v, d);
}

TEST(domain, near_table_is_forgotten,
     "the table that the last map of a page used is used no more when a leaf "
     "of "
     "2 MiB has replaced it: an unmap of one page splits the leaf")
{
	struct driver *v = driver_open(NULL);
	struct domain *d = domain_of(v);
	enum prot prot;
	pa_t pa;

	/* No device is in the domain: nothing reads these frames. */
	for (unsigned i = 0; i < 512; i++)
		REQUIRE(!domain_map(d, IO(i), i * PAGE_SIZE, PAGE_SIZE, RW));
	REQUIRE(!domain_join(d, IOVA));
	EXPECT_EQ(domain_map(d, IO(7), 0, PAGE_SIZE, RW), -EEXIST);
	EXPECT_EQ(domain_unmap(d, IO(7), IO(8)), 0);
	EXPECT(!domain_lookup(d, IO(7), &pa, &prot));
	EXPECT(domain_lookup(d, IO(8), &pa, &prot));
	EXPECT_EQ(pa, 8 * PAGE_SIZE);
	EXPECT_STR_NULL(pt_check(&d->pt));
	domain_destroy(d);
	driver_close(v);
}
