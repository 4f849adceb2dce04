/* SPDX-License-Identifier: MIT */
/*
 * reuse.c - what a device has cached is used again: a table, a batch of pages, a
 * domain's number: races 2, 7
 */
#include "iommu/hw/command.h"
#include "mm/pt/pt_amdv1.h"
#include "mm/space/gather.h"
#include "tests/explore/scene.h"
#include "tests/fake/recorder.h"

/* ---- a freed table beside a walk (race 7a) -------------------------------- */

static struct page *secret;

static void table_cached(const struct exploration *x)
{
	scene_begin(x, 2, 1);
	secret = fixture_page(scene.s, 10);
	scene.page = page_of_va(pt_slot(&scene.mm->pt, A, 0, false));
	device_reads(&scene.client[0], A);
}

static void table_uncached(const struct exploration *x)
{
	scene_end(x);
	fixture_free(scene.s, secret);
}

static void unmap_all(const struct exploration *x)
{
	scene.error = mm_unmap(scene.mm, A, C);
}

/* The next owner of the table's frame has data there that look like an entry. */
static void write_data(const struct exploration *x)
{
	uint64_t *data = page_va(scene.page);

	take_frame(x);
	if (scene.owned)
		data[1] = page_pa(secret) | AMDV1_PR | AMDV1_IR | AMDV1_IW;
}

static void write_b(const struct exploration *x)
{
	device_writes(&scene.client[0], B, 66);
}

static const char *secret_stays(const struct exploration *x)
{
	return fixture_word(secret) == 10
		       ? NULL
		       : "a device walks data as if they were a table";
}

static struct exploration table = {
	.setup = table_cached,
	.teardown = table_uncached,
	.verdict = secret_stays,
	.actors = { { "T0", unmap_all },
		    { "T1", write_data },
		    { "device", write_b } },
};

STRICT_TEST(explore, table_without_a_flush_is_found,
	    "the explorer finds that a flush without directories lets a device "
	    "walk a freed table")
{
	scene_explore(s, &table, &only_leaves, true);
}

STRICT_TEST(explore, freed_table_beside_a_walk,
	    "in every order of an unmap, the next owner of the table's frame "
	    "and a device, it walks no table that is freed")
{
	scene_explore(s, &table, SVA, false);
}

/* ---- a batch of pages ----------------------------------------------------- */

static void batch_cached(const struct exploration *x)
{
	scene_begin(x, 3, 1);
	scene.page = name_page(scene.mm, B, "page 2");
	device_reads(&scene.client[0], B);
}

static void unmap_batch(const struct exploration *x)
{
	scene.error = mm_unmap(scene.mm, A, C);
}

static struct exploration batch = {
	.setup = batch_cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", unmap_batch },
		    { "T1", take_frame },
		    { "device", write_b } },
};

QEMU_TEST(explore, batch_flushed_in_end_is_found,
	  "the explorer finds that a batch of pages which is freed before its "
	  "flush is written by a device")
{
	scene_explore(s, &batch, &only_end, true);
}

QEMU_TEST(explore, batched_flush_beside_reuse,
	  "in every order a batch of pages is flushed before one of its frames "
	  "has another owner")
{
	scene_explore(s, &batch, SVA, false);
}

/* ---- a driver's own mapping ----------------------------------------------- */

static struct domain *drivers;

static struct domain *domain_of(struct iommu_fixture *s, struct page *page)
{
	struct domain *d = domain_create(s->iommu);

	REQUIRE(d && !domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));
	return d;
}

static void driver_cached(const struct exploration *x)
{
	struct iommu_fixture *s = scene.s;

	scene = (struct scene){ .s = s };
	model_set_mode(s->model, MODEL_DELAYED, 2);
	scene.page = fixture_page(s, 10);
	drivers = domain_of(s, scene.page);
	REQUIRE(!domain_attach(drivers, s->devid[0], 0));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 10);
}

static void driver_gone(const struct exploration *x)
{
	REQUIRE(!domain_detach(drivers, scene.s->devid[0]));
	domain_destroy(drivers);
	scene_end(x);
}

static void unmap_and_free(const struct exploration *x)
{
	EXPECT_EQ(domain_unmap(drivers, IOVA, IOVA + PAGE_SIZE), 0);
	fixture_free(scene.s, scene.page);
}

static void write_iova(const struct exploration *x)
{
	fixture_write(scene.s, 0, IOVA, 66);
}

static const struct exploration driver = {
	.setup = driver_cached,
	.teardown = driver_gone,
	.verdict = owner_reads_its_own,
	.actors = { { "driver", unmap_and_free },
		    { "T1", take_frame },
		    { "device", write_iova } },
};

STRICT_TEST(explore, unmapped_page_beside_dma,
	    "in every order a page that a driver has unmapped is out of a "
	    "device's reach before its frame has another owner")
{
	scene.s = s;
	EXPECT_EXPLORED(&driver);
}

static void protect_and_keep(const struct exploration *x)
{
	EXPECT_EQ(domain_protect(drivers, IOVA, IOVA + PAGE_SIZE, PROT_R), 0);
	scene.saw[0] = fixture_word(scene.page);
}

static void protected_gone(const struct exploration *x)
{
	driver_gone(x);
	fixture_free(scene.s, scene.page);
}

static const char *kept(const struct exploration *x)
{
	return fixture_word(scene.page) == scene.saw[0]
		       ? NULL
		       : "a device writes to memory that is read-only to it";
}

static const struct exploration protected = {
	.setup = driver_cached,
	.teardown = protected_gone,
	.verdict = kept,
	.actors = { { "driver", protect_and_keep }, { "device", write_iova } },
};

STRICT_TEST(explore, protected_page_beside_dma,
	    "in every order no device writes to a page after its driver has "
	    "taken the right away")
{
	scene.s = s;
	EXPECT_EXPLORED(&protected);
}

/* ---- more pages than a batch ----------------------------------------------- */

static void many_cached(const struct exploration *x)
{
	scene_begin(x, GATHER_PAGES + 1, 1);
	device_reads(&scene.client[0], A);
}

static void discard_many(const struct exploration *x)
{
	change(scene.mm, 0, GATHER_PAGES + 1);
}

static void take_frame_and_write(const struct exploration *x)
{
	take_frame(x);
	device_writes(&scene.client[0], A, 66);
}

static struct exploration full_batch = {
	.setup = many_cached,
	.teardown = scene_end,
	.verdict = owner_reads_its_own,
	.actors = { { "T0", discard_many }, { "T1", take_frame_and_write } },
	.large = true,
};

QEMU_TEST(explore, full_batch_beside_reuse,
	  "in every order of a discard of more pages than one batch holds and "
	  "the next owner of a frame, the owner reads its own data")
{
	scene_explore(s, &full_batch, SVA, false);
}

/* ---- a domain's number ---------------------------------------------------- */

static struct {
	struct domain *old, *new;
	struct page *page[2];
	unsigned id;
	uint64_t saw;
} now;

static void old_cached(const struct exploration *x)
{
	struct iommu_fixture *s = scene.s;

	model_set_mode(s->model, MODEL_DELAYED, 2);
	now.page[0] = fixture_page(s, 10);
	now.page[1] = fixture_page(s, 20);
	now.old = domain_of(s, now.page[0]);
	now.new = NULL;
	now.id = now.old->id;
	now.saw = BLOCKED;
	REQUIRE(!domain_attach(now.old, s->devid[0], 0));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 10);
}

static void new_gone(const struct exploration *x)
{
	struct iommu_fixture *s = scene.s;

	REQUIRE(!domain_detach(now.new, s->devid[1]));
	domain_destroy(now.new);
	for (unsigned i = 0; i < 2; i++)
		fixture_free(s, now.page[i]);
}

static void end_old(const struct exploration *x)
{
	REQUIRE(!domain_detach(now.old, scene.s->devid[0]));
	domain_destroy(now.old);
}

/* The search for a free number begins at the old one. */
static void begin_new(const struct exploration *x)
{
	scene.s->iommu->id_hint = now.id - 1;
	now.new = domain_of(scene.s, now.page[1]);
	REQUIRE(!domain_attach(now.new, scene.s->devid[1], 0));
	now.saw = fixture_read(scene.s, 1, IOVA);
}

static unsigned reused; /* orders in which the number was used again        */

static const char *own_domain_alone(const struct exploration *x)
{
	reused += now.new->id == now.id;
	if (now.saw != BLOCKED && now.saw != 20)
		return "a device reads what another domain has mapped";
	return fixture_read(scene.s, 1, IOVA) == 20
		       ? NULL
		       : "a device does not read what its domain maps";
}

static const struct exploration numbers = {
	.setup = old_cached,
	.teardown = new_gone,
	.verdict = own_domain_alone,
	.actors = { { "ends", end_old }, { "begins", begin_new } },
};

STRICT_TEST(explore, domain_number_is_used_again,
	    "in every order of the end of a domain and the attachment of a "
	    "device to a new one, the device reads no page of the old one")
{
	scene.s = s;
	reused = 0;
	EXPECT_EXPLORED(&numbers);
	EXPECT(reused > 0);
}
