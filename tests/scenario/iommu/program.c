/* SPDX-License-Identifier: MIT */
/*
 * program.c - a device's program behind the IOMMU, instruction by instruction
 */
#include "drivers/lsi.h"
#include "iommu/core/domain.h"
#include "iommu/core/iommu.h"
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"
#include "tests/checker/event_checker.h"

#define IOVA UINT64_C(0x40000000)

/* The first chip, alone in a new domain; SKIPs if there is no such thing. */
static struct lsi *chip_in_domain(struct domain **d)
{
	struct lsi *lsi = lsi_at(0);
	struct iommu *iommu = iommu_machine();

	if (!lsi)
		SKIP("no lsi0 on this machine's bus 0");
	if (!iommu)
		SKIP("no IOMMU on this machine");
	*d = domain_create(iommu);
	REQUIRE(*d);
	REQUIRE(!domain_attach(*d, lsi->dev->devid, 0));
	events_allow(lsi->dev->devid); /* most programs go where they may not */
	return lsi;
}

static void leave(struct lsi *lsi, struct domain *d)
{
	EXPECT_EQ(domain_detach(d, lsi->dev->devid), 0);
	domain_destroy(d);
}

TEST(program, program_on_the_chip_needs_no_memory,
     "a program in the chip's own memory runs where no other memory is mapped")
{
	const struct lsi_insn program[] = { lsi_interrupt(5) };
	struct domain *d;
	struct lsi *lsi = chip_in_domain(&d);
	uint32_t tag = 0;

	EXPECT_EQ(lsi_run(lsi, LSI_IN_CHIP, program, 1, &tag), -ETIMEDOUT);
	EXPECT_EQ(domain_map(d, lsi->ram_bus, lsi->ram_bus, LSI_RAM_BYTES,
			     PROT_R),
		  0);
	EXPECT_EQ(lsi_run(lsi, LSI_IN_CHIP, program, 1, &tag), 0);
	EXPECT_EQ(tag, 5);
	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, program, 1, &tag), -ETIMEDOUT);
	leave(lsi, d);
}

TEST(program, chip_without_its_program_is_stopped,
     "a chip that cannot fetch its program is stopped before it runs code that "
     "lies in the next page")
{
	const struct lsi_insn program[] = { lsi_interrupt(5) };
	struct domain *d;
	struct lsi *lsi = chip_in_domain(&d);
	struct page *page = page_alloc_zeroed();
	uint32_t tag = 0;

	REQUIRE(page);
	((uint32_t *)page_va(page))[0] = 0x98080000; /* lsi_interrupt(7) */
	((uint32_t *)page_va(page))[1] = 7;
	REQUIRE(!domain_map(d, IOVA + PAGE_SIZE, page_pa(page), PAGE_SIZE,
			    PROT_R));
	dma_set_own(&lsi->engine, IOVA);
	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, program, 1, &tag), -ETIMEDOUT);
	EXPECT_EQ(tag, 0);
	dma_set_own(&lsi->engine, IOVA + PAGE_SIZE);
	EXPECT_EQ(lsi_run(lsi, LSI_IN_MEMORY, program, 1, &tag), 0);
	EXPECT_EQ(tag, 7);
	dma_set_own(&lsi->engine, lsi->engine.own.pa);
	EXPECT_EQ(domain_unmap(d, IOVA + PAGE_SIZE, IOVA + 2 * PAGE_SIZE), 0);
	page_put(page);
	leave(lsi, d);
}

TEST(program, access_ends_between_two_instructions,
     "a page that is unmapped between two instructions of a device's program "
     "is not written by the second one")
{
	const struct lsi_insn program[] = {
		lsi_set(LSI_SCRATCHA, 0x5a),
		lsi_store(LSI_SCRATCHA, IOVA, 1),
		lsi_set(LSI_SCRATCHA, 0xa5),
		lsi_store(LSI_SCRATCHA, IOVA, 1),
		lsi_interrupt(5),
	};
	struct domain *d;
	struct lsi *lsi = chip_in_domain(&d);
	struct page *page = page_alloc_zeroed();
	const uint8_t *byte;
	uint32_t tag = 0;

	REQUIRE(page);
	byte = page_va(page);
	REQUIRE(!domain_map(d, lsi->ram_bus, lsi->ram_bus, LSI_RAM_BYTES,
			    PROT_R));
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE,
			    PROT_R | PROT_W));
	EXPECT_EQ(lsi_load_program(lsi, LSI_IN_CHIP, program,
				   ARRAY_SIZE(program)),
		  0);
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);
	EXPECT_EQ(*byte, 0);
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);
	EXPECT_EQ(*byte, 0x5a);
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);

	EXPECT_EQ(domain_unmap(d, IOVA, IOVA + PAGE_SIZE), 0);
	EXPECT_EQ(lsi_step(lsi, &tag), -EAGAIN);
	EXPECT_EQ(*byte, 0x5a);
	EXPECT_EQ(lsi_step(lsi, &tag), 0);
	EXPECT_EQ(tag, 5);
	leave(lsi, d);
	page_put(page);
}
