/* SPDX-License-Identifier: MIT */
/*
 * shell.c - kernel/shell.c, and what the shell shows of other threads
 *
 * tools/shell_test talks to all of it through a pipe.  Here is what it cannot
 * arrange: a thread that sleeps with locks while the shell prints them.
 */
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "kernel/waitq.h"
#include "tests/base/capture.h"
#include "tests/base/test.h"

/* Execute a line; its output is in captured.  Returns the command's value. */
static int ask(const char *line)
{
	char text[SHELL_LINE];
	int ret;

	snprintk(text, sizeof(text), "%s", line);
	capture_begin();
	ret = shell_run(text);
	capture_end();
	return ret;
}

static bool recorded(const char *glob)
{
	bool yes = glob_match(glob, captured);

	if (!yes)
		test_note("expected `%s`, the output was `%s`", glob, captured);
	return yes;
}

static enum shell_key keys(struct shell_line *l, const char *text)
{
	enum shell_key key = SHELL_MORE;

	capture_begin();
	for (; *text && key == SHELL_MORE; text++)
		key = shell_key(l, *text);
	capture_end();
	return key;
}

static bool is(const struct shell_line *l, const char *text)
{
	if (strcmp(l->text, text))
		test_note("the line is `%s`, wanted `%s`", l->text, text);
	return !strcmp(l->text, text);
}

TEST(shell, keys_edit_the_line,
     "erased characters and cursor keys are not in the line")
{
	static const struct {
		const char *keys, *text;
	} lines[] = {
		{ "ab\bc\r", "ac" },     { "\b\b\177a\n", "a" },
		{ "abc\025de\n", "de" }, { "abc\003d\r", "d" },
		{ "a\033[Cb\n", "ab" },  { "a\033[1;5Ab\n", "ab" },
		{ "a\033OPb\n", "ab" },  { "a\001\377 b\tc\n", "a b c" },
	};
	static struct shell_line l;

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		shell_line_clear(&l);
		EXPECT_EQ(keys(&l, lines[i].keys), SHELL_ENTER);
		EXPECT(!strcmp(l.text, lines[i].text) && !l.cut);
	}
	shell_line_clear(&l);
	EXPECT_EQ(keys(&l, "ab\004"), SHELL_END);
	EXPECT(!strcmp(l.text, "ab"));
}

TEST(shell, cursor_keys_bring_lines_back,
     "cursor up shows the line before, at most sixteen back, and cursor down "
     "returns to what was being typed; a line is kept once")
{
	static struct shell_line l;
	static const struct {
		const char *keys, *text;
	} lines[] = {
		{ "one\n", "one" },
		{ "two\n", "two" },
		{ "two\n", "two" },
		{ "\n", "" },
		{ "\033[A\n", "two" },
		{ "\033[A\033[A!\n", "one!" },
		{ "new\033[A\033[A\033[B\033[B2\n", "new2" },
		{ "\033[A\033[A\033[A\033[A\033[A\033[A\n", "one" },
		{ "a\033[B\n", "a" },
		{ "\033OA\n", "a" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		shell_line_clear(&l);
		EXPECT_EQ(keys(&l, lines[i].keys), SHELL_ENTER);
		EXPECT(is(&l, lines[i].text));
	}
	for (char c = 'a'; c < 'a' + 20; c++) {
		shell_line_clear(&l);
		keys(&l, (char[]){ c, '\n', 0 });
	}
	shell_line_clear(&l);
	for (unsigned i = 0; i < 20; i++)
		keys(&l, "\033[A");
	EXPECT(is(&l, "e")); /* t is the newest of 16 */
	EXPECT(recorded("\a"));
}

TEST(shell, tab_completes_the_name_of_a_command,
     "a tab completes a name that is the only one, as far as several have in "
     "common, and then shows them; an argument gets a blank")
{
	static struct shell_line l;
	static const struct {
		const char *keys, *text;
	} lines[] = {
		{ "thr\t\n", "threads " },
		{ "  cp\t1\n", "  cpus 1" },
		{ "threads\tx\ty\n", "threads x y" },
		{ "zz\t\n", "zz" },
		{ "un\t\n", "un" },
		{ "unm\t\n", "unm" },
		{ "unme\t\n", "unmerge " },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		shell_line_clear(&l);
		EXPECT_EQ(keys(&l, lines[i].keys), SHELL_ENTER);
		EXPECT(is(&l, lines[i].text));
	}
	shell_line_clear(&l);
	EXPECT_EQ(keys(&l, "unm\t"), SHELL_MORE);
	EXPECT(recorded("unm\nunm* unm* \n" SHELL_PROMPT "unm"));
	shell_line_clear(&l);
	EXPECT_EQ(keys(&l, "u\t"), SHELL_MORE);
	EXPECT_EQ(l.len, 2); /* unbind, unmap, unmerge */
}

TEST(shell, line_is_bounded,
     "a line that is too long is marked, rings the bell, and does no harm")
{
	static struct {
		struct shell_line l;
		char guard[16];
	} box;

	shell_line_clear(&box.l);
	for (unsigned i = 0; i < SHELL_LINE - 1; i++)
		EXPECT_EQ(keys(&box.l, "x"), SHELL_MORE);
	EXPECT(!box.l.cut);
	EXPECT_EQ(keys(&box.l, "yz"), SHELL_MORE);
	EXPECT(recorded("\a\a"));
	EXPECT(box.l.cut && strlen(box.l.text) == SHELL_LINE - 1);
	for (unsigned i = 0; i < sizeof(box.guard); i++)
		EXPECT_EQ(box.guard[i], 0);
	EXPECT_EQ(keys(&box.l, "\b\n"), SHELL_ENTER);
	EXPECT(!box.l.cut && strlen(box.l.text) == SHELL_LINE - 2);
}

TEST(shell, line_ends_are_recognised,
     "a terminal's \\r\\n is one end of line, and \\n\\n are two")
{
	static struct shell_line l;

	shell_line_clear(&l);
	EXPECT_EQ(keys(&l, "a\r"), SHELL_ENTER);
	shell_line_clear(&l);
	EXPECT_EQ(keys(&l, "\nb"), SHELL_MORE);
	EXPECT(!strcmp(l.text, "b"));
	EXPECT_EQ(keys(&l, "\n"), SHELL_ENTER);
	EXPECT_EQ(keys(&l, "\n"), SHELL_ENTER);
}

TEST(shell, words_and_numbers,
     "a line is split at blanks; a number is all digits and fits 64 bits")
{
	char line[] = "  one two   3 ", many[] = "a b c d e f g h i j";
	char *argv[SHELL_WORDS];
	uint64_t v = 0;

	EXPECT_EQ(shell_split(line, argv), 3);
	EXPECT(!strcmp(argv[0], "one") && !strcmp(argv[1], "two") &&
	       !strcmp(argv[2], "3"));
	EXPECT_EQ(shell_split(many, argv), SHELL_WORDS + 1);
	EXPECT(shell_number("18446744073709551615", &v) && v == UINT64_MAX);
	EXPECT(shell_number("0xffffFFFFffffFFFF", &v) && v == UINT64_MAX);
	EXPECT(shell_number("0x10", &v) && v == 16);
	EXPECT(!shell_number("18446744073709551616", &v));
	EXPECT(!shell_number("0x10000000000000000", &v));
	EXPECT(!shell_number("", &v) && !shell_number("0x", &v));
	EXPECT(!shell_number("1a", &v) && !shell_number("-1", &v));
}

TEST(shell, typo_gets_a_suggestion,
     "an unknown command gets the nearest one, wrong arguments the usage")
{
	EXPECT_EQ(ask("thraeds"), -ENOENT);
	EXPECT(recorded("*unknown command `thraeds`*`threads`*"));
	EXPECT_EQ(ask("threads of mine"), -EINVAL);
	EXPECT(recorded("usage: threads *"));
	EXPECT_EQ(ask("threads 1 2 3 4 5 6 7 8"), -EINVAL);
	EXPECT(recorded("usage: threads *"));
	EXPECT_EQ(ask("   "), 0);
	EXPECT(recorded(""));
}

/* ---- others, while they are looked at ---------------------------------- */

static struct rwsem outer;
static struct waitq go;
static bool inside, leave;

static void sleep_with_lock(void *arg)
{
	(void)arg;
	rw_write_lock(&outer);
	WRITE_ONCE(inside, true);
	wake_all(&go);
	wait_event(&go, READ_ONCE(leave));
	rw_write_unlock(&outer);
}

TEST(shell, sleeper_and_its_lock_are_shown,
     "`threads` and `locks` show a sleeping thread and the lock that it holds")
{
	struct thread *t;
	char line[80];

	rw_init(&outer, RANK_TEST, "a lock to be seen");
	waitq_init(&go);
	inside = leave = false;
	EXPECT_EQ(ask("threads"), 0);
	EXPECT(!glob_match("*dozer*", captured));
	t = thread_create("dozer", sleep_with_lock, NULL);
	REQUIRE(t);
	wait_event(&go, READ_ONCE(inside));
	/* It is inside; that it is off its CPU too may take a moment. */
	while (READ_ONCE(t->state) != THREAD_BLOCKED || READ_ONCE(t->on_cpu))
		yield();

	EXPECT_EQ(ask("threads"), 0);
	snprintk(line, sizeof(line), "*thread %u dozer blocked locks %u *",
		 t->id, CONFIG_CHECK ? 1 : 0);
	EXPECT(recorded(line));
	EXPECT_EQ(ask("locks"), 0);
	snprintk(line, sizeof(line), "*thread %u dozer holds %s*", t->id,
		 "a lock to be seen (rank 1)");
	EXPECT(!CONFIG_CHECK || recorded(line));

	WRITE_ONCE(leave, true);
	wake_all(&go);
	thread_join(t);
	EXPECT_EQ(ask("locks"), 0);
	EXPECT(!glob_match("*dozer*", captured));
}
