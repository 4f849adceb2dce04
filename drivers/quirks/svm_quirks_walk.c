/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks_walk.c - what the nested walk honours and sets
 *
 * APM vol. 2, sections 15.25.5 "Nested Table Walk", 5.3 "Long-Mode Page Translation".
 */
#include "drivers/quirks/svm_trial.h"

#define LOW(bits) (BIT(bits) - 1)

static uint64_t a(void)
{
	return svm_trial_gpa(TRIAL_A);
}

static bool loads(struct svm_trial *t, uint64_t va)
{
	t->cpu.vmcb->rax = 0;
	return svm_trial_at(t, svm_run_load, va) == EXIT_VMMCALL &&
	       t->cpu.vmcb->rax == TRIAL_WORD(TRIAL_A);
}

static bool stores(struct svm_trial *t, uint64_t va)
{
	const uint64_t *word = page_va(t->pages[TRIAL_A]);

	t->cpu.vmcb->rax = TRIAL_WORD(TRIAL_PAGES);
	return svm_trial_at(t, svm_run_store, va) == EXIT_VMMCALL &&
	       READ_ONCE(*word) == TRIAL_WORD(TRIAL_PAGES);
}

static bool jumps(struct svm_trial *t, uint64_t va)
{
	return svm_trial_at(t, svm_run_jump, va + TRIAL_CALL) == EXIT_VMMCALL &&
	       t->cpu.vmcb->rip == va + TRIAL_CALL;
}

/* An entry that grants everything to va, without some rights: does it deny them? */
static bool rights_count(struct svm_trial *t, uint64_t *entry, uint64_t va)
{
	uint64_t all = *entry;
	bool good;

	*entry = all & ~PTE_W;
	good = loads(t, va) && !stores(t, va) && jumps(t, va);
	t->cpu.vmcb->tlb_control = TLB_CONTROL_FLUSH;
	*entry = all | PTE_NX;
	good &= loads(t, va) && !jumps(t, va);
	t->cpu.vmcb->tlb_control = TLB_CONTROL_FLUSH;
	*entry = all & ~PTE_U;
	return good && !loads(t, va) && !stores(t, va) && !jumps(t, va);
}

static bool leaf_rights_count(struct svm_trial *t)
{
	return rights_count(t, &svm_trial_nested(t, 0)[TRIAL_A], a());
}

static bool upper_rights_count(struct svm_trial *t)
{
	uint64_t *entry = &svm_trial_nested(t, 1)[TRIAL_SECOND >> 21];

	*entry = svm_trial_leaf(t, TRIAL_LEAVES);
	return rights_count(t, entry, TRIAL_SECOND + a());
}

static bool right_counts_without_wp(struct svm_trial *t)
{
	t->cpu.vmcb->cr0 &= ~BIT(16);
	svm_trial_table(t, 0)[TRIAL_A] &= ~PTE_W; /* which then counts not */
	if (!stores(t, a()))
		return false;
	svm_trial_nested(t, 0)[TRIAL_A] &= ~PTE_W;
	t->cpu.vmcb->tlb_control = TLB_CONTROL_FLUSH;
	return svm_trial_at(t, svm_run_store, a()) == EXIT_NPF;
}

static bool sets_accessed(struct svm_trial *t)
{
	uint64_t set = PTE_A;

	if (!loads(t, a()))
		return false;
	for (unsigned level = 1; level < 4; level++)
		set &= svm_trial_nested(t, level)[0];
	return set & svm_trial_nested(t, 0)[TRIAL_A];
}

static bool sets_dirty(struct svm_trial *t)
{
	const uint64_t *leaf = &svm_trial_nested(t, 0)[TRIAL_A];
	bool early;

	if (!loads(t, a()))
		return false;
	early = READ_ONCE(*leaf) & PTE_D;
	return !early && stores(t, a()) && READ_ONCE(*leaf) & PTE_D;
}

/* Let TRIAL_SECOND be the 2 MiB around page A; returns where A is there. */
static uint64_t large(struct svm_trial *t, uint64_t bits)
{
	pa_t pa = page_pa(t->pages[TRIAL_A]);

	svm_trial_nested(t, 1)[TRIAL_SECOND >> 21] =
		(pa & ~LOW(21)) | TRIAL_LEAF | PTE_PS | bits;
	return TRIAL_SECOND + (pa & LOW(21));
}

static bool large_leaf(struct svm_trial *t)
{
	uint64_t va = large(t, 0);

	return loads(t, va);
}

static bool large_low_bits_count(struct svm_trial *t)
{
	uint64_t va = large(t, BIT(13));

	return svm_trial_at(t, svm_run_load, va) == EXIT_NPF;
}

static bool huge_leaf(struct svm_trial *t)
{
	pa_t pa = page_pa(t->pages[TRIAL_A]);

	svm_trial_nested(t, 2)[1] = (pa & ~LOW(30)) | TRIAL_LEAF | PTE_PS;
	svm_trial_table(t, 1)[TRIAL_THIRD >> 21] =
		BIT(30) | (pa & LOW(30) & ~LOW(21)) | TRIAL_LEAF | PTE_PS;
	return loads(t, TRIAL_THIRD + (pa & LOW(21)));
}

static bool ignored_bits(struct svm_trial *t)
{
	svm_trial_nested(t, 0)[TRIAL_A] |= PTE_PWT | PTE_PCD | PTE_PS | PTE_G |
					   GENMASK(11, 9) | GENMASK(58, 52);
	return loads(t, a()) && stores(t, a());
}

static bool runs_unpaged(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;
	bool flat;

	c->efer = BIT(12);
	c->cr0 &= ~BIT(31);
	c->cs.attributes = 0xc9b; /* 32 bits */
	flat = svm_trial_run(t, svm_run_nothing) == EXIT_VMMCALL;
	svm_trial_reset(t);
	c->efer = BIT(12);
	c->cr0 = BIT(4);
	c->cr4 = 0;
	c->cs = (struct vmcb_segment){ 0, 0x9b, 0xffff, 0 };
	c->ss = c->ds = (struct vmcb_segment){ 0, 0x93, 0xffff, 0 };
	return flat && svm_trial_run(t, svm_run_nothing) == EXIT_VMMCALL;
}

const struct svm_quirk svm_quirks_walk[] = {
	{ SVM_QUIRK(leaf_rights_count, true,
		    "a nested leaf without W stops stores, with NX fetches, "
		    "without U everything, and nothing else") },
	{ SVM_QUIRK(upper_rights_count, true,
		    "an upper nested entry without W, with NX or without U "
		    "stops the same as a leaf") },
	{ SVM_QUIRK(right_counts_without_wp, true,
		    "a nested leaf without W stops stores also while the "
		    "guest's CR0.WP is 0") },
	{ SVM_QUIRK(sets_accessed, true,
		    "the nested walk sets A at all levels") },
	{ SVM_QUIRK(sets_dirty, true,
		    "D of a nested leaf is set by a store only") },
	{ SVM_QUIRK(large_leaf, true, "PS at level 1 is a leaf of 2 MiB") },
	{ SVM_QUIRK(
		large_low_bits_count, true,
		"a leaf of 2 MiB whose address is not of whole 2 MiB faults") },
	{ SVM_QUIRK(huge_leaf, false,
		    "PS at level 2 is a leaf of 1 GiB, whatever CPUID says") },
	{ SVM_QUIRK(ignored_bits, true,
		    "PWT, PCD, PAT, G and the bits 9 to 11 and 52 to 58 of a "
		    "nested leaf change no right") },
	{ SVM_QUIRK(runs_unpaged, true,
		    "a guest runs in real mode, and in 32-bit mode without "
		    "paging") },
	{ 0 },
};
