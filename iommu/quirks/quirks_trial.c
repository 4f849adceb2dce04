/* SPDX-License-Identifier: MIT */
/*
 * quirks_trial.c - set up, transfer, change entries, reset
 *
 * The chips are the devices that the caller names (quirks_lsi.c, or a test's).
 */
#include "iommu/quirks/quirks_trial.h"
#include "arch/smp.h"
#include "drivers/dma.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/pt/pt_amdv1.h"

/* One more than are used: pairs begin at a multiple of 8 KiB. */
static char memory[(TRIAL_PAGES + 1) * PAGE_SIZE] DMA_MEMORY;

/* Return the first word of a page, the only one that is used. */
static uint64_t *word_of(enum trial_page page)
{
	return (uint64_t *)(ALIGN_UP((va_t)memory, 2 * PAGE_SIZE) +
			    page * PAGE_SIZE);
}

static uint64_t pattern(enum trial_page page)
{
	return UINT64_C(0x5155495253000000) | (page + 1);
}

iova_t trial_bus(enum trial_page page)
{
	return (va_t)word_of(page) - KERNEL_BASE;
}

/* ---- transfers --------------------------------------------------------- */

static void move_bytes(struct trial *t, unsigned chip, iova_t dst, iova_t src,
		       unsigned bytes)
{
	t->devices->move(t->devices->at[chip], dst, src, bytes);
	t->transfers++;
}

static void move(struct trial *t, unsigned chip, iova_t dst, iova_t src)
{
	move_bytes(t, chip, dst, src, sizeof(uint64_t));
}

void trial_message(struct trial *t, iova_t address, uint32_t data)
{
	WRITE_ONCE(*word_of(SOURCE), data);
	move_bytes(t, 0, address, trial_bus(SOURCE), sizeof(data));
	WRITE_ONCE(*word_of(SOURCE), pattern(SOURCE));
}

enum trial_page trial_read(struct trial *t, unsigned chip, iova_t iova)
{
	uint64_t got;

	move(t, chip, trial_bus(SINK), iova);
	got = READ_ONCE(*word_of(SINK));
	WRITE_ONCE(*word_of(SINK), pattern(SINK));
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++)
		if (got == pattern(i))
			return i == SINK ? NOWHERE : i;
	return got ? NOWHERE : ZEROS;
}

bool trial_take(enum trial_page page)
{
	bool changed = READ_ONCE(*word_of(page)) != pattern(page);

	WRITE_ONCE(*word_of(page), pattern(page));
	return changed;
}

enum trial_page trial_write(struct trial *t, unsigned chip, iova_t iova)
{
	enum trial_page hit = NOWHERE;

	move(t, chip, iova, trial_bus(SOURCE));
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++) {
		if (READ_ONCE(*word_of(i)) == pattern(i))
			continue;
		hit = i;
		WRITE_ONCE(*word_of(i), pattern(i));
	}
	return hit;
}

/* ---- commands ---------------------------------------------------------- */

void trial_command(struct trial *t, struct command command)
{
	if (queue_run(&t->iommu->queue, &command, 1))
		t->lost = true;
}

void trial_flush(struct trial *t)
{
	struct command c[QUIRK_DEVICES + 2];
	unsigned n = 0;

	for (unsigned i = 0; i < t->devices->n; i++)
		c[n++] = command_invalidate_devtab_entry(trial_devid(t, i));
	c[n++] = command_invalidate_iommu_pages(t->near->id, RANGE_ALL, true);
	c[n++] = command_invalidate_iommu_pages(t->far->id, RANGE_ALL, true);
	if (queue_run(&t->iommu->queue, c, n))
		t->lost = true;
}

static void nothing(void *arg)
{
	(void)arg;
}

unsigned trial_interrupts(struct trial *t, void (*fn)(struct trial *t))
{
	unsigned before = atomic_load(&t->iommu->kicks);

	fn(t);
	/* Cross calls have a lower priority class than device interrupts: a CPU
	 * that has answered has taken all that were sent (as in msi_disable()). */
	preempt_disable();
	smp_call(smp_online_mask(), nothing, NULL);
	preempt_enable();
	return atomic_load(&t->iommu->kicks) - before;
}

/* ---- changing entries -------------------------------------------------- */

uint64_t *trial_slot(struct domain *tree, iova_t iova, unsigned level)
{
	unsigned at;
	uint64_t *slot = pt_lookup(&tree->pt, iova, level, &at);

	assert(at == level);
	return slot;
}

uint64_t trial_leaf(enum trial_page page, enum prot prot)
{
	return pt_amdv1.leaf(trial_bus(page), prot, 0);
}

void trial_poke(struct trial *t, uint64_t *slot, uint64_t value)
{
	assert(t->n_pokes < ARRAY_SIZE(t->pokes));
	t->pokes[t->n_pokes].slot = slot;
	t->pokes[t->n_pokes++].was = pte_read(slot);
	pte_write(slot, value);
}

void trial_poke_dte(struct trial *t, unsigned chip, struct dte dte)
{
	struct dte *slot = &t->iommu->table[trial_devid(t, chip)];

	rw_write_lock(&t->iommu->lock);
	WRITE_ONCE(slot->w[3], dte.w[3]);
	WRITE_ONCE(slot->w[1], dte.w[1]);
	WRITE_ONCE(slot->w[0], dte.w[0]);
	rw_write_unlock(&t->iommu->lock);
}

void trial_reset(struct trial *t)
{
	while (t->n_pokes) {
		t->n_pokes--;
		pte_write(t->pokes[t->n_pokes].slot, t->pokes[t->n_pokes].was);
	}
	for (unsigned i = 0; i < t->devices->n; i++)
		trial_poke_dte(t, i, t->base[i]);
	trial_flush(t);
}

/* ---- life -------------------------------------------------------------- */

static int map_page(struct domain *tree, iova_t iova, enum trial_page page)
{
	return domain_map(tree, iova, trial_bus(page), PAGE_SIZE,
			  PROT_R | PROT_W);
}

/* Map what is in both trees: the chips' programs, source and sink of bytes. */
static int map_tree(struct trial *t, struct domain *tree, enum trial_page first)
{
	int error = map_page(tree, trial_bus(PLACE), first);

	if (!error)
		error = map_page(tree, trial_bus(PLACE2), first + 1);
	if (!error)
		error = map_page(tree, trial_bus(SINK), SINK);
	if (!error)
		error = map_page(tree, trial_bus(SOURCE), SOURCE);
	for (unsigned i = 0; i < t->devices->n && !error; i++) {
		const struct dma_own *own = &t->devices->at[i]->own;

		error = domain_map(tree, own->bus, own->pa, own->len,
				   PROT_R | PROT_W);
	}
	return error;
}

static int map_all(struct trial *t)
{
	int error = map_tree(t, t->near, A);

	if (!error)
		error = map_tree(t, t->far, B);
	if (!error)
		error = map_page(t->near, WINDOW + pt_span(1), A);
	for (unsigned i = 0; i < t->devices->n && !error; i++)
		error = domain_attach(t->near, trial_devid(t, i), 0);
	return error;
}

/* True if no chip can read its program, as a chip that is denied cannot. */
static bool reaches_nothing(struct trial *t)
{
	for (unsigned i = 0; i < t->devices->n; i++)
		if (trial_read(t, i, trial_bus(PLACE)) != NOWHERE)
			return false;
	return true;
}

uint16_t trial_devid(const struct trial *t, unsigned chip)
{
	return t->devices->at[chip]->devid;
}

const char *trial_open(struct trial *t, struct iommu *iommu,
		       const struct quirk_devices *devices)
{
	require(may_sleep());
	*t = (struct trial){ .iommu = iommu, .devices = devices };
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++)
		WRITE_ONCE(*word_of(i), pattern(i));
	t->denied_first = reaches_nothing(t);
	t->near = domain_create(iommu);
	t->far = domain_create(iommu);
	if (!t->near || !t->far || map_all(t)) {
		trial_close(t);
		return t->lost ? "the IOMMU does not answer"
			       : "no memory, or the LSIs are in use";
	}
	for (unsigned i = 0; i < t->devices->n; i++)
		t->base[i] = iommu_get_dte(iommu, trial_devid(t, i));
	return NULL;
}

/* Destroy the trees; on failure they are kept for ever: a chip may reach them. */
static int trees_drop(struct trial *t)
{
	struct domain *trees[] = { t->near, t->far };
	int error = 0;

	for (unsigned i = 0; i < t->devices->n && t->near && !error; i++) {
		error = domain_detach(t->near, trial_devid(t, i));
		if (error == -ENOENT)
			error = 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(trees) && !error; i++)
		if (trees[i])
			domain_destroy(trees[i]);
	return error;
}

const char *trial_close(struct trial *t)
{
	require(may_sleep());
	if (trees_drop(t))
		t->lost = true;
	if (t->iommu->efr & EFR_IA)
		trial_command(t, command_invalidate_iommu_all());
	if (t->lost)
		return "the IOMMU does not answer";
	return reaches_nothing(t) ? NULL
				  : "a device that is denied reaches memory";
}
