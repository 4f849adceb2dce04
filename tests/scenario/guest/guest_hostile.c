/* SPDX-License-Identifier: MIT */
/*
 * guest_hostile.c - guests that run random code on random page tables
 *
 * Each life of the guest begins in real mode, in 32-bit mode without paging or in
 * 64-bit mode, at a random place of memory that holds random bytes, snippets that
 * touch what a guest must not have, and page tables.  It ends at the first exit that
 * a monitor could not serve, or by the tick.  What must not change: the process's
 * pages outside of the slots and one in a read-only slot, another process, and of the
 * kernel's registers the MSRs of msrs[], DR0 to DR3 and CR4; and free frames, which are
 * checked after every test.
 *
 * QEMU 10 and 11 do not survive it: 10.0.2 crashed or hung in each of 56 runs, 10.0.13
 * and 11.1.3 hung in a quarter of theirs, by the seed.  The test runs on 7.2 only,
 * which is told from them by what it intercepts.
 */
#include "drivers/quirks/svm_quirks.h"
#include "kernel/string.h"
#include "tests/fixture/guest/resident.h"
#include "tests/stress/stress.h"

#define ENTRIES   4000u  /* make stress: 500,000 with each of two seeds  */
#define PER_LIFE  50u    /* at most                                          */
#define LOOK      1000u  /* entries between two looks at what must not change */
#define PROGRESS  50000u /* between two lines that say how far it is         */
#define PAGES     16u    /* of the guest, from guest-physical 0 on           */
#define READ      PAGES /* the page in the read-only slot; then those in none */
#define ALL       (PAGES + 9)
#define OTHERS    8u /* pages of the other process                       */
#define CANARY(i) (UINT64_C(0xca11000000000000) + (i))

#define CR0_EM    BIT(2)
#define CR0_ET    BIT(4)
#define CR0_PG    BIT(31)
#define EFER_SVME BIT(12)
#define CODE32    0xc9b /* attributes of segments                           */
#define CODE16    0x09b
#define DATA16    0x093

static struct guest g;
static struct vcpu v;
static struct mm *mm, *other;
static struct page *pages[ALL];
static unsigned seen[VCPU_STOPPED + 1];

/* ---- what it runs ---------------------------------------------------------- */

#define SNIPPET(text)                  \
	{                              \
		text, sizeof(text) - 1 \
	}
static const struct {
	const char *code;
	unsigned len;
} snippets[] = {
	SNIPPET("\x0f\x30"),             /* wrmsr */
	SNIPPET("\x0f\x32"),             /* rdmsr */
	SNIPPET("\x0f\x33"),             /* rdpmc */
	SNIPPET("\x0f\xa2"),             /* cpuid */
	SNIPPET("\x0f\x31"),             /* rdtsc */
	SNIPPET("\x0f\x01\xf9"),         /* rdtscp */
	SNIPPET("\x0f\x22\xc0"),         /* mov cr0, rax */
	SNIPPET("\x0f\x22\xd8"),         /* mov cr3, rax */
	SNIPPET("\x0f\x22\xd0"),         /* mov cr2, rax */
	SNIPPET("\x0f\x22\xe0"),         /* mov cr4, rax */
	SNIPPET("\x0f\x20\xc0"),         /* mov rax, cr0 */
	SNIPPET("\x0f\x20\xd8"),         /* mov rax, cr3 */
	SNIPPET("\x0f\x23\xf8"),         /* mov dr7, rax */
	SNIPPET("\x0f\x21\xf0"),         /* mov rax, dr6 */
	SNIPPET("\x0f\x01\xd8"),         /* vmrun */
	SNIPPET("\x0f\x01\xd9"),         /* vmmcall */
	SNIPPET("\x0f\x01\xda"),         /* vmload */
	SNIPPET("\x0f\x01\xdb"),         /* vmsave */
	SNIPPET("\x0f\x01\xdc"),         /* stgi */
	SNIPPET("\x0f\x01\xdd"),         /* clgi */
	SNIPPET("\x0f\x01\xdf"),         /* invlpga */
	SNIPPET("\x0f\x01\xf8"),         /* swapgs */
	SNIPPET("\x0f\x01\x38"),         /* invlpg [rax] */
	SNIPPET("\x0f\x01\x10"),         /* lgdt [rax] */
	SNIPPET("\x0f\x01\x18"),         /* lidt [rax] */
	SNIPPET("\x0f\x00\xd8"),         /* ltr ax */
	SNIPPET("\x0f\x00\xd0"),         /* lldt ax */
	SNIPPET("\x8e\xe0"),             /* mov fs, ax */
	SNIPPET("\x8e\xe8"),             /* mov gs, ax */
	SNIPPET("\x8e\xd0"),             /* mov ss, ax */
	SNIPPET("\x0f\x05"),             /* syscall */
	SNIPPET("\x0f\x07"),             /* sysret */
	SNIPPET("\x0f\x34"),             /* sysenter */
	SNIPPET("\x48\xcf"),             /* iretq */
	SNIPPET("\xcb"),                 /* retf */
	SNIPPET("\xcc"),                 /* int3 */
	SNIPPET("\xcd\x20"),             /* int 20h */
	SNIPPET("\xf4"),                 /* hlt */
	SNIPPET("\xfa"),                 /* cli */
	SNIPPET("\xfb"),                 /* sti */
	SNIPPET("\xf3\x90"),             /* pause */
	SNIPPET("\xee"),                 /* out dx, al */
	SNIPPET("\xed"),                 /* in eax, dx */
	SNIPPET("\x6d"),                 /* ins */
	SNIPPET("\x6f"),                 /* outs */
	SNIPPET("\x0f\x08"),             /* invd */
	SNIPPET("\x0f\x09"),             /* wbinvd */
	SNIPPET("\x0f\x01\xc8"),         /* monitor */
	SNIPPET("\x0f\x01\xc9"),         /* mwait */
	SNIPPET("\x0f\x06"),             /* clts */
	SNIPPET("\x0f\x01\xf0"),         /* lmsw ax */
	SNIPPET("\x9d"),                 /* popf */
	SNIPPET("\xf3\x48\xab"),         /* rep stosq */
	SNIPPET("\xf3\x48\xa5"),         /* rep movsq */
	SNIPPET("\x48\x89\x00"),         /* mov [rax], rax */
	SNIPPET("\x48\x8b\x00"),         /* mov rax, [rax] */
	SNIPPET("\xf0\x48\x0f\xc1\x00"), /* lock xadd [rax], rax */
};

/* An entry of a page table: most often one that leads somewhere. */
static uint64_t some_entry(struct rng *rng)
{
	uint64_t e = rng_next(rng);

	if (rng_below(rng, 4) == 0)
		return e;
	e &= GENMASK(11, 0);
	e |= rng_below(rng, ALL + 4) << PAGE_SHIFT | PTE_P;
	return rng_below(rng, 8) ? e & ~(PTE_PS | PTE_G) : e;
}

/* Fill page i: with tables, with code, or with noise. */
static void fill(struct rng *rng, unsigned i)
{
	uint64_t *words = page_va(pages[i]);
	char *bytes = page_va(pages[i]);
	unsigned kind = (unsigned)rng_below(rng, 3);

	for (unsigned n = 0; n < PAGE_SIZE / 8; n += 1 + (kind == 0) * 7)
		words[n] = kind == 0 ? some_entry(rng) : rng_next(rng);
	for (unsigned at = 0; kind == 1 && at < PAGE_SIZE - 16;) {
		unsigned s = (unsigned)rng_below(rng, ARRAY_SIZE(snippets));

		memcpy(bytes + at, snippets[s].code, snippets[s].len);
		at += snippets[s].len + (unsigned)rng_below(rng, 3);
	}
}

/* ---- its life --------------------------------------------------------------- */

static uint64_t somewhere(struct rng *rng)
{
	return rng_below(rng, PAGES * PAGE_SIZE);
}

/* 32 bits, no paging. */
static void be_flat(struct vmcb *c)
{
	c->cr0 &= ~CR0_PG;
	c->efer = EFER_SVME;
	c->cs.attributes = CODE32;
}

static void be_real(struct vmcb *c)
{
	c->cr0 = CR0_EM | CR0_ET;
	c->efer = EFER_SVME;
	c->cr4 = 0;
	c->cs = (struct vmcb_segment){ 0, CODE16, 0xffff, 0 };
	c->ss = c->ds = c->es = (struct vmcb_segment){ 0, DATA16, 0xffff, 0 };
}

/* Let one entry map all of its memory: so its code runs. */
static void be_mapped(struct vmcb *c)
{
	unsigned top = (unsigned)(c->cr3 >> PAGE_SHIFT), table = !top;
	uint64_t *upper = page_va(pages[top]), *lower = page_va(pages[table]);

	upper[0] = (uint64_t)table << PAGE_SHIFT | PTE_P | PTE_W | PTE_U;
	lower[0] = PTE_P | PTE_W | PTE_U | PTE_PS;
}

/* The page tables are whatever is there. */
static void be_itself(struct vmcb *unused)
{
}

static void draw_registers(struct rng *rng)
{
	uint64_t *regs = (uint64_t *)&v.regs;

	v.vmcb->rax = rng_below(rng, ALL * PAGE_SIZE);
	for (unsigned i = 0; i < sizeof(v.regs) / 8; i++)
		regs[i] = rng_below(rng, 2) ? rng_below(rng, ALL * PAGE_SIZE)
					    : rng_next(rng);
}

static void begin_life(struct rng *rng)
{
	static void (*const modes[])(struct vmcb *) = { be_flat, be_real,
							be_mapped, be_itself };
	struct vmcb *c = v.vmcb;

	vcpu_set_long_mode(&v, somewhere(rng), somewhere(rng),
			   rng_below(rng, PAGES) << PAGE_SHIFT);
	modes[rng_below(rng, ARRAY_SIZE(modes))](c);
	c->idtr.base = somewhere(rng);
	c->idtr.limit = (uint32_t)rng_below(rng, 2) * 0xfff;
	c->gdtr.base = somewhere(rng);
	c->gdtr.limit = 0xfff;
	draw_registers(rng);
	c->event = 0;
	if (rng_below(rng, 8) == 0)
		vcpu_inject(&v, (unsigned)rng_below(rng, 32),
			    rng_below(rng, 2) ? NO_ERROR : 0);
	else if (rng_below(rng, 8) == 0)
		(void)vcpu_interrupt(&v, 32 + (unsigned)rng_below(rng, 224));
}

/* Serve the exit; returns whether it lives on. */
static bool lives_on(struct rng *rng)
{
	enum vcpu_exit why;

	if (v.vmcb->exit_code == EXIT_INTR)
		return false;
	why = vcpu_serve(&v);
	seen[why]++;
	if (why == VCPU_INVALID || why == VCPU_SHUTDOWN) {
		vcpu_destroy(&v);
		EXPECT_EQ(vcpu_create(&v, &g), 0);
		return false;
	}
	v.vmcb->rax = rng_below(rng, ALL * PAGE_SIZE);
	return why != VCPU_FAULT;
}

/* Returns how often it entered. */
static unsigned live(struct rng *rng)
{
	unsigned n = 0;
	bool entered;

	begin_life(rng);
	do {
		entered = vcpu_enter(&v);
		EXPECT(entered);
		n++;
	} while (entered && lives_on(rng) && n < PER_LIFE);
	return n;
}

/* ---- memory that must not change ----------------------------------------------- */

static void make_memory(void)
{
	struct guest_slot memory = { 0, PAGES * PAGE_SIZE, VA, RW | PROT_X };
	struct guest_slot rom = { READ * PAGE_SIZE, PAGE_SIZE, P(READ),
				  PROT_R | PROT_X };

	other = mm_fixture(OTHERS);
	for (unsigned i = 0; i < OTHERS; i++)
		wr(other, P(i), CANARY(i));
	mm = mm_create();
	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, ALL * PAGE_SIZE, RW | PROT_X, 0, NULL, 0,
		       NULL) == 0);
	for (unsigned i = 0; i < ALL; i++) {
		wr(mm, P(i), CANARY(i));
		pages[i] = page_at(mm, P(i));
	}
	REQUIRE(guest_create(&g, &guest_own, mm) == 0);
	REQUIRE(guest_add_slot(&g, &memory) == 0);
	REQUIRE(guest_add_slot(&g, &rom) == 0);
	REQUIRE(vcpu_create(&v, &g) == 0);
}

static void end_memory(void)
{
	for (unsigned i = 0; i < ALL; i++)
		page_put(pages[i]);
	vcpu_destroy(&v);
	guest_destroy(&g);
	mm_put(mm);
	mm_put(other);
}

/* Each page from READ on holds its canary and zeroes, wherever the process has it. */
static bool memory_is_whole(unsigned entries)
{
	for (unsigned i = READ; i < ALL; i++) {
		const uint64_t *words = page_va(pages[i]);

		for (unsigned n = 0; n < PAGE_SIZE / 8; n++) {
			if (words[n] == (n ? 0 : CANARY(i)))
				continue;
			test_fail(__FILE__, __LINE__,
				  "page %u: word %u is %lx after %u entries", i,
				  n, words[n], entries);
			return false;
		}
		EXPECT_EQ(rd(mm, P(i)), CANARY(i));
	}
	for (unsigned i = 0; i < OTHERS; i++)
		EXPECT_EQ(rd(other, P(i)), CANARY(i));
	return true;
}

/* ---- registers that must not change --------------------------------------------- */

static const uint32_t msrs[] = {
	0x277,      /* PAT */
	0x174,      /* SYSENTER_CS */
	0x175,      /* SYSENTER_ESP */
	0x176,      /* SYSENTER_EIP */
	0xc0000080, /* EFER */
	0xc0000081, /* STAR */
	0xc0000082, /* LSTAR */
	0xc0000083, /* CSTAR */
	0xc0000084, /* SFMASK */
	0xc0000100, /* FS.base */
	0xc0000102, /* KernelGSBase */
	0xc0010117, /* VM_HSAVE_PA */
};

#define READ_REGISTER(name)                                         \
	({                                                          \
		uint64_t v_;                                        \
		__asm__ volatile("movq %%" name ", %0" : "=r"(v_)); \
		v_;                                                 \
	})

#define REGISTERS (ARRAY_SIZE(msrs) + 5)

static void read_registers(uint64_t to[REGISTERS])
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		*to++ = rdmsr(msrs[i]);
	*to++ = READ_REGISTER("cr4");
	*to++ = READ_REGISTER("dr0");
	*to++ = READ_REGISTER("dr1");
	*to++ = READ_REGISTER("dr2");
	*to = READ_REGISTER("dr3");
}

static bool registers_are(const uint64_t before[REGISTERS])
{
	uint64_t now[REGISTERS];

	read_registers(now);
	for (unsigned i = 0; i < REGISTERS; i++)
		EXPECT_EQ(now[i], before[i]);
	return !memcmp(now, before, sizeof(now));
}

/* ---- all of it ------------------------------------------------------------------ */

static void tell(unsigned entries)
{
	test_note("%u entries: %u calls, %u halts, %u ports, %u faults, %u "
		  "triple faults, %u refused, %u served",
		  entries, seen[VCPU_CALL], seen[VCPU_HLT], seen[VCPU_IO],
		  seen[VCPU_FAULT], seen[VCPU_SHUTDOWN], seen[VCPU_INVALID],
		  seen[VCPU_AGAIN]);
}

static void lives(void *unused)
{
	unsigned entries = 0, wanted = ENTRIES * stress_times();
	unsigned looked = 0, told = 0;
	struct rng rng = rng_seed(test_seed());
	uint64_t before[REGISTERS];
	bool whole = true;

	make_memory();
	read_registers(before);
	for (unsigned i = 0; i < PAGES; i++)
		fill(&rng, i);
	memset(seen, 0, sizeof(seen));
	while (entries < wanted && whole) {
		if (!rng_below(&rng, 8))
			fill(&rng, (unsigned)rng_below(&rng, PAGES));
		entries += live(&rng);
		if (entries - looked < LOOK && entries < wanted)
			continue;
		looked = entries;
		whole = memory_is_whole(entries) && registers_are(before);
		if (entries - told >= PROGRESS) {
			told = entries;
			tell(entries);
		}
	}
	tell(entries);
	EXPECT(seen[VCPU_CALL] && seen[VCPU_IO] && seen[VCPU_FAULT] &&
	       seen[VCPU_SHUTDOWN] && seen[VCPU_AGAIN]);
	end_memory();
}

TEST_FULL(
	guest, hostile_guest_changes_nothing_else,
	"a guest that runs random code on random page tables changes no page "
	"outside of its slots, and of the kernel's registers no debug address, "
	"not CR4 and none of 12 MSRs",
	1, 300)
{
	need_svm();
	if (!svm_quirk_lacking("intercepts_invd"))
		SKIP("QEMU 10 and 11 end or hang at some of these guests");
	on_cpu(0, lives, NULL);
}
