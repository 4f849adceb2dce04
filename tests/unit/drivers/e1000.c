/* SPDX-License-Identifier: MIT */
/*
 * e1000.c - tests e1000.h: the engine with 64-bit addresses, behind the IOMMU
 *
 * Only edu and this card can address memory above 4 GiB, and this one moves its
 * bytes at once.
 */
#include "drivers/e1000.h"
#include "iommu/core/domain.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define SECRET UINT64_C(0x5ec2e75ec2e75ec2)

static struct dma_engine *card;
static struct domain *domain;

/* Put the card into a domain that maps only what the card needs itself. */
static void open_domain(void)
{
	card = dma_engine_named("e1000");
	if (!iommu_machine() || !card)
		SKIP("no IOMMU, or no e1000 on this machine");
	domain = domain_create(iommu_machine());
	REQUIRE(domain);
	REQUIRE(!domain_map(domain, card->own.bus, card->own.pa, card->own.len,
			    IO_RW));
	REQUIRE(!domain_attach(domain, card->devid, 0));
}

static void close_domain(void)
{
	REQUIRE(!domain_detach(domain, card->devid));
	domain_destroy(domain);
}

static struct page *tagged(uint64_t word)
{
	struct page *page = page_alloc();

	REQUIRE(page);
	page_set_kind(page, PAGE_DMA);
	fixture_fill(page, word);
	return page;
}

/* Read the word at an address with the card; 0 if the read is refused. */
static uint64_t peek(iova_t iova)
{
	uint64_t word = SECRET;

	EXPECT_EQ(dma_read(card, iova, &word, sizeof(word)), 0);
	if (!word)
		events_refused(card->devid);
	return word;
}

static void poke(iova_t iova, uint64_t word)
{
	EXPECT_EQ(dma_write(card, iova, &word, sizeof(word)), 0);
}

TEST(e1000, reaches_above_4_gib,
     "a tree that grows under a device is walked by real DMA at each size: "
     "below 512 GiB, above, and at the last page below 2^48")
{
	static const iova_t at[] = { IO(0), UINT64_C(5) << 32,
				     UINT64_C(1) << 40,
				     (UINT64_C(1) << 48) - PAGE_SIZE };
	struct page *page[ARRAY_SIZE(at)];

	open_domain();
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		page[i] = tagged('A' + i);
		EXPECT_EQ(peek(at[i]), 0);
		REQUIRE(!domain_map(domain, at[i], page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		for (unsigned k = 0; k <= i; k++)
			EXPECT_EQ(peek(at[k]), 'A' + k);
		poke(at[i] + 8, SECRET + i);
		EXPECT_EQ(((uint64_t *)page_va(page[i]))[1], SECRET + i);
	}
	EXPECT_EQ(domain->pt.levels, DOMAIN_LEVELS_MAX);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		REQUIRE(!domain_unmap(domain, at[i], at[i] + PAGE_SIZE));
		EXPECT_EQ(peek(at[i]), 0);
		page_put(page[i]);
	}
	close_domain();
}

TEST(e1000, no_iova_at_2_48_or_above,
     "no domain maps an address of 2^48 or more, where QEMU's cache confuses "
     "an address with another device's")
{
	iova_t end = UINT64_C(1) << 48;
	struct page *page;

	open_domain();
	page = tagged('A');
	EXPECT_EQ(domain_map(domain, end, page_pa(page), PAGE_SIZE, IO_RW),
		  -EINVAL);
	EXPECT_EQ(domain_map(domain, end - PAGE_SIZE, page_pa(page),
			     2 * PAGE_SIZE, IO_RW),
		  -EINVAL);
	EXPECT_EQ(peek(end), 0);
	page_put(page);
	close_domain();
}

TEST(e1000, denied_card_reports_and_recovers,
     "a card whose rings are out of reach reports an error, moves nothing, "
     "and its next copy is complete")
{
	struct page *page;
	uint64_t word = SECRET;

	open_domain();
	page = tagged('A');
	REQUIRE(!domain_map(domain, IO(0), page_pa(page), PAGE_SIZE, IO_RW));
	EXPECT_EQ(peek(IO(0)), 'A');
	REQUIRE(!domain_detach(domain, card->devid));
	events_allow(card->devid);
	EXPECT_EQ(dma_write(card, page_pa(page), &word, sizeof(word)), -EIO);
	EXPECT_EQ(dma_write(card, IO(0), &word, sizeof(word)), -EIO);
	EXPECT_EQ(fixture_word(page), 'A');
	REQUIRE(!domain_attach(domain, card->devid, 0));
	EXPECT_EQ(peek(IO(0)), 'A');
	poke(IO(0), 'B');
	EXPECT_EQ(fixture_word(page), 'B');
	page_put(page);
	close_domain();
}

#define STRIDE 127 /* pages between two attempts                       */

static bool is_own(pa_t pa)
{
	return pa >= card->own.pa && pa < card->own.pa + card->own.len;
}

TEST(e1000, denied_card_reaches_no_page,
     "the card, attached to nothing but its own rings, reads zeros from every "
     "127th page of RAM and changes none")
{
	const struct memmap *ram = pmm_ram();
	unsigned tried = 0, seen = 0, changed = 0;

	open_domain();
	for (unsigned i = 0; i < ram->n; i++)
		for (pa_t pa = ram->r[i].start; pa + 8 <= ram->r[i].end;
		     pa += STRIDE * PAGE_SIZE) {
			uint64_t *word = phys_to_virt(pa), was;

			if (is_own(pa))
				continue;
			was = READ_ONCE(*word);
			seen += peek(pa) != 0;
			REQUIRE(!seen); /* its write would destroy the page */
			poke(pa, ~was);
			changed += READ_ONCE(*word) == ~was;
			tried++;
		}
	EXPECT_EQ(changed, 0);
	EXPECT(tried > (60 << 20) / PAGE_SIZE / STRIDE);
	close_domain();
}
