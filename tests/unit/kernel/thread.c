/* SPDX-License-Identifier: MIT */
/*
 * thread.c - threads, locks and their ranks, on one CPU and on four
 */
#include "arch/bits.h"
#include "arch/clock.h"
#include "arch/layout.h"
#include "arch/smp.h"
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "kernel/waitq.h"
#include "tests/base/test.h"

static struct spinlock outer = SPINLOCK_INIT(RANK_PT, "outer");
static struct spinlock inner = SPINLOCK_INIT(RANK_PMM, "inner");

static void wrong_order(void *arg)
{
	spin_lock(&inner);
	spin_lock(&outer);
}

static void right_order(void *arg)
{
	spin_lock(&outer);
	spin_lock(&inner);
	spin_unlock(&inner);
	spin_unlock(&outer);
}

static void twice(void *arg)
{
	spin_lock(&outer);
	spin_lock(&outer);
}

static void not_mine(void *arg)
{
	spin_unlock(&outer);
}

static void sleep_spinning(void *arg)
{
	spin_lock(&outer);
	sleep_ns(1);
}

static struct rwsem sem;

static void sem_under_spin(void *arg)
{
	spin_lock(&outer);
	rw_read_lock(&sem);
}

static void interrupts_on(void *arg)
{
	static struct spinlock waits = SPINLOCK_INIT(RANK_WAIT, "waits");

	spin_lock(&waits);
}

static void sleep_with_interrupts_off(void *arg)
{
	irq_disable();
	rw_read_lock(&sem);
}

static bool says(void (*fn)(void *), const char *words)
{
	char cause[200] = "";
	bool caught = panic_catch(fn, NULL, cause, sizeof(cause));

	if (words && !(caught && glob_match(words, cause)))
		test_note("the panic says: %s", cause);
	return words ? caught && glob_match(words, cause) : !caught;
}

TEST(lock, ranks_panic, "a wrong lock order panics, and both are named")
{
	CHECKED_ONLY("checks ranks");
	EXPECT(says(right_order, NULL));
	EXPECT(says(wrong_order, "lock order: outer*under inner*"));
	EXPECT(says(twice, "lock order: outer*under outer*"));
}

TEST(lock, misuse_panics,
     "unlocking another thread's lock, and sleeping under a spin lock, panic")
{
	CHECKED_ONLY("checks contexts");
	rw_init(&sem, RANK_MM, "sem");
	EXPECT(says(not_mine, "unlock: outer is not held*"));
	EXPECT(says(sleep_spinning, "sleeping where*"));
	EXPECT(says(sem_under_spin, "sleeping where*"));
	EXPECT(says(interrupts_on, "lock context: waits*interrupts on"));
	EXPECT(says(sleep_with_interrupts_off, "sleeping where*off)"));
}

#define ROUNDS 2000

static struct spinlock counter_lock = SPINLOCK_INIT(RANK_PT, "counter");
static uint64_t counter;

static void count_up(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t v;

		spin_lock(&counter_lock);
		v = counter;
		cpu_pause(); /* under icount: let the next CPU run */
		WRITE_ONCE(counter, v + 1);
		spin_unlock(&counter_lock);
	}
}

static void run_on_all(void (*fn)(void *), void *arg, unsigned n)
{
	struct thread *t[8];

	for (unsigned i = 0; i < n; i++) {
		t[i] = thread_create("worker", fn, arg);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		thread_join(t[i]);
}

TEST(lock, spin_excludes, "no increment under a spin lock is lost")
{
	counter = 0;
	run_on_all(count_up, NULL, 4);
	EXPECT_EQ(counter, 4 * ROUNDS);
}

struct shared_state {
	struct rwsem sem;
	uint64_t a, b; /* equal unless a writer is inside */
	_Atomic unsigned torn, inside;
};

static void rw_writer(void *arg)
{
	struct shared_state *s = arg;

	for (unsigned i = 0; i < 300; i++) {
		rw_write_lock(&s->sem);
		WRITE_ONCE(s->a, s->a + 1);
		if (i % 50 == 0)
			yield();
		WRITE_ONCE(s->b, s->b + 1);
		rw_write_unlock(&s->sem);
	}
}

static void rw_reader(void *arg)
{
	struct shared_state *s = arg;

	for (unsigned i = 0; i < 300; i++) {
		rw_read_lock(&s->sem);
		atomic_fetch_add(&s->inside, 1);
		if (i % 20 == 0)
			yield();
		if (READ_ONCE(s->a) != READ_ONCE(s->b))
			atomic_fetch_add(&s->torn, 1);
		atomic_fetch_sub(&s->inside, 1);
		rw_read_unlock(&s->sem);
	}
}

static void rw_both(void *arg)
{
	static _Atomic unsigned n;

	if (atomic_fetch_add(&n, 1) % 2)
		rw_writer(arg);
	else
		rw_reader(arg);
}

TEST(lock, no_reader_sees_half_a_write,
     "no reader of the sleeping lock sees half a write")
{
	static struct shared_state s;

	s = (struct shared_state){ 0 };
	rw_init(&s.sem, RANK_TEST, "shared");
	run_on_all(rw_both, &s, 6);
	EXPECT_EQ(s.torn, 0);
	EXPECT_EQ(s.a, 900);
	EXPECT_EQ(s.b, 900);
}

TEST(lock, readers_share, "a reader enters while another reader is inside")
{
	static struct shared_state s;
	struct thread *t;

	s = (struct shared_state){ 0 };
	rw_init(&s.sem, RANK_TEST, "shared");
	rw_read_lock(&s.sem);
	t = thread_create("reader", rw_reader, &s);
	REQUIRE(t);
	thread_join(t);
	rw_read_unlock(&s.sem);
	EXPECT_EQ(atomic_load(&s.sem.state), 0);
}

TEST(lock, writer_gets_its_turn, "a writer is not starved by readers")
{
	static struct shared_state s;
	struct thread *w, *r;

	s = (struct shared_state){ 0 };
	rw_init(&s.sem, RANK_TEST, "shared");
	rw_read_lock(&s.sem);
	w = thread_create("writer", rw_writer, &s);
	REQUIRE(w);
	while (!(atomic_load(&s.sem.state) & RW_WAITERS))
		yield();
	r = thread_create("reader", rw_reader, &s);
	REQUIRE(r);
	for (unsigned i = 0; i < 20; i++)
		yield();
	EXPECT_EQ(s.inside, 0); /* it queues after the writer */
	rw_read_unlock(&s.sem);
	thread_join(w);
	thread_join(r);
	EXPECT_EQ(s.torn, 0);
}

static void nothing(void *arg)
{
}

TEST(thread, join_waits, "300 threads are created and joined, and none is left")
{
	for (unsigned i = 0; i < 300; i++) {
		struct thread *t = thread_create("nothing", nothing, NULL);

		REQUIRE(t);
		thread_join(t);
	}
}

static void spin_until(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		cpu_pause();
}

TEST(thread, preempts_a_thread_that_never_yields,
     "a thread that never yields is preempted on its own CPU")
{
	bool stop = false;
	unsigned here = cpu_id();
	struct thread *a =
		thread_create_on(BIT(here), "spin", spin_until, &stop);
	struct thread *b = thread_create_on(BIT(here), "after", nothing, NULL);

	REQUIRE(a && b);
	thread_join(b); /* reached only by preempting the first */
	WRITE_ONCE(stop, true);
	thread_join(a);
}

TEST(thread, sleeps_long_enough, "a sleep lasts at least as long as requested")
{
	uint64_t start = clock_ns();

	sleep_ns(20 * 1000 * 1000);
	EXPECT(clock_ns() - start >= 20 * 1000 * 1000);
}

static void note_cpu(void *arg)
{
	*(unsigned *)arg = cpu_id();
}

TEST_SMP(thread, affinity_holds, "a thread runs only on CPUs of its affinity",
	 2)
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		unsigned where = ~0u;
		struct thread *t =
			thread_create_on(BIT(i), "note", note_cpu, &where);

		REQUIRE(t);
		thread_join(t);
		EXPECT_EQ(where, i);
	}
}

struct pingpong {
	struct waitq q;
	unsigned turn;
};

static void pong(void *arg)
{
	struct pingpong *p = arg;

	for (unsigned i = 0; i < 500; i++) {
		wait_event(&p->q, READ_ONCE(p->turn) == 1);
		WRITE_ONCE(p->turn, 0);
		wake_all(&p->q);
	}
}

TEST(thread, no_wakeup_is_lost,
     "no wake-up is lost in 500 hand-overs through a wait queue")
{
	static struct pingpong p;
	struct thread *t;

	p.turn = 0;
	waitq_init(&p.q);
	t = thread_create("pong", pong, &p);
	REQUIRE(t);
	for (unsigned i = 0; i < 500; i++) {
		WRITE_ONCE(p.turn, 1);
		wake_all(&p.q);
		wait_event(&p.q, READ_ONCE(p.turn) == 0);
	}
	thread_join(t);
}

struct limited {
	struct waitq q;
	bool now;
};

static void set_and_wake(void *arg)
{
	struct limited *l = arg;

	WRITE_ONCE(l->now, true);
	wake_all(&l->q);
}

TEST(thread, limited_wait_ends_either_way,
     "a wait with a limit ends when the condition holds or when the time is up")
{
	static struct limited l;
	uint64_t start = clock_ns(), ms = 1000 * 1000;
	struct thread *t;

	l.now = false;
	waitq_init(&l.q);
	EXPECT(!wait_event_until(&l.q, READ_ONCE(l.now), start + 20 * ms));
	EXPECT(clock_ns() >= start + 20 * ms);
	EXPECT(TAILQ_EMPTY(&l.q.waiters));
	start = clock_ns();
	t = thread_create("waker", set_and_wake, &l);
	REQUIRE(t);
	EXPECT(wait_event_until(&l.q, READ_ONCE(l.now), start + 5000 * ms));
	EXPECT(clock_ns() < start + 5000 * ms);
	thread_join(t);
}

static void call_back(void *arg)
{
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void call_others(void *arg)
{
	for (unsigned i = 0; i < 250; i++) {
		preempt_disable();
		smp_call(smp_online_mask(), call_back, arg);
		preempt_enable();
	}
}

TEST_SMP(smp, calls_cross, "calls between all CPUs at once all run", 4)
{
	_Atomic unsigned calls = 0;

	run_on_all(call_others, &calls, 4);
	EXPECT_EQ(calls, 4 * 250 * cpu_count());
}

TEST(smp, call_runs_here_too, "a call to the own CPU is a plain function call")
{
	_Atomic unsigned calls = 0;

	preempt_disable();
	smp_call(BIT(cpu_id()), call_back, &calls);
	preempt_enable();
	EXPECT_EQ(calls, 1);
}

/* Frame pointers that point to an unmapped address only end the backtrace. */
static void on_a_bad_frame(void *arg)
{
	uint64_t word = 1;

	EXPECT(kernel_load64(VMAP_BASE + 8, &word));
	EXPECT(!kernel_load64((uint64_t)arg, &word));
	EXPECT_EQ(word, 77);
}

TEST(panic, reads_bad_addresses, "kernel_load64 refuses unmapped addresses")
{
	uint64_t here = 77;

	on_a_bad_frame(&here);
}

static void panics(void *arg)
{
	panic("on purpose %d", 7);
}

TEST(panic, is_caught_by_request,
     "panic_catch() returns the panic's message, and the thread continues")
{
	EXPECT(says(panics, "on purpose 7"));
	EXPECT(says(nothing, NULL));
}

#define MAGIC UINT64_C(0x5ca1ab1e0ddba11)

/* Put a known value into r12 just before panic(); the dump must show it. */
static void panics_with_magic(void *arg)
{
	register uint64_t r12 __asm__("r12") = MAGIC;

	__asm__ volatile("call panic" ::"D"("with magic"), "a"(0), "r"(r12)
			 : "memory");
}

TEST(panic, registers_are_the_callers,
     "a panic shows the registers of its caller")
{
	uint64_t at = (uint64_t)panics_with_magic;
	unsigned found = 0;

	EXPECT(says(panics_with_magic, "with magic"));
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct trap_frame *f = &cpus[i].panic_frame;

		found += f->r12 == MAGIC && f->rip > at && f->rip < at + 64 &&
			 f->rsp > VMAP_BASE && (f->rflags & RFLAGS_IF);
		cpus[i].panic_frame.r12 = 0;
	}
	EXPECT_EQ(found, 1);
}
