/* SPDX-License-Identifier: MIT */
/*
 * stray.c - interrupts without a handler, NMIs that no CPU sent
 *
 * The CPU sends them to itself and to others through its local APIC, which
 * delivers a device's message in the same way.
 */
#include "arch/clock.h"
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
#define WAIT_NS      UINT64_C(200000000)

/*
 * Wait until `want` strays of the vector were counted; then take their number.
 */
static uint64_t strays_after(unsigned vector, uint64_t want)
{
	uint64_t end = clock_ns() + WAIT_NS;

	while (trap_stray_count(vector) < want && clock_ns() < end)
		cpu_pause();
	return trap_stray_take(vector);
}

/* The handler of an exception does not serve an interrupt with its vector. */
TEST(stray, vectors_are_counted,
     "an interrupt of any vector without a handler, an exception's vector "
     "included, is counted once and leaves no vector in service")
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

TEST(stray, timer_still_interrupts,
     "the timer still interrupts after a stray interrupt of a high vector")
{
	lapic_ipi(cpu_id(), UNSERVED);
	EXPECT_EQ(strays_after(UNSERVED, 1), 1);
	sleep_ns(WAIT_NS / 10); /* ended by a tick, which has a lower vector */
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

TEST(stray, int_n_acknowledges_no_interrupt,
     "an INT instruction without a handler is counted, and the interrupt "
     "whose handler executes it stays in service")
{
	served_before = served_after = false;
	trap_set_handler(SERVED, int_inside);
	lapic_ipi(cpu_id(), SERVED);
	EXPECT_EQ(strays_after(UNSERVED, 1), 1);
	trap_set_handler(SERVED, NULL);
	EXPECT(served_before && served_after);
	EXPECT(!lapic_in_service(SERVED));
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
		struct thread *t =
			thread_create_on(BIT(i), "nmi", nmi_to_self, NULL);

		REQUIRE(t);
		thread_join(t);
		EXPECT_EQ(strays_after(TRAP_NMI, 1), 1);
	}
}

TEST_SMP(stray, nmi_to_each_cpu_is_counted,
	 "each of 4 CPUs counts an NMI from another CPU and continues", 4)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		lapic_nmi(i);
	EXPECT_EQ(strays_after(TRAP_NMI, cpu_count()), cpu_count());
	for (unsigned i = 0; i < cpu_count(); i++) {
		struct thread *t =
			thread_create_on(BIT(i), "alive", int_unserved, NULL);

		REQUIRE(t);
		thread_join(t);
	}
	EXPECT_EQ(trap_stray_take(UNSERVED), cpu_count());
}
