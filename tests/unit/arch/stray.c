/* SPDX-License-Identifier: MIT */
/*
 * stray.c - interrupts without a handler, NMIs that no CPU sent
 *
 * The CPU sends them to itself and to others through its local APIC, which
 * delivers a device's message in the same way.
 */
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/base/test.h"
#include "tests/checker/checkers.h"

#define FIRST_VECTOR 1 /* QEMU keeps a message of vector 0 back         */
#define EXCEPTIONS   32
#define UNSERVED     0xe7
#define SERVED       0xe0 /* the test's handler serves it            */
#define SLEEP_NS     UINT64_C(20000000)

/*
 * Wait until `want` strays of the vector were counted; then take their number.  No limit
 * of time: the CPU that takes the interrupt may stand still.
 */
static uint64_t strays_after(unsigned vector, uint64_t want)
{
	while (trap_stray_count(vector) < want)
		cpu_pause();
	return trap_stray_take(vector);
}

/* Run it on one CPU: what it sends to itself arrives there. */
static void on_cpu_of_its_own(unsigned cpu, void (*fn)(void *arg))
{
	struct thread *t = thread_create_on(BIT(cpu), "stray", fn, NULL);

	REQUIRE(t);
	thread_join(t);
}

/* The handler of an exception does not serve an interrupt with its vector. */
static void each_vector(void *arg)
{
	unsigned tried = 0;

	for (unsigned v = FIRST_VECTOR; v < TRAP_VECTORS; v++) {
		if (v >= EXCEPTIONS && trap_served(v))
			continue;
		lapic_ipi(cpu_id(), v);
		EXPECT_EQ(strays_after(v, 1), 1);
		EXPECT(!lapic_in_service(v));
		tried++;
	}
	EXPECT(tried > 150);
}

TEST(stray, vectors_are_counted,
     "an interrupt of any vector without a handler, an exception's vector "
     "included, is counted once and leaves no vector in service")
{
	on_cpu_of_its_own(0, each_vector);
}

static void tick_after_stray(void *arg)
{
	lapic_ipi(cpu_id(), UNSERVED);
	EXPECT_EQ(strays_after(UNSERVED, 1), 1);
	sleep_ns(SLEEP_NS); /* ended by a tick, which has a lower vector */
}

TEST(stray, timer_still_interrupts,
     "the timer still interrupts after a stray interrupt of a high vector")
{
	on_cpu_of_its_own(0, tick_after_stray);
}

static void int_unserved(void *arg)
{
	__asm__ volatile("int %0" ::"i"(UNSERVED) : "memory");
}

TEST(stray, stray_interrupt_fails_the_test,
     "a test that leaves a stray interrupt fails, and its vector is named")
{
	struct checkers o;
	const char *why;

	checkers_begin(&o);
	int_unserved(NULL);
	why = checkers_run(&o);
	EXPECT(why && glob_match("1 interrupts of vector 0xe7,*", why));
	EXPECT_STR_NULL(checkers_run(&o));
}

static bool served_before, served_after;

static void int_inside(struct trap_frame *frame)
{
	served_before = lapic_in_service((unsigned)frame->vector);
	int_unserved(NULL);
	served_after = lapic_in_service((unsigned)frame->vector);
	lapic_eoi();
}

/* The handler has returned when this CPU sees the count. */
static void int_in_handler(void *arg)
{
	served_before = served_after = false;
	trap_set_handler(SERVED, int_inside);
	lapic_ipi(cpu_id(), SERVED);
	EXPECT_EQ(strays_after(UNSERVED, 1), 1);
	trap_set_handler(SERVED, NULL);
	EXPECT(served_before && served_after);
	EXPECT(!lapic_in_service(SERVED));
}

TEST(stray, int_n_acknowledges_no_interrupt,
     "an INT instruction without a handler is counted, and the interrupt "
     "whose handler executes it stays in service")
{
	on_cpu_of_its_own(0, int_in_handler);
}

static void nmi_to_self(void *arg)
{
	lapic_nmi(cpu_id());
	sleep_ns(1);
}

TEST(stray, nmi_is_counted,
     "an NMI that no CPU sent is counted, and its CPU continues")
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		on_cpu_of_its_own(i, nmi_to_self);
		EXPECT_EQ(strays_after(TRAP_NMI, 1), 1);
	}
}

TEST_SMP(stray, nmi_to_each_cpu_is_counted,
	 "each of 4 CPUs counts an NMI from another CPU and continues", 4)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		lapic_nmi(i);
	EXPECT_EQ(strays_after(TRAP_NMI, cpu_count()), cpu_count());
	for (unsigned i = 0; i < cpu_count(); i++)
		on_cpu_of_its_own(i, int_unserved);
	EXPECT_EQ(trap_stray_take(UNSERVED), cpu_count());
}
