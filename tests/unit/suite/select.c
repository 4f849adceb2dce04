/* SPDX-License-Identifier: MIT */
/*
 * select.c - the parameters of the command line
 *
 * The runner trusts a selection: a parameter that is misread would run other
 * tests than requested, or none, without a sign.  So each mistake is an error
 * with a message.
 */
#include "kernel/string.h"
#include "tests/base/select.h"

static struct selection s;

static const struct selection *choose(const char *cmdline)
{
	select_tests(cmdline, &s);
	return &s;
}

static bool refused(const char *cmdline, const char *glob)
{
	choose(cmdline);
	if (s.error[0] && glob_match(glob, s.error))
		return true;
	test_note("`%s`: the error was `%s`, expected `%s`", cmdline, s.error,
		  glob);
	return false;
}

static unsigned chosen_of(const char *suite)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s.n; i++)
		n += !strcmp(s.tests[i]->suite, suite);
	return n;
}

TEST(select, second_choice_is_refused,
     "a second choice of tests on one command line is an error, not the only "
     "one that counts")
{
	EXPECT(refused("test=cow.* test=select.*", "`test=select.*` after*"));
	EXPECT(refused("test=cow.* quick", "`quick` after*"));
	EXPECT(refused("quick test=cow.*", "`test=cow.*` after*"));
}

TEST(select, all_without_a_word, "without a parameter every test runs once")
{
	unsigned n = choose("")->n;

	EXPECT(!s.error[0]);
	EXPECT_EQ(s.seed, 1);
	EXPECT_EQ(s.repeat, 1);
	EXPECT_EQ(s.fail_nth, 0);
	EXPECT(chosen_of("select") && chosen_of("cow"));
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++)
			EXPECT(s.tests[i] != s.tests[j]);
	EXPECT_EQ(choose("quick")->n + choose("test=stress.*")->n, n);
}

TEST(select, last_match_decides, "globs add and remove tests in their order")
{
	unsigned n = choose("test=select.*")->n;

	EXPECT_EQ(chosen_of("select"), n);
	EXPECT_EQ(choose("test=select.*,-select.last_match_decides")->n, n - 1);
	EXPECT_EQ(choose("test=-select.*,select.last_match_decides")->n,
		  choose("")->n - n + 1);
	EXPECT_EQ(choose("test=select.last_match_decides")->n, 1);
}

TEST(select, typos_get_a_suggestion,
     "a mistake is refused, and the nearest valid name is suggested")
{
	EXPECT(refused("test=selct.*", "no test*did you mean `select.*"));
	EXPECT(refused("test=cow", "*did you mean `cow.*`*"));
	EXPECT(refused("test=select.typo_get_a_suggestion",
		       "*did you mean `select.typos_get_a_suggestion`*"));
	EXPECT(refused("test=select.*,selec.x", "no test matches `selec.x`*"));
	EXPECT(refused("test=select.*,,", "no test matches ``*"));
	EXPECT(refused("shufle", "*did you mean `shuffle`*"));
	EXPECT(refused("lie=mcgf", "*did you mean `lie=mcfg`*"));
	EXPECT(refused("fail=alloc", "*did you mean `fail=alloc:nth=`*"));
	EXPECT(refused("shell test=select.*", "*type `run select.*"));
}

TEST(select, an_empty_run_is_refused, "globs that leave no test are an error")
{
	EXPECT(refused("test=-*", "*leaves no test*"));
	EXPECT(refused("test=select.*,-select.*", "*leaves no test*"));
}

TEST(select, numbers_are_bounded,
     "a number out of bounds is refused, not cut or wrapped")
{
	EXPECT_EQ(choose("seed=18446744073709551615")->seed, UINT64_MAX);
	EXPECT_EQ(choose("timeout=7 explain repeat=3")->timeout, 7);
	EXPECT_EQ(s.repeat, 3);
	EXPECT(s.explain && !s.json && !choose("repeat=3")->explain);
	EXPECT(choose("explain=json")->json && !s.explain);
	EXPECT(!s.error[0]);
	EXPECT(refused("explain=xml", "*explain=xml*"));
	EXPECT(refused("seed=18446744073709551616", "*decimal number*"));
	EXPECT(refused("seed=", "*decimal number*"));
	EXPECT(refused("seed=0x10", "*decimal number*"));
	EXPECT(refused("repeat=0", "*from 1 to*"));
	EXPECT(refused("repeat=4294967297", "*decimal number*"));
	EXPECT(refused("timeout=4294967296", "*decimal number*"));
	EXPECT(refused("fail=alloc:nth=4294967296", "*decimal number*"));
	EXPECT(refused("hugepages=9M", "*decimal number*"));
	EXPECT_EQ(choose("hugepages=9")->pool, 9);
	EXPECT_EQ(choose("fail=alloc:nth=17")->fail_nth, 17);
	EXPECT_EQ(s.stress, 1);
	EXPECT_EQ(choose("stress=1200")->stress, 1200);
	EXPECT(refused("stress=0", "*from 1 to 1200*"));
	EXPECT(refused("stress=1201", "*from 1 to 1200*"));
	EXPECT(refused("stress=4294967297", "*decimal number*"));
	EXPECT(refused("stress=much", "*decimal number*"));
	EXPECT(refused("stres=2", "*did you mean `stress=`*"));
}

TEST(select, long_words_are_refused,
     "a parameter that is too long is refused, not cut")
{
	static char line[400];

	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "test=", 5);
	EXPECT(refused(line, "*at most 255 characters*"));
	memcpy(line, "ops=0", 5);
	line[5] = ' ';
	EXPECT(refused(line, "*at most 255 characters*"));
}

TEST(select, shuffle_keeps_all,
     "a shuffle keeps suites together and loses no test")
{
	static const struct test *before[SELECT_MAX];
	unsigned n = choose("")->n, moved = 0, missing = 0;

	for (unsigned i = 0; i < n; i++)
		before[i] = s.tests[i];
	EXPECT_EQ(choose("shuffle seed=7")->n, n);
	for (unsigned i = 0; i < n; i++) {
		unsigned j = 0;

		while (j < n && s.tests[j] != before[i])
			j++;
		missing += j == n;
		moved += j != i;
		EXPECT(!strcmp(s.tests[i]->suite, before[i]->suite));
	}
	EXPECT_EQ(missing, 0);
	EXPECT(moved > n / 4);
}
