/* SPDX-License-Identifier: MIT */
/*
 * quirks_trial.c - set up, transfer, spoil, renew
 *
 * A transfer is over when the register write that starts it returns: so QEMU
 * runs short programs.  A chip that is denied does not even find its program;
 * it is reset, and nothing is waited for.
 */
#include "iommu/quirks_trial.h"
#include "arch/smp.h"
#include "iommu/pt_amdv1.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"

#define POLLS 8

/* One more than are used: pairs begin at a multiple of 8 KiB. */
static char memory[(TRIAL_PAGES + 1) * PAGE_SIZE] DMA_MEMORY;

/* The first word of a page: all of it that is ever looked at. */
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

/* Move one word; what became of it only memory says. */
static void move(struct trial *t, unsigned chip, iova_t dst, iova_t src)
{
	struct lsi_insn program[] = { lsi_move(dst, src, sizeof(uint64_t)),
				      lsi_interrupt(0) };
	struct lsi *lsi = t->chips[chip];
	int error = lsi_start(lsi, LSI_IN_MEMORY, program, ARRAY_SIZE(program));
	uint32_t tag;

	assert(!error);
	t->transfers++;
	for (unsigned i = 0; i < POLLS; i++)
		if (lsi_poll(lsi, &tag) != -EAGAIN)
			return;
	lsi_stop(lsi);
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

void trial_forget(struct trial *t)
{
	struct command c[LSI_MAX + 2];
	unsigned n = 0;

	for (unsigned i = 0; i < t->n_chips; i++)
		c[n++] = command_invalidate_devtab_entry(
			t->chips[i]->engine.devid);
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
	/* Calls are of a lower class than device interrupts: who has answered
	 * has taken all that were sent (as msi_disable() relies on). */
	preempt_disable();
	smp_call(smp_online_mask(), nothing, NULL);
	preempt_enable();
	return atomic_load(&t->iommu->kicks) - before;
}

/* ---- spoiling ---------------------------------------------------------- */

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
	struct dte *slot = &t->iommu->table[t->chips[chip]->engine.devid];

	rw_write_lock(&t->iommu->lock);
	for (unsigned i = ARRAY_SIZE(dte.w); i--;)
		WRITE_ONCE(slot->w[i], dte.w[i]);
	rw_write_unlock(&t->iommu->lock);
}

void trial_renew(struct trial *t)
{
	while (t->n_pokes) {
		t->n_pokes--;
		pte_write(t->pokes[t->n_pokes].slot, t->pokes[t->n_pokes].was);
	}
	for (unsigned i = 0; i < t->n_chips; i++)
		trial_poke_dte(t, i, t->base[i]);
	trial_forget(t);
}

/* ---- life -------------------------------------------------------------- */

static int map_page(struct domain *tree, iova_t iova, enum trial_page page)
{
	return domain_map(tree, iova, trial_bus(page), PAGE_SIZE,
			  PROT_R | PROT_W);
}

/* What both trees show: the chips' programs, where bytes come from and go. */
static int map_tree(struct trial *t, struct domain *tree, enum trial_page first)
{
	int error = map_page(tree, trial_bus(PLACE), first);

	if (!error)
		error = map_page(tree, trial_bus(PLACE2), first + 1);
	if (!error)
		error = map_page(tree, trial_bus(SINK), SINK);
	if (!error)
		error = map_page(tree, trial_bus(SOURCE), SOURCE);
	for (unsigned i = 0; i < t->n_chips && !error; i++) {
		const struct dma_own *own = &t->chips[i]->engine.own;

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
	for (unsigned i = 0; i < t->n_chips && !error; i++)
		error = domain_attach(t->near, t->chips[i]->engine.devid, 0);
	return error;
}

const char *trial_open(struct trial *t, struct iommu *iommu)
{
	*t = (struct trial){ .iommu = iommu };
	for (; t->n_chips < LSI_MAX; t->n_chips++) {
		t->chips[t->n_chips] = lsi_at(t->n_chips);
		if (!t->chips[t->n_chips])
			break;
	}
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++)
		WRITE_ONCE(*word_of(i), pattern(i));
	t->near = domain_create(iommu);
	t->far = domain_create(iommu);
	if (!t->near || !t->far || map_all(t)) {
		trial_close(t);
		return t->lost ? "the IOMMU does not answer"
			       : "no memory, or somebody uses the LSIs";
	}
	for (unsigned i = 0; i < t->n_chips; i++)
		t->base[i] = iommu_get_dte(iommu, t->chips[i]->engine.devid);
	return NULL;
}

/* Denied, a chip does not find its program: unless something is left. */
static bool reaches_nothing(struct trial *t)
{
	for (unsigned i = 0; i < t->n_chips; i++)
		if (trial_read(t, i, trial_bus(PLACE)) != NOWHERE)
			return false;
	return true;
}

/* On failure the trees are kept, for ever: somebody may still walk them. */
static int trees_drop(struct trial *t)
{
	struct domain *trees[] = { t->near, t->far };
	int error = 0;

	for (unsigned i = 0; i < t->n_chips && t->near && !error; i++) {
		error = domain_detach(t->near, t->chips[i]->engine.devid);
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
	if (trees_drop(t))
		t->lost = true;
	if (t->iommu->efr & EFR_IA)
		trial_command(t, command_invalidate_iommu_all());
	if (t->lost)
		return "the IOMMU does not answer";
	return reaches_nothing(t) ? NULL
				  : "a device that is denied reaches memory";
}
