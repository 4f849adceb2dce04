/* SPDX-License-Identifier: MIT */
/*
 * stand_mm.c - address spaces with room for programs, and who is bound to them
 */
#include "tests/stand_mm.h"
#include "drivers/lsi.h"

#define MMS      8u
#define ATTEMPTS 64u

static struct mm *mms[MMS];
static unsigned n_mms;

/* Where each device is bound, and what it lent us meanwhile. */
static struct sva shares[STAND_DEVICES];
static bool shared[STAND_DEVICES];
static struct dma_own lent[STAND_DEVICES];

/* Two pages of `programs`, one behind the other in memory, for each device. */
static struct object *programs;
static uint64_t first[STAND_DEVICES];
static struct page *page_of_own[STAND_DEVICES];

/* The next page of the object, without a reference that has to be given back. */
static struct page *next_page(uint64_t index)
{
	struct page *page = object_page(programs, index);

	REQUIRE(page);
	page_put(page);
	return page;
}

static void find_programs(void)
{
	struct page *last = NULL;
	unsigned found = 0;

	programs = object_create(ATTEMPTS);
	REQUIRE(programs);
	for (uint64_t i = 0; i < ATTEMPTS && found < STAND_DEVICES; i++) {
		struct page *page = next_page(i);

		if (last && page == last + 1) {
			first[found] = i - 1;
			page_of_own[found++] = last;
			page = NULL;
		}
		last = page;
	}
	REQUIRE(found == STAND_DEVICES);
}

static struct mm *keep(struct mm *mm)
{
	REQUIRE(mm && n_mms < MMS);
	mms[n_mms++] = mm;
	return mm;
}

struct mm *stand_mm(struct stand *s, unsigned n)
{
	struct mm *mm = keep(world(n));

	if (s->model)
		return mm;
	if (!programs)
		find_programs();
	for (unsigned i = 0; i < STAND_DEVICES; i++)
		REQUIRE(!mm_map(mm, OWN(i), 2 * DMA_STAGE, RW, 0, programs,
				first[i], NULL));
	return mm;
}

struct mm *stand_fork(struct mm *mm)
{
	return keep(fork_of(mm));
}

void stand_forget(struct mm *mm)
{
	for (unsigned i = 0; i < n_mms; i++) {
		if (mms[i] != mm)
			continue;
		mms[i] = mms[--n_mms];
		return;
	}
	REQUIRE(!"an mm of this stand");
}

void stand_exit(struct mm *mm)
{
	stand_forget(mm);
	mm_put(mm);
}

/* ---- devices ------------------------------------------------------------ */

/* From now on the chip has its programs in the mm that it is bound to. */
static void move_in(unsigned dev, struct mm *mm)
{
	struct page *page = page_of_own[dev];
	struct dma_own *own = &lent[dev];

	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!mm_fault(mm, OWN(dev) + i * DMA_STAGE, PROT_W));
	*own = (struct dma_own){ .va = page_va(page),
				 .pa = page_pa(page),
				 .len = 2 * DMA_STAGE,
				 .bus = OWN(dev) };
	dma_swap_own(&lsi_at(dev)->engine, own);
}

struct sva *stand_share(struct stand *s, unsigned dev, struct mm *mm)
{
	REQUIRE(!sva_bind(&shares[dev], s->iommu, NULL, s->devid[dev], mm));
	if (!s->model)
		move_in(dev, mm);
	shared[dev] = true;
	return &shares[dev];
}

void stand_unshare(struct stand *s, unsigned dev)
{
	if (!shared[dev])
		return;
	shared[dev] = false;
	sva_unbind(&shares[dev]);
	if (!s->model)
		dma_swap_own(&lsi_at(dev)->engine, &lent[dev]);
}

uint64_t stand_load(struct stand *s, unsigned dev, va_t va)
{
	uint64_t v = stand_read(s, dev, va);

	if (v == BLOCKED && !sva_fault(&shares[dev], va, PROT_R))
		v = stand_read(s, dev, va);
	return v;
}

int stand_store(struct stand *s, unsigned dev, va_t va, uint64_t v)
{
	int error = sva_fault(&shares[dev], va, PROT_W);

	if (!error)
		stand_write(s, dev, va, v);
	return error;
}

void stand_mm_release(struct stand *s)
{
	for (unsigned i = 0; i < STAND_DEVICES; i++)
		stand_unshare(s, i);
	while (n_mms)
		mm_put(mms[--n_mms]);
	if (programs)
		object_put(programs);
	programs = NULL;
}
