/* SPDX-License-Identifier: MIT */
/*
 * alias.c - devices whose requests have another device's number
 * (iommu/core/ids.h)
 *
 * Three devices behind a bridge: some of their requests have the bridge's
 * number, the others their own.  No QEMU has such a bridge on bus 0, so only
 * the model is used; it looks at the number alone, as hardware does.
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define BRIDGE 0x0200
#define ONE    0x0208
#define TWO    0x0210
#define OTHER  0x0300
#define IOVA   UINT64_C(0x40000000)
#define IO(n)  (IOVA + PAGE_SIZE * (n))
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

TEST(alias, attach_and_detach_cover_the_alias,
     "an attach covers the device's alias, a detach denies both, and a "
     "growing tree keeps both")
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

TEST(alias, last_detach_denies_the_alias,
     "two devices with one alias share its entry until the last of them is "
     "detached")
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
     "a device that shares an alias with a member of another domain is busy, "
     "and other devices are not affected")
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
     "the device that lends its number can be attached itself: its entry "
     "stays while any device needs it, and it has no TLB")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	EXPECT_EQ(domain_attach(d, BRIDGE, ATTACH_ATS), -EINVAL);
	REQUIRE(!domain_attach(d, ONE, 0));
	REQUIRE(!domain_attach(d, BRIDGE, 0));
	EXPECT_EQ(domain_attach(d, BRIDGE, 0), -EBUSY);
	REQUIRE(!domain_detach(d, BRIDGE));
	expect_in(v, BRIDGE); /* its requests look like the other's */
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
     "a detach that the hardware does not confirm keeps both, and the second "
     "attempt removes both")
{
	struct driver *v;
	struct page *page;
	struct domain *d = open_bridge(&v, &page);

	REQUIRE(!domain_attach(d, ONE, 0));
	REQUIRE(!domain_attach(d, TWO, 0));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	EXPECT_EQ(domain_detach(d, ONE), -ETIMEDOUT);
	EXPECT_EQ(domain_detach(d, ONE), -ETIMEDOUT);
	driver_capture_end();
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	REQUIRE(!domain_detach(d, ONE));
	expect_out(v, ONE);
	expect_in(v, TWO);
	expect_in(v, BRIDGE);
	REQUIRE(!domain_detach(d, TWO));
	expect_out(v, BRIDGE);
	close_bridge(v, d);
}
