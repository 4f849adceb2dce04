/* SPDX-License-Identifier: MIT */
/*
 * stand_mm.c - address spaces with room for programs, and who is bound to them
 */
#include "tests/stand_mm.h"
#include "drivers/lsi.h"
#include "iommu/pt_amdv1.h"
#include "kernel/printk.h"
#include "mm/entry.h"
#include "tests/pri.h"

#define MMS      8u
#define ATTEMPTS 256u

static struct mm *mms[MMS];
static unsigned n_mms;

static struct user users[STAND_DEVICES];
static enum user_kind kind; /* of the test                                */

/* Two pages of `programs`, one behind the other in memory, for each device. */
static struct object *programs;
static uint64_t own_index[STAND_DEVICES][2];
static struct page *page_of_own[STAND_DEVICES];

/* The next page of the object, without a reference that has to be given back. */
static struct page *next_page(uint64_t index)
{
	struct page *page = object_page(programs, index);

	REQUIRE(page);
	page_put(page);
	return page;
}

/* Memory that has been used gives its frames in no order: every pair is tried. */
static void find_programs(void)
{
	struct page *page[ATTEMPTS];
	unsigned found = 0;

	programs = object_create(ATTEMPTS);
	REQUIRE(programs);
	for (unsigned i = 0; i < ATTEMPTS && found < STAND_DEVICES; i++) {
		page[i] = next_page(i);
		for (unsigned j = 0; j < i && page[i]; j++) {
			bool up = page[j] && page[i] == page[j] + 1;

			if (!up && (!page[j] || page[j] != page[i] + 1))
				continue;
			own_index[found][0] = up ? j : i;
			own_index[found][1] = up ? i : j;
			page_of_own[found++] = up ? page[j] : page[i];
			page[i] = page[j] = NULL; /* one device's */
		}
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
	for (unsigned i = 0; i < 2 * STAND_DEVICES; i++)
		REQUIRE(!mm_map(mm, OWN(i / 2) + i % 2 * DMA_STAGE, DMA_STAGE,
				RW, 0, programs, own_index[i / 2][i % 2],
				NULL));
	return mm;
}

struct mm *stand_fork(struct mm *mm)
{
	return keep(fork_of(mm));
}

void stand_exit(struct mm *mm)
{
	for (unsigned i = 0; i < n_mms; i++) {
		if (mms[i] != mm)
			continue;
		mms[i] = mms[--n_mms];
		mm_put(mm);
		return;
	}
	REQUIRE(!"an mm of this stand");
}

/* ---- devices ------------------------------------------------------------ */

int stand_fault(unsigned dev, va_t va, enum prot access)
{
	struct user *u = &users[dev];

	return u->kind == USER_SVA ? sva_fault(&u->sva, va, access)
				   : mirror_fault(&u->mirror, va, access);
}

void stand_serve(struct stand *s)
{
	pri_open(s);
	stand_ppr(s);
	for (unsigned i = 0; i < STAND_DEVICES && s->model; i++)
		model_set_ats(s->model, s->devid[i], MODEL_ATS_ON);
}

/* From now on the chip has its programs in the mm that it is bound to. */
static void move_in(unsigned dev)
{
	struct page *page = page_of_own[dev];
	struct dma_own *own = &users[dev].own;

	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!stand_fault(dev, OWN(dev) + i * DMA_STAGE, PROT_W));
	*own = (struct dma_own){ .va = page_va(page),
				 .pa = page_pa(page),
				 .len = 2 * DMA_STAGE,
				 .bus = OWN(dev) };
	dma_swap_own(&lsi_at(dev)->engine, own);
}

enum user_kind stand_kind(void)
{
	return kind;
}

static int try_bind(struct stand *s, unsigned dev, enum user_kind how,
		    struct mm *mm)
{
	struct user *u = &users[dev];
	struct ppr *ppr = s->serves ? &s->ppr : NULL;
	unsigned flags = s->serves ? ATTACH_PPR | ATTACH_ATS : 0;
	int error;

	REQUIRE(!u->mm);
	u->kind = how;
	error = how == USER_SVA ? sva_bind(&u->sva, s->iommu, ppr,
					   s->devid[dev], flags, mm)
				: mirror_bind(&u->mirror, s->iommu, ppr,
					      s->devid[dev], flags, mm);
	if (!error)
		u->mm = mm;
	return error;
}

static struct user *bind(struct stand *s, unsigned dev, enum user_kind how,
			 struct mm *mm)
{
	REQUIRE(!try_bind(s, dev, how, mm));
	if (!s->model)
		move_in(dev);
	return &users[dev];
}

int stand_try_bind(struct stand *s, unsigned dev, struct mm *mm)
{
	return try_bind(s, dev, kind, mm);
}

struct user *stand_bind(struct stand *s, unsigned dev, struct mm *mm)
{
	return bind(s, dev, kind, mm);
}

struct sva *stand_bind_sva(struct stand *s, unsigned dev, struct mm *mm)
{
	return &bind(s, dev, USER_SVA, mm)->sva;
}

struct mirror *stand_bind_mirror(struct stand *s, unsigned dev, struct mm *mm)
{
	return &bind(s, dev, USER_MIRROR, mm)->mirror;
}

const struct admission *stand_door(unsigned dev)
{
	struct user *u = &users[dev];

	return u->kind == USER_SVA ? &u->sva.door : &u->mirror.door;
}

void stand_unbind(struct stand *s, unsigned dev)
{
	struct user *u = &users[dev];

	if (!u->mm)
		return;
	u->mm = NULL;
	if (u->kind == USER_SVA)
		sva_unbind(&u->sva);
	else
		mirror_unbind(&u->mirror);
	if (u->own.va)
		dma_swap_own(&lsi_at(dev)->engine, &u->own);
	u->own.va = NULL;
}

uint64_t stand_load(struct stand *s, unsigned dev, va_t va)
{
	uint64_t v = stand_read(s, dev, va);

	if (v == BLOCKED && !stand_fault(dev, va, PROT_R))
		v = stand_read(s, dev, va);
	return v;
}

int stand_store(struct stand *s, unsigned dev, va_t va, uint64_t v)
{
	int error = stand_fault(dev, va, PROT_W);

	if (!error)
		stand_write(s, dev, va, v);
	return error;
}

struct mm *stand_warm(struct stand *s)
{
	struct mm *mm = stand_mm(s, 2);

	stand_bind(s, 0, mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!stand_store(s, 0, P(0) + 8, 'a'));
	REQUIRE(stand_load(s, 0, P(0)) == 'A');
	return mm;
}

void stand_expect_lost(struct stand *s, va_t va, struct page *page)
{
	uint64_t word = stand_word(page);

	EXPECT_EQ(stand_read(s, 0, va), BLOCKED);
	stand_write(s, 0, va, 'X');
	EXPECT_EQ(stand_word(page), word);
	EXPECT(!stand_names(s, page));
}

/* ---- oracle ------------------------------------------------------------- */

const char *mirror_check(struct mirror *m)
{
	static char words[100];
	struct domain *d = m->door.domain;
	struct pt_run run;
	va_t at = 0;

	while (pt_next_run(&d->pt, &at, d->pt.top, &run))
		for (unsigned i = 0; i < run.count; i++) {
			uint64_t ours = pte_read(&run.slots[i]), cpus;
			va_t va = run.va + i * PAGE_SIZE;

			if (!ours)
				continue;
			cpus = entry_at(m->mn.mm, va);
			if ((cpus & PTE_P) && pt_pa(cpus) == pt_pa(ours) &&
			    (cpus & PTE_W || !(ours & AMDV1_IW)))
				continue;
			snprintk(words, sizeof(words),
				 "mirror: %lx at %lx, the CPU has %lx", ours,
				 va, cpus);
			return words;
		}
	return NULL;
}

const char *stand_check(unsigned dev)
{
	struct user *u = &users[dev];

	if (!u->mm || u->kind != USER_MIRROR ||
	    LIST_EMPTY(&u->mirror.door.domain->members))
		return NULL;
	return mirror_check(&u->mirror);
}

/* ---- of a test ---------------------------------------------------------- */

void stand_user_test(enum user_kind user, const char *stand,
		     void (*fn)(struct stand *s))
{
	kind = user;
	stand_test(stand, fn);
}

void stand_mm_release(struct stand *s)
{
	for (unsigned i = 0; i < STAND_DEVICES; i++) {
		EXPECT_STR_NULL(stand_check(i));
		stand_unbind(s, i);
	}
	while (n_mms)
		mm_put(mms[--n_mms]);
	if (programs)
		object_put(programs);
	programs = NULL;
}
