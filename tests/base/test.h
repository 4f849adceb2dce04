/* SPDX-License-Identifier: MIT */
/*
 * test.h - how a test is written
 *
 * 	TEST(cow, child_sees_no_later_write,
 * 	     "a child keeps the contents that a page had at the fork")
 * 	{
 * 		...
 * 		EXPECT_EQ(read(child, VA), 'A');
 * 	}
 *
 * The name is a claim; the sentence states it in full, so that it can be read
 * alone in the list of tests.  A test runs in a thread of its own; afterwards
 * every checker (tests/checker/checkers.c) inspects the whole machine.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"
#include "kernel/rand.h"

struct test {
	const char *suite, *name, *claim, *file;
	void (*fn)(void);
	unsigned cpus;  /* required; with fewer CPUs: SKIP                  */
	unsigned limit; /* seconds of the machine's time; 0: TEST_LIMIT     */
};

#define TEST_LIMIT 60

/* The linker collects pointers to all tests in one array. */
#define TEST_FULL(suite_, name_, claim_, cpus_, limit_)                \
	static void suite_##_##name_(void);                            \
	static const struct test test_##suite_##_##name_ = {           \
		#suite_,          #name_, claim_, __FILE__,            \
		suite_##_##name_, cpus_,  limit_                       \
	};                                                             \
	static const struct test *const at_##suite_##_##name_ in_order \
		__attribute__((section("vv_tests"), used)) =           \
			&test_##suite_##_##name_;                      \
	static void suite_##_##name_(void)

#define TEST(suite, name, claim) TEST_FULL(suite, name, claim, 1, 0)
#define TEST_SMP(suite, name, claim, cpus) \
	TEST_FULL(suite, name, claim, cpus, 0)

/* Record a failure and continue; the log shows the expectation. */
#define EXPECT(cond)                                                \
	do {                                                        \
		if (!(cond))                                        \
			test_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)

#define EXPECT_EQ(a, b)                                                        \
	do {                                                                   \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);               \
		if (a_ != b_)                                                  \
			test_fail(__FILE__, __LINE__,                          \
				  "%s == %s: got %#lx, want %#lx", #a, #b, a_, \
				  b_);                                         \
	} while (0)

/* Fail if a checker's answer is a message and not NULL. */
#define EXPECT_STR_NULL(message)                                               \
	do {                                                                   \
		const char *w_ = (message);                                    \
		if (w_)                                                        \
			test_fail(__FILE__, __LINE__, "%s: %s", #message, w_); \
	} while (0)

/* End the test if the rest makes no sense without this. */
#define REQUIRE(cond)                                               \
	do {                                                        \
		if (!(cond)) {                                      \
			test_fail(__FILE__, __LINE__, "%s", #cond); \
			test_leave();                               \
		}                                                   \
	} while (0)

/*
 * End the test as skipped: this machine cannot run it; the reason is printed.
 */
#define SKIP(why) test_skip(why)

/* Skip a test of what the release build lacks; first statement of the test. */
#define CHECKED_ONLY(what)                                     \
	do {                                                   \
		if (!CONFIG_CHECK)                             \
			SKIP("only the checking build " what); \
	} while (0)

/* Record a failure.  Any thread of the running test. */
void test_fail(const char *file, int line, const char *fmt, ...)
	printf_like(3, 4);

/* Print a line of diagnostics. */
void test_note(const char *fmt, ...) printf_like(1, 2);

/* End the test.  Only the test's own thread, holding no lock. */
noreturn void test_leave(void);
noreturn void test_skip(const char *why);

/* Return the run's seed mixed with the test's name: the same on every run. */
uint64_t test_seed(void);
