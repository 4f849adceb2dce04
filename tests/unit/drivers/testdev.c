/* SPDX-License-Identifier: MIT */
/*
 * testdev.c - the errors that a refused device reports (drivers/testdev.h)
 */
#include "arch/layout.h"
#include "drivers/testdev.h"
#include "iommu/core/domain.h"
#include "kernel/err.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define TAG  'T'
#define FULL UINT64_C(0x1234567812345678)

static struct iommu *need_testdev(void)
{
	if (!iommu_machine() || !testdev())
		SKIP("no IOMMU, or no iommu-testdev, which QEMU 11.1 has");
	return iommu_machine();
}

/* Write 8 bytes to the page at this address; returns the device's error. */
static int reported(const struct page *page, iova_t bus)
{
	return testdev_write(bus, page_pa(page), 8);
}

TEST(testdev, denied_write_is_reported,
     "each write of a device without a domain is reported as failed, and "
     "memory "
     "does not change although it ignores its bus master bit")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = need_testdev();
	struct page *page = fixture_page(&s, TAG);
	const pa_t victim[] = {
		page_pa(page),
		(pa_t)rodata_start - KERNEL_BASE,
		page_pa(iommu->table_pages) +
			testdev()->devid * sizeof(struct dte),
		page_pa(iommu->queue.pages),
		page_pa(iommu->empty),
	};

	events_refused(testdev()->devid);
	for (unsigned i = 0; i < ARRAY_SIZE(victim); i++) {
		const uint64_t *word = phys_to_virt(victim[i]);
		uint64_t before = READ_ONCE(*word);

		EXPECT_EQ(testdev_write(victim[i], victim[i], 8), -EIO);
		EXPECT_EQ(READ_ONCE(*word), before);
	}
	page_put(page);
}

TEST(testdev, reports_match_the_data,
     "a write reports failure exactly where it changed nothing: mapped, "
     "read-only, unmapped, detached")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct domain *d = domain_create(need_testdev());
	struct page *page = fixture_page(&s, TAG),
		    *fixed = fixture_page(&s, TAG);
	uint16_t devid = testdev()->devid;

	REQUIRE(d);
	events_refused(devid);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_map(d, IO(1), page_pa(fixed), PAGE_SIZE, PROT_R));
	EXPECT_EQ(reported(page, IO(0)), -EIO);
	REQUIRE(!domain_attach(d, devid, 0));
	EXPECT_EQ(reported(fixed, IO(1)), -EIO);
	EXPECT_EQ(fixture_word(fixed), TAG);
	EXPECT_EQ(fixture_word(page), TAG);
	EXPECT_EQ(reported(page, IO(0)), 0);
	EXPECT_EQ(fixture_word(page), FULL);
	fixture_fill(page, TAG);
	EXPECT_EQ(reported(fixed, IO(0)), -ENOENT); /* it lands elsewhere */
	EXPECT_EQ(fixture_word(page), FULL);
	fixture_fill(page, TAG);
	REQUIRE(!domain_unmap(d, IO(0), IO(1)));
	EXPECT_EQ(reported(page, IO(0)), -EIO);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, IO_RW));
	EXPECT_EQ(reported(page, IO(0)), 0);
	fixture_fill(page, TAG);
	REQUIRE(!domain_detach(d, devid));
	EXPECT_EQ(reported(page, IO(0)), -EIO);
	EXPECT_EQ(fixture_word(page), TAG);
	domain_destroy(d);
	page_put(page);
	page_put(fixed);
}
