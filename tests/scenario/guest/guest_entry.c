/* SPDX-License-Identifier: MIT */
/*
 * guest_entry.c - when a vCPU must enter with a flush, and what leads out of guest mode
 */
#include "kernel/string.h"
#include "tests/checker/guest_checker.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"

static struct resident r, other;
static struct mm *mm;

static unsigned asked;

static void count_flushes(uint64_t vcpu, uint64_t flush, void *unused)
{
	asked += flush == TLB_CONTROL_FLUSH;
}

/* Does an access enter with a flush?  An interrupt makes it enter more than once. */
static bool flushes(struct resident *of)
{
	uint64_t v;

	asked = 0;
	hook("vcpu_enter", count_flushes, NULL);
	(void)guest_tries(of, false, P(0), &v);
	unhook("vcpu_enter");
	return asked;
}

static void one_access(void *of)
{
	EXPECT(flushes(of));
}

static void entries(void)
{
	mm = mm_fixture(1);
	resident_call(&r, guest_form(), mm);
	resident_call(&other, guest_form(), mm);
	EXPECT_EQ(guest_reads(&r, P(0)), 0);
	EXPECT_EQ(guest_reads(&other, P(0)), 0);
	EXPECT(flushes(&r)); /* after the other one */
	EXPECT(!flushes(&r));
	guest_kick(r.guest);
	EXPECT(flushes(&r));
	EXPECT(!flushes(&r));
	guest_kick(other.guest); /* another guest's kick */
	EXPECT(!flushes(&r));
	EXPECT(flushes(&other));
	EXPECT(flushes(&r));
	if (cpu_count() > 1) {
		on_cpu(1, one_access, &r);
		EXPECT(flushes(
			&r)); /* it was elsewhere, and may be stale here */
		EXPECT(!flushes(&r));
	}
	EXPECT(guest_checker_entries() > 8 || !CONFIG_CHECK);
	resident_stop(&other);
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest, entry_flushes_when_it_must,
     "a vCPU enters with a flush after a kick of its guest, after another vCPU "
     "and after another CPU, and without one otherwise")
{
	with_each_form(entries);
}

/* ---- the checker ---------------------------------------------------------- */

/* Report an entry without a flush. */
static void lies(void *claim)
{
	uint64_t v;

	mm = mm_fixture(1);
	resident_call(&r, &guest_own, mm);
	(void)guest_tries(&r, false, P(0), &v);
	guest_kick(r.guest);
	r.vcpu.seen = atomic_load(&r.guest->kicks); /* as if it had been read */
	(void)guest_tries(&r, false, P(0), &v);
	EXPECT(glob_match("*no flush after a kick*", guest_checker_close()));
	guest_checker_open();
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest, checker_sees_a_missing_flush,
     "an entry without a flush after a kick is a complaint of the checker")
{
	need_svm();
	CHECKED_ONLY("has probes on");
	on_cpu(0, lies, NULL);
}

#define ROUNDS 200u /* until the guest has not left by itself meanwhile */

/* A kick that interrupts nobody. */
static void nobody(void *unused)
{
	mm = mm_fixture(1);
	resident_start(&r, &guest_own, mm);
	EXPECT_EQ(guest_reads(&r, P(0)), 0);
	resident_tick(&r, false);
	kicks_hidden(&r, UINT64_MAX);
	guest_checker_tolerate(false);
	for (unsigned i = 0; i < ROUNDS && !guest_checker_complaint(); i++) {
		EXPECT_EQ(guest_peeks(&r, P(0)), 0); /* it is in guest mode */
		guest_kick(r.guest);
	}
	kicks_shown();
	resident_tick(&r, true);
	EXPECT(glob_match("*still in the guest*", resident_leave(&r)));
	mm_put(mm);
}

TEST_SMP(
	guest, checker_sees_a_kick_that_does_not_wait,
	"a kick that returns while a CPU is still in guest mode is a complaint "
	"of the checker",
	2)
{
	need_svm();
	CHECKED_ONLY("has probes on");
	on_cpu(0, nobody, NULL);
}

/* ---- exits ------------------------------------------------------------------ */

/* Run these bytes in 64-bit mode at page 0 of a new guest, and return why it left. */
static struct vcpu v;
static struct guest g;

static enum vcpu_exit runs(const void *code, size_t len)
{
	struct guest_slot all = resident_memory;
	struct page *page;
	uint64_t *tables;

	mm = mm_create();
	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, 4 * PAGE_SIZE, RW | PROT_X, 0, NULL, 0, NULL) ==
		0);
	for (unsigned i = 0; i < 4; i++)
		wr(mm, P(i), 0);
	page = page_at(mm, P(0));
	memcpy(page_va(page), code, len);
	page_put(page);
	page = page_at(mm, P(1));
	tables = page_va(page);
	tables[0] = P(2) | PTE_P | PTE_W;
	page_put(page);
	page = page_at(mm, P(2));
	tables = page_va(page);
	tables[0] = PTE_P | PTE_W | PTE_PS;
	page_put(page);
	REQUIRE(guest_create(&g, &guest_own, mm) == 0);
	REQUIRE(guest_add_slot(&g, &all) == 0);
	REQUIRE(vcpu_create(&v, &g) == 0);
	vcpu_set_long_mode(&v, P(0), P(4), P(1));
	return vcpu_run(&v);
}

static void over(void)
{
	vcpu_destroy(&v);
	guest_destroy(&g);
	mm_put(mm);
}

#define RUNS(text) runs(text, sizeof(text) - 1)

TEST(guest, exits_go_to_the_caller,
     "HLT, VMMCALL, ports, a fault outside of all memory and a triple fault "
     "end "
     "vcpu_run(), with RIP after the instruction but for the fault")
{
	need_svm();
	EXPECT_EQ(RUNS("\xf4"), VCPU_HLT);
	EXPECT_EQ(v.vmcb->rip, P(0) + 1);
	over();
	EXPECT_EQ(RUNS("\x0f\x01\xd9"), VCPU_CALL);
	EXPECT_EQ(v.vmcb->rip, P(0) + 3);
	over();
	EXPECT_EQ(RUNS("\xb0\x41\xe6\x80"), VCPU_IO); /* mov al; out 0x80 */
	EXPECT_EQ(v.vmcb->rip, P(0) + 4);
	EXPECT_EQ(FIELD_GET(IO_PORT, v.vmcb->exit_info1), 0x80);
	EXPECT_EQ(FIELD_GET(IO_SIZE, v.vmcb->exit_info1), 1);
	EXPECT(!(v.vmcb->exit_info1 & IO_IN));
	EXPECT_EQ(v.vmcb->rax & 0xff, 0x41);
	over();
	/* mov eax, [0x100]: guest-physical, in no slot */
	EXPECT_EQ(RUNS("\x8b\x04\x25\x00\x01\x00\x00"), VCPU_FAULT);
	EXPECT_EQ(v.fault.gpa, 0x100);
	EXPECT_EQ(v.fault.access, PROT_R);
	EXPECT_EQ(v.vmcb->rip, P(0));
	over();
	EXPECT_EQ(RUNS("\x0f\x0b"), VCPU_SHUTDOWN); /* ud2, no IDT */
	over();
}

/* sti; hlt, and sti; out 0x80: interrupts wait for one instruction after STI. */
TEST(guest, skipped_instruction_ends_the_shadow,
     "interrupts that wait for the instruction after STI wait no longer when "
     "it "
     "was served by an exit")
{
	uint64_t shadow;
	unsigned n = 0;

	need_svm();
	EXPECT_EQ(RUNS("\xfb\xf4"), VCPU_HLT);
	EXPECT_EQ(v.vmcb->interrupt_shadow, 0);
	over();
	EXPECT_EQ(RUNS("\xfb\xe6\x80"), VCPU_IO);
	EXPECT_EQ(v.vmcb->interrupt_shadow, 0);
	over();
	/* A fault repeats its instruction: sti; mov eax, [0x100].  On QEMU the shadow
	 * does not outlive an interrupt of the host that comes between the two. */
	do {
		EXPECT_EQ(RUNS("\xfb\x8b\x04\x25\x00\x01\x00\x00"), VCPU_FAULT);
		shadow = v.vmcb->interrupt_shadow;
		over();
	} while (!shadow && ++n < ROUNDS);
	EXPECT_EQ(shadow, 1);
}

/* Each would change the host if it were not intercepted, and is refused: without an
 * interrupt table the exception is a triple fault. */
TEST(guest, confined_instructions_are_refused,
     "a guest that reads or writes an MSR, CR0, CR4, CR8 or a debug register, "
     "or "
     "uses SVM itself, gets an exception")
{
	static const struct {
		const char *code;
		unsigned len;
	} tries[] = {
		{ "\xb9\x77\x02\x00\x00\x0f\x30", 7 }, /* wrmsr PAT */
		{ "\xb9\x80\x00\x00\xc0\x0f\x32", 7 }, /* rdmsr EFER */
		{ "\x0f\x22\xc0", 3 },                 /* mov cr0, rax */
		{ "\x0f\x22\xe0", 3 },                 /* mov cr4, rax */
		{ "\x44\x0f\x22\xc0", 4 },             /* mov cr8, rax */
		{ "\x0f\x23\xc0", 3 },                 /* mov dr0, rax */
		{ "\x0f\x21\xf8", 3 },                 /* mov rax, dr7 */
		{ "\x0f\x06", 2 },                     /* clts */
		{ "\x0f\x01\xd8", 3 },                 /* vmrun */
		{ "\x0f\x01\xda", 3 },                 /* vmload */
		{ "\x0f\x01\xdb", 3 },                 /* vmsave */
		{ "\x0f\x01\xdc", 3 },                 /* stgi */
		{ "\x0f\x01\xdd", 3 },                 /* clgi */
		{ "\x0f\x01\xdf", 3 },                 /* invlpga */
		{ "\x6c", 1 },                         /* insb */
		{ "\xd9\xe8", 2 },                     /* fld1: no FPU */
	};

	need_svm();
	for (unsigned i = 0; i < ARRAY_SIZE(tries); i++) {
		enum vcpu_exit why = runs(tries[i].code, tries[i].len);

		if (why != VCPU_SHUTDOWN)
			test_note("instruction %u: exit %u", i, why);
		EXPECT_EQ(why, VCPU_SHUTDOWN);
		over();
	}
}

/* mov ax, 0; mov fs, ax; mov gs, ax; swapgs; vmmcall */
TEST(guest, host_keeps_its_segments,
     "a guest that changes FS, GS and KernelGSBase leaves those of the kernel "
     "alone")
{
	struct cpu *me;

	need_svm();
	EXPECT_EQ(RUNS("\x66\xb8\x00\x00\x8e\xe0\x8e\xe8\x0f\x01\xf8"
		       "\x0f\x01\xd9"),
		  VCPU_CALL);
	preempt_disable();
	me = this_cpu();
	EXPECT_EQ((uint64_t)me, (uint64_t)&cpus[cpu_id()]);
	EXPECT_EQ(rdmsr(0xc0000102), 0); /* KernelGSBase */
	preempt_enable();
	over();
}

TEST(guest, refused_state_is_final,
     "a vCPU whose state VMRUN refuses, or that had a triple fault, is never "
     "entered again")
{
	need_svm();
	EXPECT_EQ(RUNS("\xf4"), VCPU_HLT);
	v.vmcb->asid = 0;
	EXPECT_EQ(vcpu_run(&v), VCPU_INVALID);
	v.vmcb->asid = 1;
	EXPECT_EQ(vcpu_run(&v), VCPU_STOPPED);
	over();
	EXPECT_EQ(RUNS("\x0f\x0b"), VCPU_SHUTDOWN); /* ud2, no IDT */
	EXPECT_EQ(vcpu_run(&v), VCPU_STOPPED);
	over();
}
