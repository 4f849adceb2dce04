/* SPDX-License-Identifier: MIT */
/*
 * kmap.c - tests kmap.c, kstack.c and wx.c: the kernel's own half
 */
#include "arch/cpu.h"
#include "arch/trap.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"
#include "mm/kernel/kmap_priv.h"
#include "tests/base/test.h"

static uint64_t *leaf_of(va_t va)
{
	unsigned level;

	return pt_lookup(&kernel_pt, va, 0, &level);
}

TEST(kmap, nothing_is_writable_and_executable,
     "no page of the kernel's tables is both writable and executable")
{
	EXPECT_STR_NULL(wx_check());
	EXPECT_STR_NULL(pt_check(&kernel_pt));
}

/*
 * Put entry at slot, run wx_check(), undo.  No flush: the address is not used.
 */
static bool wx_says(uint64_t *slot, uint64_t entry, const char *words)
{
	uint64_t old = pte_read(slot);
	const char *wrong;

	pt_set(&kernel_pt, slot, entry);
	wrong = wx_check();
	pt_set(&kernel_pt, slot, old);
	return wrong && glob_match(words, wrong);
}

/* Return a slot of the device area that is not in use. */
static uint64_t *unused_slot(void)
{
	va_t va = MMIO_BASE - PAGE_SIZE;
	unsigned level;
	uint64_t *slot;

	do {
		va += PAGE_SIZE;
		slot = pt_lookup(&kernel_pt, va, 0, &level);
	} while (slot && (level || *slot) && va < MMIO_BASE + MMIO_SIZE);
	return slot;
}

TEST(kmap, wx_check_finds_bad_entries,
     "wx_check finds each kind of bad entry and names it")
{
	uint64_t *slot = unused_slot();
	uint64_t *guard = leaf_of(VMAP_BASE);
	pa_t text = image_pa(text_start), rodata = image_pa(rodata_start);
	pa_t frame = page_pa(zero_page);

	REQUIRE(slot && !*slot && !*guard);
	EXPECT(wx_says(slot, x86_leaf(frame, PROT_R | PROT_W | PROT_X),
		       "*writable and executable*"));
	EXPECT(wx_says(slot, x86_leaf(frame, PROT_R | PROT_X), "*not text*"));
	EXPECT(wx_says(slot, x86_leaf(frame, PROT_R | PROT_USER),
		       "*the user*"));
	EXPECT(wx_says(slot, x86_leaf(text, PROT_R | PROT_W),
		       "*text is writable*"));
	EXPECT(wx_says(slot, x86_leaf(rodata, PROT_R | PROT_W),
		       "*rodata is writable*"));
	EXPECT(wx_says(guard, x86_leaf(frame, PROT_R | PROT_W), "*guard*"));
	EXPECT(wx_says(&kernel_pt.root[3], x86_leaf(frame, PROT_R),
		       "*low half*"));
	EXPECT_STR_NULL(wx_check());
}

static void store(void *to)
{
	WRITE_ONCE(*(char *)to, 0);
}

static bool store_faults(void *to)
{
	char words[200];

	return panic_catch(store, to, words, sizeof(words));
}

TEST(kmap, text_is_read_only,
     "a store into text or rodata faults at each of their addresses")
{
	EXPECT(store_faults(text_start));
	EXPECT(store_faults(rodata_start));
	EXPECT(store_faults(phys_to_virt(image_pa(text_start))));
	EXPECT(store_faults(phys_to_virt(image_pa(rodata_start))));
}

/* The second allocation is the table's, where no table is. */
TEST(kmap, frames_without_a_table_are_refused,
     "frames that cannot be mapped for want of a table are given back, and the "
     "caller is told")
{
	const char *last = (const char *)(MMIO_BASE + BIT(38));
	unsigned level = 0;
	uint64_t free;

	pt_lookup(&kernel_pt, (va_t)last, 0, &level);
	REQUIRE(level);
	pmm_drain();
	free = pmm_free_pages();
	for (unsigned n = 1; n <= 2; n++) {
		inject_arm(n);
		EXPECT(!kmap_populate(last, last + PAGE_SIZE));
		EXPECT(inject_disarm());
	}
	pmm_drain();
	EXPECT_EQ(pmm_free_pages(), free);
}

TEST(kmap, low_half_is_gone, "the kernel has no identity map")
{
	EXPECT(store_faults((void *)BIT(20)));
	EXPECT(store_faults((void *)UINT64_C(0xb8000)));
}

TEST(kmap, all_of_ram_is_mapped, "the direct map reaches the last byte of RAM")
{
	const struct memmap *map = pmm_map();

	for (unsigned i = 0; i < map->n; i++) {
		va_t last = DIRECT_BASE + map->r[i].end - 1;
		unsigned level;
		uint64_t e = *pt_lookup(&kernel_pt, last, 0, &level);

		EXPECT_EQ(pt_pa(e) + (last & (pt_span(level) - 1)),
			  map->r[i].end - 1);
		EXPECT(!(x86_prot(e) & PROT_X) && e & PTE_G);
	}
}

/* ---------------------------------------------------------------- stacks */

TEST(kmap, stacks_have_guards, "the page below a stack is not mapped")
{
	char *stack = kstack_alloc();

	REQUIRE(stack);
	stack[0] = 1;
	stack[KSTACK_SIZE - 1] = 1;
	EXPECT_EQ(*leaf_of((va_t)stack - 1), 0);
	EXPECT(kstack_guard_hit((va_t)stack - 1) >= 0);
	EXPECT_EQ(kstack_guard_hit((va_t)stack), -1);
	EXPECT(store_faults(stack - 1));
	kstack_free(stack);
}

TEST(kmap, image_stacks_have_guards,
     "nothing is mapped below the boot stack and the stacks of #DF, NMI and "
     "#MC")
{
	unsigned n = 0;

	for (const struct guard *g = guards_start; g < guards_end; g++) {
		for (uint64_t i = 0; i < g->n; i++, n++) {
			char *page = (char *)g->page + i * g->stride;

			EXPECT_EQ(*leaf_of((va_t)page), 0);
			EXPECT(*leaf_of((va_t)page + PAGE_SIZE));
			if (i == 0)
				EXPECT(store_faults(page + PAGE_SIZE - 1));
		}
	}
	EXPECT_EQ(n, 1 + TRAP_ISTS);
}

/*
 * Count the bytes mapped below top, a page at a time, to more than any stack.
 */
static uint64_t depth_of(const char *top)
{
	uint64_t depth = 0;

	while (depth <= KSTACK_SIZE && *leaf_of((va_t)top - depth - 1))
		depth += PAGE_SIZE;
	return depth;
}

TEST_SMP(kmap, worst_faults_have_their_own_stacks,
	 "each of #DF, NMI and #MC has its own stack on every CPU, with an "
	 "unmapped page below",
	 2)
{
	const char *tops[MAX_CPUS * TRAP_ISTS];
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		for (unsigned i = 0; i < TRAP_ISTS; i++)
			tops[n++] = cpu_ist(cpu, i);
	for (unsigned i = 0; i < n; i++) {
		REQUIRE(tops[i]);
		EXPECT(depth_of(tops[i]) >= 2 * PAGE_SIZE);
		EXPECT(depth_of(tops[i]) <= KSTACK_SIZE);
		for (unsigned k = 0; k < i; k++)
			EXPECT(tops[k] != tops[i]);
	}
}

TEST(kmap, stacks_are_used_again,
     "a freed stack is used again by the next request")
{
	void *a = kstack_alloc(), *b = kstack_alloc();
	uint64_t cached, free;

	REQUIRE(a && b && a != b);
	cached = kstack_cached_pages();
	kstack_free(a);
	EXPECT_EQ(kstack_cached_pages(), cached + KSTACK_SIZE / PAGE_SIZE);
	free = pmm_free_pages();
	EXPECT(kstack_alloc() == a);
	EXPECT_EQ(pmm_free_pages(), free);
	kstack_free(a);
	kstack_free(b);
}

/* ---------------------------------------- device mappings and sharing */

TEST(kmap, device_mappings_are_kept,
     "a device's registers are mapped uncached and keep their address")
{
	pa_t hpet = 0xfed00000;
	char *va = kmap_device(hpet + 0x10, 8);

	REQUIRE(va);
	EXPECT_EQ((va_t)va % PAGE_SIZE, 0x10);
	EXPECT(x86_prot(*leaf_of((va_t)va)) & PROT_UNCACHED);
	EXPECT_EQ(pt_pa(*leaf_of((va_t)va)), hpet);
	EXPECT(kmap_device(hpet, PAGE_SIZE) == va - 0x10);
	EXPECT(!kmap_device(hpet, 0));
	EXPECT(!kmap_device(UINT64_MAX - 5, 10));
	EXPECT_STR_NULL(wx_check());
}

TEST(kmap, tables_are_made_in_advance,
     "each page of the stacks and of the first device mappings has its table "
     "from the start")
{
	unsigned level, missing = 0;

	for (va_t va = VMAP_BASE; va < VMAP_BASE + KSTACK_SLOTS * KSTACK_SLOT;
	     va += PAGE_SIZE) {
		pt_lookup(&kernel_pt, va, 0, &level);
		missing += level > 0;
	}
	EXPECT_EQ(missing, 0);
	pt_lookup(&kernel_pt, MMIO_BASE + pt_span(1) - PAGE_SIZE, 0, &level);
	EXPECT_EQ(level, 0);
}

static void put_table(struct page *table, void *arg)
{
	(void)arg;
	page_put(table);
}

TEST(kmap, every_root_shares_the_kernel,
     "a new top table has the kernel's half, and it stays current")
{
	struct pt pt;

	REQUIRE(pt_init(&pt, &pt_x86_user, PT_X86_LEVELS, 0, BIT(47), NULL) ==
		0);
	kmap_share(&pt);
	kstack_free(kstack_alloc());
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t want =
			i < PT_ENTRIES / 2 ? 0 : pte_read(&kernel_pt.root[i]);

		EXPECT_EQ(pt.root[i] & ~PTE_A, want & ~PTE_A);
	}
	EXPECT_STR_NULL(pt_check(&pt));
	pt_destroy(&pt, put_table, NULL);
}
