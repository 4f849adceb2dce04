/* SPDX-License-Identifier: MIT */
/*
 * scn_phases.c - denied at every moment: before, between and after
 *
 * edu is the hostile one here: it needs no program, so it can try even where it
 * reaches nothing at all.
 */
#include "arch/layout.h"
#include "drivers/edu.h"
#include "drivers/pci.h"
#include "tests/stand.h"

#define EDU_DEVID PCI_DEVID(0, 0x12, 0)

static struct iommu *need_edu(void)
{
	if (!iommu_machine())
		SKIP("this machine has no IOMMU");
	if (!edu_present())
		SKIP("no edu on this machine");
	return iommu_machine();
}

/* What edu finds at an address: 0 if it was refused. */
static uint64_t edu_peek(iova_t bus, struct page *back, iova_t back_bus)
{
	REQUIRE(!edu_start(EDU_TAKE, bus, 0, 8) && !edu_wait());
	stand_fill(back, 'c');
	REQUIRE(!edu_start(EDU_GIVE, back_bus, 0, 8) && !edu_wait());
	return stand_word(back);
}

static void edu_poke(iova_t bus)
{
	REQUIRE(!edu_start(EDU_GIVE, bus, 0, 8) && !edu_wait());
}

/* Tags: 'A' may be in edu's own memory from another test, 'P' never is. */
TEST(phases, edu_denied_changes_nothing,
     "a device without a domain writes to no page, whatever it is used for")
{
	struct stand s = { .kind = "qemu" };
	struct iommu *iommu = need_edu();
	struct page *page = stand_page(&s, 'P');
	const pa_t victim[] = {
		page_pa(page),
		(pa_t)rodata_start - KERNEL_BASE,
		page_pa(iommu->table_pages) + EDU_DEVID * sizeof(struct dte),
		page_pa(iommu->queue.pages),
		page_pa(iommu->empty),
	};

	for (unsigned i = 0; i < ARRAY_SIZE(victim); i++) {
		uint64_t *word = phys_to_virt(victim[i]), before;

		before = READ_ONCE(*word);
		edu_poke(victim[i]);
		EXPECT_EQ(READ_ONCE(*word), before);
	}
	page_put(page);
}

TEST(phases, edu_sees_its_domain_only,
     "edu reads what its domain maps, and zeros everywhere else")
{
	struct stand s = { .kind = "qemu" };
	struct iommu *iommu = need_edu();
	struct page *page = stand_page(&s, 'A'), *back = stand_page(&s, 'B');
	struct domain *d = domain_create(iommu);

	REQUIRE(d);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, PROT_R));
	REQUIRE(!domain_map(d, IO(1), page_pa(back), PAGE_SIZE, PROT_W));
	REQUIRE(!domain_attach(d, EDU_DEVID, 0));
	EXPECT_EQ(edu_peek(IO(0), back, IO(1)), 'A');
	EXPECT_EQ(edu_peek(page_pa(page), back, IO(1)), 0);
	EXPECT_EQ(edu_peek(IO(1), back, IO(1)), 0); /* write-only */
	edu_poke(IO(0));
	EXPECT_EQ(stand_word(page), 'A');

	REQUIRE(!domain_unmap(d, IO(1), IO(2)));
	EXPECT_EQ(edu_peek(IO(0), back, IO(1)), 'c'); /* gave back in vain */
	REQUIRE(!domain_detach(d, EDU_DEVID));
	domain_destroy(d);
	page_put(page);
	page_put(back);
}

TEST(phases, unmap_beats_a_transfer_under_way,
     "a transfer that was started before the unmap moves nothing after it "
     "(C42)")
{
	struct stand s = { .kind = "qemu" };
	struct iommu *iommu = need_edu();
	struct page *page = stand_page(&s, 'A');
	struct domain *d = domain_create(iommu);

	REQUIRE(d);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_attach(d, EDU_DEVID, 0));
	edu_poke(IO(0));
	stand_fill(page, 'B');
	REQUIRE(!edu_start(EDU_GIVE, IO(0), 0, 8));
	REQUIRE(!domain_unmap(d, IO(0), IO(1)));
	stand_fill(page, 'S'); /* it is somebody else's now */
	REQUIRE(!edu_wait());

	EXPECT_EQ(stand_word(page), 'S');
	REQUIRE(!domain_detach(d, EDU_DEVID));
	domain_destroy(d);
	page_put(page);
}

TEST(phases, only_driven_devices_master_the_bus,
     "no function of bus 0 may master the bus but those that are driven")
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		EXPECT(dev->driver || !pci_is_master(dev));
}

TEST(phases, restart_denies_again,
     "taken down and brought up again, the IOMMU denies as before")
{
	struct stand s = { .kind = "qemu" };
	struct page *page;

	need_edu();
	page = stand_page(&s, 'P');
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_STR_NULL(iommu_machine_restart());
		edu_poke(page_pa(page));
		EXPECT_EQ(stand_word(page), 'P');
	}
	page_put(page);
}

TEST(phases, pass_through_is_seen_without_it,
     "the same poke arrives when the IOMMU is off: the test can fail")
{
	struct stand s = { .kind = "qemu" };
	struct iommu *iommu = need_edu();
	struct page *page = stand_page(&s, 'P');
	uint64_t control;

	control = reg_read(&iommu->port, REG_CONTROL);
	reg_write(&iommu->port, REG_CONTROL, control & ~CONTROL_IOMMU_EN);
	edu_poke(page_pa(page));
	reg_write(&iommu->port, REG_CONTROL, control);

	EXPECT(stand_word(page) != 'P');
	stand_fill(page, 'P');
	edu_poke(page_pa(page));
	EXPECT_EQ(stand_word(page), 'P');
	page_put(page);
}
