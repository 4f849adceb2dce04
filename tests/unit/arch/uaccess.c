/* SPDX-License-Identifier: MIT */
/*
 * uaccess.c - only arch/uaccess.asm accesses user memory, and RFLAGS.AC is set
 * only while it does
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/space/fault.h"
#include "tests/fixture/mm/mm_fixture.h"

#define RFLAGS_AC (UINT64_C(1) << 18)
#define CR4_SMEP  (UINT64_C(1) << 20)

static bool binding_is_open(void)
{
	return read_rflags() & RFLAGS_AC;
}

/* ---- RFLAGS.AC -------------------------------------------------------- */

static unsigned faults, open_faults;

static void look_at_the_door(uint64_t a, uint64_t b, void *arg)
{
	faults++;
	open_faults += binding_is_open();
}

TEST(uaccess, fault_is_served_with_ac_clear,
     "user memory is closed to the kernel while the fault of a user access is "
     "served")
{
	struct mm *mm = mm_fixture(1);

	faults = open_faults = 0;
	WRITE_ONCE(probe_on, true);
	probe_hook("fault_fresh", look_at_the_door, NULL);
	EXPECT_EQ(wr(mm, VA, 7), 0);
	probe_hook("fault_fresh", NULL, NULL);
	EXPECT_EQ(faults, 1);
	EXPECT_EQ(open_faults, 0);
	EXPECT_EQ(rd(mm, VA), 7);
	EXPECT(!binding_is_open());
	mm_put(mm);
}

struct sleeper {
	struct mm *mm;
	_Atomic bool begun;
	uint64_t read;
};

static void read_and_sleep(void *arg)
{
	struct sleeper *s = arg;

	atomic_store(&s->begun, true);
	s->read = rd(s->mm, VA);
}

/* On one CPU: otherwise the flag would be that of another CPU. */
static void beside_a_sleeper(void *arg)
{
	struct sleeper s = { .mm = mm_fixture(1) };
	struct thread *t;
	bool open = false;

	rw_write_lock(&s.mm->lock);
	t = thread_create_on(BIT(cpu_id()), "sleeper", read_and_sleep, &s);
	REQUIRE(t);
	while (READ_ONCE(t->state) != THREAD_BLOCKED || !s.begun) {
		yield();
		open |= binding_is_open();
	}
	open |= binding_is_open();
	rw_write_unlock(&s.mm->lock);
	thread_join(t);
	EXPECT(!open);
	EXPECT_EQ(s.read, 0);
	mm_put(s.mm);
}

TEST(uaccess, switch_clears_ac,
     "user memory is closed for a thread that runs while another sleeps in "
     "the fault of a user access")
{
	for (unsigned i = 0; i < cpu_count(); i++)
		on_cpu(i, beside_a_sleeper, NULL);
}

TEST(uaccess, refusal_clears_ac,
     "user memory is closed after a refused access, whether it was tried or "
     "not")
{
	static uint64_t kernels = 5;
	struct mm *mm = mm_fixture(1);
	uint64_t v = 1;

	EXPECT_EQ(user_store64((va_t)&kernels, 6), -UACCESS_EFAULT);
	EXPECT_EQ(user_load64((va_t)&kernels, &v), -UACCESS_EFAULT);
	EXPECT_EQ(kernels, 5);
	EXPECT_EQ(rd(mm, VA + PAGE_SIZE), BAD);
	EXPECT(!binding_is_open());
	EXPECT_EQ(wr(mm, VA + PAGE_SIZE, 1), -UACCESS_EFAULT);
	EXPECT(!binding_is_open());
	EXPECT_EQ(user_load64(UACCESS_END, &v), -UACCESS_EFAULT);
	EXPECT_EQ(v, 0);
	EXPECT_EQ(user_load64(UACCESS_END - 4, &v), -UACCESS_EFAULT);
	EXPECT_EQ(user_store64(UACCESS_END, v), -UACCESS_EFAULT);
	EXPECT_EQ(user_store64(UINT64_MAX - 7, v), -UACCESS_EFAULT);
	EXPECT(!binding_is_open());
	mm_put(mm);
}

TEST(uaccess, fault_needs_a_thread_that_may_sleep,
     "an access to an absent page with preemption or interrupts off is "
     "refused without effect")
{
	struct mm *mm = mm_fixture(1);
	uint64_t flags;

	mm_bind(mm);
	preempt_disable();
	EXPECT_EQ(user_store64(VA, 1), -UACCESS_EFAULT);
	preempt_enable();
	flags = irq_save();
	EXPECT_EQ(user_store64(VA, 1), -UACCESS_EFAULT);
	irq_restore(flags);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(user_store64(VA, 1), 0);
	mm_bind(NULL);
	mm_put(mm);
}

/* ---- which code may access user memory --------------------------------- */

static struct mm *touched;

noinline static void load_directly(void *arg)
{
	mm_bind(touched);
	(void)*(volatile uint64_t *)arg;
}

noinline static void store_directly(void *arg)
{
	mm_bind(touched);
	*(volatile uint64_t *)arg = 1;
}

noinline static void run_directly(void *arg)
{
	mm_bind(touched);
	((void (*)(void))arg)();
}

/*
 * Return whether fn panics at va and the panic names the instruction (a glob).
 */
static void refuses(void (*fn)(void *), va_t va, const char *at)
{
	char cause[200] = "", want[100];

	snprintk(want, sizeof(want), "#PF*(%s*: user memory, outside of*", at);
	EXPECT(panic_catch(fn, (void *)va, cause, sizeof(cause)));
	EXPECT(glob_match(want, cause));
	if (!glob_match(want, cause))
		test_note("the panic says: %s", cause);
}

TEST(uaccess, kernel_access_to_an_absent_page_panics,
     "a load, store or call of the kernel's own code at an absent user page "
     "panics and names the instruction")
{
	touched = mm_fixture(1);
	EXPECT_EQ(mm_map(touched, VA + PAGE_SIZE, PAGE_SIZE, PROT_R | PROT_X, 0,
			 NULL, 0, NULL),
		  0);
	refuses(load_directly, VA, "load_directly+");
	refuses(store_directly, VA, "store_directly+");
	refuses(run_directly, VA + PAGE_SIZE, "?+");
	EXPECT_EQ(touched->mapped, 0);
	mm_put(touched);
}

TEST(uaccess, smap_refuses_a_present_page,
     "a load or store of the kernel's own code at a mapped user page panics "
     "and names the instruction")
{
	if (!cpu_smap)
		SKIP("this CPU has no SMAP");
	touched = mm_fixture(1);
	EXPECT_EQ(wr(touched, VA, 7), 0);
	refuses(load_directly, VA, "load_directly+");
	refuses(store_directly, VA, "store_directly+");
	EXPECT_EQ(rd(touched, VA), 7);
	mm_put(touched);
}

TEST(uaccess, smep_refuses_a_present_page,
     "a call into a mapped executable user page panics")
{
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	if (!(cr4 & CR4_SMEP))
		SKIP("this CPU has no SMEP");
	touched = mm_fixture(1);
	EXPECT_EQ(wr(touched, VA, 0xc3c3c3c3c3c3c3c3), 0); /* RET */
	EXPECT_EQ(mm_protect(touched, VA, VA + PAGE_SIZE, PROT_R | PROT_X), 0);
	EXPECT_EQ(rd(touched, VA), 0xc3c3c3c3c3c3c3c3);
	refuses(run_directly, VA, "?+");
	mm_put(touched);
}

static void touch_on(void *arg)
{
	refuses(load_directly, VA, "load_directly+");
}

TEST(uaccess, every_cpu_refuses,
     "each CPU refuses a load outside arch/uaccess.asm and serves one inside "
     "it")
{
	touched = mm_fixture(1);
	for (unsigned i = 0; i < cpu_count(); i++)
		on_cpu(i, touch_on, NULL);
	EXPECT_EQ(wr(touched, VA, 7), 0);
	for (unsigned i = 0; cpu_smap && i < cpu_count(); i++)
		on_cpu(i, touch_on, NULL);
	EXPECT_EQ(rd(touched, VA), 7);
	mm_put(touched);
}
