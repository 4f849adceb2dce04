/* SPDX-License-Identifier: MIT */
/*
 * stand.h - one IOMMU with two devices: QEMU's, or the strict model
 *
 *	IOMMU_TEST(iommu, map_makes_reachable, "what is mapped is reached")
 *	{
 *		struct page *page = stand_page(s, 'A');
 *		struct domain *d = stand_domain(s);
 *
 *		stand_attach(s, 0, d);
 *		REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
 *		EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
 *	}
 *
 * makes two tests, map_makes_reachable.qemu with real DMA of two LSI chips, and
 * map_makes_reachable.model, where commands complete late and out of order and
 * a flush drops exactly what it names.  Everything is taken down after the test,
 * however it ended.
 *
 * "Blocked" is what the data say: a refused read brings 0, so no page that can
 * be read holds a word of 0; a refused write leaves the page as it was.
 */
#pragma once

#include "iommu/domain.h"
#include "iommu/ppr.h"
#include "mm/page.h"
#include "tests/engines.h"
#include "tests/model.h"
#include "tests/oracle_device.h"
#include "tests/test.h"

#define STAND_DEVICES 2
#define STAND_DOMAINS 8
#define STAND_PAGES   1100

/* Below 4 GiB, as the chips want, and far from where they have their own. */
#define IOVA    UINT64_C(0x40000000)
#define IO(n)   (IOVA + (n)*PAGE_SIZE)
#define IO_RW   (PROT_R | PROT_W)
#define BLOCKED UINT64_C(0)

struct stand {
	const char *kind;
	struct iommu *iommu;
	struct model *model; /* NULL: the machine's own                     */
	uint16_t devid[STAND_DEVICES];
	struct domain *domains[STAND_DOMAINS];
	struct domain *of[STAND_DEVICES]; /* who is attached where          */
	struct page *pages[STAND_PAGES];
	unsigned n_domains, n_pages;
	struct ppr ppr;
	bool serves; /* ppr runs                                           */
};

/*
 * Who serves this IOMMU's page requests until the test ends, started at the
 * first call; bindings that are left are taken away then.
 */
struct ppr *stand_ppr(struct stand *s);

/* A domain in which real devices find their programs; NULL-free. */
struct domain *stand_domain(struct stand *s);
/* Take one down before the test ends; no device is in it. */
void stand_destroy(struct stand *s, struct domain *d);

void stand_attach(struct stand *s, unsigned dev, struct domain *d);
/* flags: ATTACH_* */
void stand_attach_as(struct stand *s, unsigned dev, struct domain *d,
		     unsigned flags);
void stand_detach(struct stand *s, unsigned dev);

/* A page that stand_fill() has filled; freed after the test. */
struct page *stand_page(struct stand *s, uint64_t tag);
/* A block of 2 MiB, aligned; page i of it is filled with tag + i. */
struct page *stand_large(struct stand *s, uint64_t tag);
/* Free it now. */
void stand_free(struct stand *s, struct page *page);

/* Every word of the page becomes tag, which is not 0. */
void stand_fill(struct page *page, uint64_t tag);
/* The word at the start of the page, as the CPU sees it. */
uint64_t stand_word(const struct page *page);

/* One word by DMA of a device; BLOCKED if it got nothing. */
uint64_t stand_read(struct stand *s, unsigned dev, iova_t iova);
void stand_write(struct stand *s, unsigned dev, iova_t iova, uint64_t v);

/* The raw entry for an iova, made if needed: for tests that forget a flush. */
uint64_t *stand_slot(struct domain *d, iova_t iova);
/* Run commands and wait. */
void stand_run_commands(struct stand *s, const struct command *c, unsigned n);

/* Does the model's IOTLB still lead to the page?  Never true on QEMU. */
bool stand_names(struct stand *s, const struct page *page);

/*
 * On QEMU the rest of the test rests on this row of struct iommu_quirks, and is
 * skipped where it does not hold; the model does what the manual says.
 */
#define STAND_NEEDS(s, row)              \
	do {                             \
		if (!(s)->model)         \
			NEED_QUIRK(row); \
	} while (0)

/* ---- for the macros and the runner ------------------------------------- */

void stand_test(const char *kind, void (*fn)(struct stand *s));
void stand_release(void);

#define STAND_TEST(suite_, name_, kind_, claim_, cpus_, limit_)         \
	static void suite_##_##name_##_##kind_(void)                    \
	{                                                               \
		stand_test(#kind_, suite_##_##name_);                   \
	}                                                               \
	static const struct test test_##suite_##_##name_##_##kind_ = {  \
		#suite_,  #name_ "." #kind_,          claim_,           \
		__FILE__, suite_##_##name_##_##kind_, cpus_,            \
		limit_                                                  \
	};                                                              \
	static const struct test *const at_##suite_##_##name_##_##kind_ \
		in_order __attribute__((section("vv_tests"), used)) =   \
			&test_##suite_##_##name_##_##kind_

#define IOMMU_TEST_ON(suite, name, claim, cpus, limit)      \
	static void suite##_##name(struct stand *s);        \
	STAND_TEST(suite, name, qemu, claim, cpus, limit);  \
	STAND_TEST(suite, name, model, claim, cpus, limit); \
	static void suite##_##name(struct stand *s)

#define IOMMU_TEST(suite, name, claim) IOMMU_TEST_ON(suite, name, claim, 1, 0)
#define IOMMU_TEST_SMP(suite, name, claim, cpus) \
	IOMMU_TEST_ON(suite, name, claim, cpus, 0)

/* What QEMU hides: on the model only. */
#define MODEL_TEST(suite, name, claim)               \
	static void suite##_##name(struct stand *s); \
	STAND_TEST(suite, name, model, claim, 1, 0); \
	static void suite##_##name(struct stand *s)
