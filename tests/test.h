/* SPDX-License-Identifier: MIT */
/*
 * test.h - how a test is written
 *
 *	TEST(cow, child_sees_no_later_write,
 *	     "after a fork the child keeps what the page held")
 *	{
 *		...
 *		EXPECT_EQ(read(child, VA), 'A');
 *	}
 *
 * The name is a claim, the sentence says it to a person.  A test runs in a
 * thread of its own; afterwards every oracle (tests/oracle.c) looks at the
 * whole machine.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"
#include "kernel/rand.h"

struct test {
	const char *suite, *name, *claim, *file;
	void (*fn)(void);
	unsigned cpus;  /* needs that many; fewer: SKIP                     */
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

/* Record a failure and go on: the log says what was expected. */
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

/* An oracle that answers NULL or what is wrong in words. */
#define EXPECT_STR_NULL(words)                                               \
	do {                                                                 \
		const char *w_ = (words);                                    \
		if (w_)                                                      \
			test_fail(__FILE__, __LINE__, "%s: %s", #words, w_); \
	} while (0)

/* Without this the rest makes no sense: the test ends here. */
#define REQUIRE(cond)                                               \
	do {                                                        \
		if (!(cond)) {                                      \
			test_fail(__FILE__, __LINE__, "%s", #cond); \
			test_leave();                               \
		}                                                   \
	} while (0)

/* This machine cannot run the test; the reason is printed.  Ends the test. */
#define SKIP(why) test_skip(why)

/* For a test of what the release build leaves out: before it makes anything. */
#define CHECKED_ONLY(what)                                     \
	do {                                                   \
		if (!CONFIG_CHECK)                             \
			SKIP("only the checking build " what); \
	} while (0)

/* Any thread of the running test. */
void test_fail(const char *file, int line, const char *fmt, ...)
	printf_like(3, 4);

/* A line of diagnostics. */
void test_note(const char *fmt, ...) printf_like(1, 2);

/* Only the test's own thread, holding no lock. */
noreturn void test_leave(void);
noreturn void test_skip(const char *why);

/* The run's seed, mixed with the test's name: the same on every run. */
uint64_t test_seed(void);
