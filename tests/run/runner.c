/* SPDX-License-Identifier: MIT */
/*
 * runner.c - run tests one after the other, each in a thread of its own
 */
#include "arch/clock.h"
#include "arch/layout.h"
#include "arch/smp.h"
#include "drivers/console.h"
#include "drivers/exitport.h"
#include "drivers/serial.h"
#include "kernel/inject.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/huge_pool.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"
#include "mm/notifier/mmu_notifier.h"
#include "mm/reclaim/kswapd.h"
#include "tests/base/ktap.h"
#include "tests/base/select.h"
#include "tests/bench/bench.h"
#include "tests/checker/checkers.h"
#include "tests/checker/event_checker.h"
#include "tests/explore/explore.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/run/tests.h"
#include "tests/stress/stress.h"
#include "tests/timeline/explain.h"

#define PROBES_SHOWN 16

/* The running test; failures come from any of its threads. */
static const struct test *_Atomic running;
static struct thread *test_thread;
static _Atomic unsigned failures;
static const char *skipped;
static uint64_t run_seed;
static uint32_t fail_nth;  /* the word fail=alloc:nth=                 */
static bool check_each;    /* the word check=each                     */
static bool explain, json; /* the words explain, explain=json         */
static bool hang, deaf;    /* the words lie=hang, lie=deaf             */
static uint64_t deadline;  /* ns; read by the ticks */
static bool timed_out;

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char text[300];
	va_list args;

	va_start(args, fmt);
	vsnprintk(text, sizeof(text), fmt, args);
	va_end(args);
	explain_broken();
	if (atomic_fetch_add(&failures, 1) < 10)
		ktap_note("%s:%d: %s", file, line, text);
}

void test_note(const char *fmt, ...)
{
	char text[300];
	va_list args;

	va_start(args, fmt);
	vsnprintk(text, sizeof(text), fmt, args);
	va_end(args);
	ktap_note("%s", text);
}

void test_leave(void)
{
	assert(current() == test_thread);
	thread_exit();
}

void test_skip(const char *why)
{
	skipped = why;
	test_leave();
}

uint64_t test_seed(void)
{
	const struct test *t = running;
	uint64_t h = run_seed * 0x9e3779b97f4a7c15;

	for (const char *c = t ? t->name : ""; *c; c++)
		h = (h ^ (uint8_t)*c) * 0x100000001b3;
	return h;
}

static void test_main(void *arg)
{
	const struct test *t = arg;

	test_thread = current();
	if (fail_nth)
		inject_arm(fail_nth);
	if (deaf)
		irq_disable();
	while (hang || deaf)
		cpu_pause();
	t->fn();
}

/* tools/run sends a break and an NMI when it has waited too long. */
static const char *host_asks(void)
{
	timed_out = serial_break();
	return timed_out ? "the test did not end in time, by the host's clock"
			 : NULL;
}

/* A test that hangs cannot be ended: the machine is, with everything shown. */
static void watchdog(void)
{
	uint64_t limit = READ_ONCE(deadline);

	if (!limit || clock_ns() < limit)
		return;
	WRITE_ONCE(deadline, 0);
	timed_out = true;
	panic("the test did not end in time");
}

static void panic_report(const char *cause)
{
	const struct test *t = running;

	ktap_abort(t ? t->name : NULL, timed_out ? "TIMEOUT" : "ERROR", cause);
	if (t)
		printk("# replay: make run T=%s.%s SEED=%lu SMP=%u\n", t->suite,
		       t->name, run_seed, cpu_count());
	stress_tell();
	if (t) /* last: it must not cost us what is known already */
		explain_show(t, "not ok", true);
}

/* Print what the test did, if it failed or if that is asked for. */
static void show(const struct test *t)
{
	const char *verdict = failures ? "not ok" : skipped ? "skip" : "ok";

	if (failures || explain || json)
		explain_show(t, verdict, failures || explain);
}

/* Sweep the machine after the last test of a suite, or after each with check=each. */
static void sweep(bool last)
{
	const char *why = last || check_each ? checkers_sweep() : NULL;

	if (!why)
		return;
	test_fail("checker", 0, "%s", why);
	if (!check_each)
		ktap_note("this may be an earlier test's doing: "
			  "APPEND=check=each looks after each");
}

static void tell_replay(const struct test *t)
{
	probe_dump(PROBES_SHOWN);
	ktap_note("replay: make run T=%s.%s SEED=%lu SMP=%u", t->suite, t->name,
		  run_seed, cpu_count());
}

static void run_test(const struct test *t, unsigned timeout, bool last)
{
	uint64_t usual = (t->limit ? t->limit : TEST_LIMIT) * stress_times() *
			 (CONFIG_SAN ? 8 : 1);
	uint64_t limit = timeout ? timeout : usual;
	struct checkers before;
	struct thread *thread;
	uint64_t start, us;
	const char *why;
	bool probing;

	if (t->cpus > cpu_count()) {
		char need[40];

		snprintk(need, sizeof(need), "needs %u CPUs", t->cpus);
		ktap_result(t->name, KTAP_SKIP, need);
		return;
	}
	atomic_store(&failures, 0);
	skipped = NULL;
	probing = probe_on;
	mmu_notifier_all_calls = true; /* so that probes show each change */
	checkers_begin(&before);
	events_begin();
	running = t;
	explain_reset();
	ktap_running(t->name, limit);
	start = clock_ns();
	WRITE_ONCE(deadline, start + limit * UINT64_C(1000000000));
	/* One that looks at no clock is where another CPU has to look. */
	thread = thread_create_on(deaf ? BIT(0) : ~UINT64_C(0), t->name,
				  test_main, (void *)t);
	assert(thread);
	thread_join(thread);
	us = (clock_ns() - start) / 1000;
	if (failures || explain || json)
		explain_end(); /* what follows is no part of it */
	fixture_release();
	engines_release();
	why = events_check();
	if (!why)
		why = checkers_run(&before);
	WRITE_ONCE(deadline, 0);
	if (why)
		test_fail("checker", 0, "%s", why);
	sweep(last);
	running = NULL;
	show(t);
	if (failures)
		tell_replay(t);
	WRITE_ONCE(probe_on, probing);
	ktap_note("time_us=%lu", us);
	ktap_result(t->name,
		    failures  ? KTAP_FAIL
		    : skipped ? KTAP_SKIP
			      : KTAP_PASS,
		    skipped);
}

static unsigned suite_length(const struct selection *s, unsigned from)
{
	unsigned n = 0;

	while (from + n < s->n &&
	       !strcmp(s->tests[from + n]->suite, s->tests[from]->suite))
		n++;
	return n;
}

/* Return the number of the last test of the suite that has enough CPUs; n: none. */
static unsigned last_to_run(const struct test *const *tests, unsigned n)
{
	for (unsigned k = n; k-- > 0;)
		if (tests[k]->cpus <= cpu_count())
			return k;
	return n;
}

static unsigned run_all(const struct selection *s)
{
	unsigned suites = 0, failed;

	run_seed = s->seed;
	fail_nth = s->fail_nth;
	explain = s->explain;
	check_each = s->check_each;
	json = s->json;
	explain_json(json);
	hang = s->hang;
	deaf = s->deaf;
	san_start(s->seed);
	printk_set_sink(ktap_sink);
	panic_set_report(panic_report);
	panic_set_request(host_asks);
	thread_set_tick(watchdog);
	for (unsigned i = 0; i < s->n; i += suite_length(s, i))
		suites++;
	ktap_begin(suites);
	ktap_note("tests: %u", s->n * s->repeat);
	for (unsigned i = 0, n, last; i < s->n; i += n) {
		n = suite_length(s, i);
		last = last_to_run(s->tests + i, n);
		ktap_suite(s->tests[i]->suite, n * s->repeat);
		for (unsigned r = 0; r < s->repeat; r++)
			for (unsigned k = 0; k < n; k++)
				run_test(s->tests[i + k], s->timeout,
					 k == last);
		ktap_suite_end();
	}
	/* Under icount the same in every run, or it was not the same run. */
	ktap_note("ended at tsc %lu", rdtsc());
	failed = ktap_end();
	printk_set_sink(console_write);
	return failed;
}

/* The word hugepages=: as many blocks as there are, and a word if these are fewer. */
static void fill_pool(unsigned n)
{
	unsigned has = huge_pool_resize(n);

	if (has < n)
		printk("# hugepages=%u: memory has only %u blocks of 2 MiB to "
		       "spare, they are reserved\n",
		       n, has);
	else if (n)
		printk("# hugepages=%u: reserved, %lu MiB\n", n, n * 2ul);
}

noinline int tests_run(const char *cmdline)
{
	static struct selection s;
	const char *why;

	select_tests(cmdline, &s);
	stress_set_times(s.stress);
	why = stress_plan(s.ops);
	if (!why)
		why = explore_configure(s.explore, s.sched);
	if (why && !s.error[0])
		snprintk(s.error, sizeof(s.error), "%s", why);
	if (s.error[0]) {
		printk("visavis: %s\n", s.error);
		return EXIT_USAGE;
	}
	if ((s.low || s.high) && kswapd_start(s.low, s.high)) {
		printk("visavis: low=%lu high=%lu: both are needed, low is "
		       "below "
		       "high, and high at most %lu frames\n",
		       s.low, s.high, pmm_total());
		return EXIT_USAGE;
	}
	for (unsigned i = 0; s.list && i < s.n; i++)
		printk("%s.%s\t%s\n", s.tests[i]->suite, s.tests[i]->name,
		       s.tests[i]->claim);
	if (s.list)
		return EXIT_PASS;
	fill_pool(s.pool);
	if (s.bench)
		return bench_main(s.bench_glob) ? EXIT_PASS : EXIT_USAGE;
	if (s.shell)
		return tests_shell();
	return run_all(&s) ? EXIT_FAIL : EXIT_PASS;
}

/* No variable of tests/ may be touched before they have their memory. */
int tests_main(const char *cmdline)
{
	uint64_t free;

	pmm_drain();
	free = pmm_free_pages();
	if (!kmap_populate(tests_start, tests_end)) {
		printk("visavis: no memory for the tests' variables\n");
		return EXIT_PLATFORM;
	}
	bench_boot_left(free);
	return tests_run(cmdline);
}
