/* SPDX-License-Identifier: MIT */
/*
 * unit_alias.c - devices whose requests bear another's number (iommu/alias.h)
 *
 * Three devices behind a bridge: what they ask bears the bridge's number now and
 * then, their own otherwise.  No QEMU has such a bridge on bus 0, so only the
 * model is asked; it looks at the number alone, as hardware does.
 */
#include "kernel/err.h"
#include "tests/driver.h"

#define BRIDGE 0x0200
#define ONE    0x0208
#define TWO    0x0210
#define OTHER  0x0300
#define IOVA   UINT64_C(0x40000000)
#define IO(n)  (IOVA + (n)*PAGE_SIZE)
#define HIGH   (UINT64_C(1) << 40)
#define RW     (PROT_R | PROT_W)

static struct domain *open_bridge(struct driver **v, struct page **page)
{
	static const struct iommu_alias aliases[] = {
		{ ONE, 0x02ff, BRIDGE },
	};
	struct domain *d;

	*v = driver_open_off(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 1 });
	REQUIRE(!driver_start_as(*v, &(struct iommu_config){ .aliases = aliases,
							     .n_aliases = 1 }));
	*page = driver_page(*v, 'A');
	d = domain_create(&(*v)->iommu);
	REQUIRE(d && !domain_map(d, IOVA, page_pa(*page), PAGE_SIZE, RW));
	return d;
}

static void close_bridge(struct driver *v, struct domain *d)
{
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	domain_destroy(d);
	driver_close(v);
}

static void expect_in(struct driver *v, uint16_t devid)
{
	EXPECT_EQ(driver_read(v, devid, IOVA), 'A');
}

static void expect_out(struct driver *v, uint16_t devid)
{
	EXPECT_EQ(driver_read(v, devid, IOVA), 0);
	EXPECT(!driver_write(v, devid, IOVA, 'X'));
}

TEST(alias, both_numbers_come_and_go,
     "who lets a device in lets its alias in, and shuts out both; a tree that "
     "grows keeps both")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	expect_out(v, BRIDGE);
	REQUIRE(!domain_attach(d, ONE, 0));
	expect_in(v, ONE);
	expect_in(v, BRIDGE);
	expect_out(v, TWO);
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	REQUIRE(!domain_map(d, HIGH, page_pa(page), PAGE_SIZE, RW));
	EXPECT_EQ(driver_read(v, BRIDGE, HIGH), 'A');
	REQUIRE(!domain_unmap(d, HIGH, HIGH + PAGE_SIZE));
	EXPECT_EQ(driver_read(v, BRIDGE, HIGH), 0);
	REQUIRE(!domain_detach(d, ONE));
	expect_out(v, ONE);
	expect_out(v, BRIDGE);
	close_bridge(v, d);
}

TEST(alias, last_one_shuts_the_door,
     "two devices behind one alias share it: the first to leave leaves it to "
     "the other, the last takes it along")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	REQUIRE(!domain_attach(d, ONE, 0));
	REQUIRE(!domain_attach(d, TWO, 0));
	REQUIRE(!domain_detach(d, ONE));
	expect_out(v, ONE);
	expect_in(v, TWO);
	expect_in(v, BRIDGE);
	REQUIRE(!domain_detach(d, TWO));
	expect_out(v, BRIDGE);
	EXPECT_EQ(domain_detach(d, BRIDGE), -ENOENT);
	close_bridge(v, d);
}

TEST(alias, one_alias_one_domain,
     "who shares an alias shares a domain, or is busy; others are not touched")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page), *e;

	e = domain_create(&v->iommu);
	REQUIRE(e);
	REQUIRE(!domain_attach(d, ONE, 0));
	EXPECT_EQ(domain_attach(e, TWO, 0), -EBUSY);
	EXPECT_EQ(domain_attach(e, BRIDGE, 0), -EBUSY);
	EXPECT_EQ(domain_attach(d, ONE, 0), -EBUSY);
	REQUIRE(!domain_attach(e, OTHER, 0));
	expect_out(v, TWO);
	expect_in(v, BRIDGE);
	EXPECT_STR_NULL(iommu_check(&v->iommu));
	REQUIRE(!domain_detach(d, ONE));
	REQUIRE(!domain_attach(e, TWO, 0));
	EXPECT_EQ(domain_attach(d, ONE, 0), -EBUSY);
	expect_out(v, BRIDGE);
	REQUIRE(!domain_detach(e, TWO));
	REQUIRE(!domain_detach(e, OTHER));
	domain_destroy(e);
	close_bridge(v, d);
}

TEST(alias, bridge_itself_is_a_member_too,
     "the device whose number is borrowed may be attached itself: its entry "
     "stays as long as anybody needs it, and it has no TLB")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	EXPECT_EQ(domain_attach(d, BRIDGE, ATTACH_ATS), -EINVAL);
	REQUIRE(!domain_attach(d, ONE, 0));
	REQUIRE(!domain_attach(d, BRIDGE, 0));
	EXPECT_EQ(domain_attach(d, BRIDGE, 0), -EBUSY);
	REQUIRE(!domain_detach(d, BRIDGE));
	expect_in(v, BRIDGE); /* it cannot be told from the other */
	EXPECT_EQ(domain_detach(d, BRIDGE), -ENOENT);
	REQUIRE(!domain_attach(d, BRIDGE, 0));
	REQUIRE(!domain_detach(d, ONE));
	expect_out(v, ONE);
	expect_in(v, BRIDGE);
	REQUIRE(!domain_detach(d, BRIDGE));
	expect_out(v, BRIDGE);
	close_bridge(v, d);
}

TEST(alias, unanswered_detach_can_be_repeated,
     "a detach that the hardware does not confirm leaves both, and is done the "
     "second time")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	REQUIRE(!domain_attach(d, ONE, 0));
	REQUIRE(!domain_attach(d, TWO, 0));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_hush_hung(v);
	EXPECT_EQ(domain_detach(d, ONE), -ETIMEDOUT);
	EXPECT_EQ(domain_detach(d, ONE), -ETIMEDOUT);
	driver_speak();
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	REQUIRE(!domain_detach(d, ONE));
	expect_out(v, ONE);
	expect_in(v, TWO);
	expect_in(v, BRIDGE);
	REQUIRE(!domain_detach(d, TWO));
	expect_out(v, BRIDGE);
	close_bridge(v, d);
}
