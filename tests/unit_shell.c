/* SPDX-License-Identifier: MIT */
/*
 * unit_shell.c - kernel/shell.c, and what the shell shows of other threads
 *
 * tools/shell_test talks to the whole of it through a pipe; here is what it
 * cannot arrange: a thread that sleeps with locks while somebody looks.
 */
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "kernel/waitq.h"
#include "tests/ktap.h"
#include "tests/test.h"

/* What was printed; any CPU may print, under the console's lock. */
static char said[2000];
static size_t n_said;

static void hear(const char *text, size_t len)
{
	for (size_t i = 0; i < len && n_said + 1 < sizeof(said); i++)
		said[n_said++] = text[i];
	said[n_said] = 0;
}

static void listen(bool on)
{
	if (on)
		said[n_said = 0] = 0;
	printk_set_sink(on ? hear : ktap_sink);
}

/* The answer to line, and what the command returned. */
static int ask(const char *line)
{
	char text[SHELL_LINE];
	int ret;

	snprintk(text, sizeof(text), "%s", line);
	listen(true);
	ret = shell_run(text);
	listen(false);
	return ret;
}

static bool heard(const char *glob)
{
	bool yes = glob_match(glob, said);

	if (!yes)
		test_note("wanted `%s`, said was `%s`", glob, said);
	return yes;
}

static enum shell_key keys(struct shell_line *l, const char *text)
{
	enum shell_key key = SHELL_MORE;

	listen(true);
	for (; *text && key == SHELL_MORE; text++)
		key = shell_key(l, *text);
	listen(false);
	return key;
}

TEST(shell, keys_edit_the_line,
     "what is erased, or sent by a cursor key, is not in the line")
{
	static const struct {
		const char *keys, *text;
	} lines[] = {
		{ "ab\bc\r", "ac" },     { "\b\b\177a\n", "a" },
		{ "abc\025de\n", "de" }, { "abc\003d\r", "d" },
		{ "a\033[Ab\n", "ab" },  { "a\033[1;5Cb\n", "ab" },
		{ "a\033OPb\n", "ab" },  { "a\001\002\377\tb\n", "a b" },
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

TEST(shell, line_is_bounded,
     "a line that does not fit is marked, rings the bell, and harms nothing")
{
	static struct {
		struct shell_line l;
		char behind[16];
	} box;

	shell_line_clear(&box.l);
	for (unsigned i = 0; i < SHELL_LINE - 1; i++)
		EXPECT_EQ(keys(&box.l, "x"), SHELL_MORE);
	EXPECT(!box.l.cut);
	EXPECT_EQ(keys(&box.l, "yz"), SHELL_MORE);
	EXPECT(heard("\a\a"));
	EXPECT(box.l.cut && strlen(box.l.text) == SHELL_LINE - 1);
	for (unsigned i = 0; i < sizeof(box.behind); i++)
		EXPECT_EQ(box.behind[i], 0);
	EXPECT_EQ(keys(&box.l, "\b\n"), SHELL_ENTER);
	EXPECT(!box.l.cut && strlen(box.l.text) == SHELL_LINE - 2);
}

TEST(shell, one_enter_one_line,
     "a terminal's \\r\\n is one end of line, \\n\\n are two")
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
     "a line is cut at blanks; a number is all digits and fits 64 bits")
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

TEST(shell, typo_is_answered,
     "an unknown command gets the nearest one, wrong words the usage")
{
	EXPECT_EQ(ask("thraeds"), -ENOENT);
	EXPECT(heard("*unknown command `thraeds`*`threads`*"));
	EXPECT_EQ(ask("threads of mine"), -EINVAL);
	EXPECT(heard("usage: threads *"));
	EXPECT_EQ(ask("threads 1 2 3 4 5 6 7 8"), -EINVAL);
	EXPECT(heard("usage: threads *"));
	EXPECT_EQ(ask("   "), 0);
	EXPECT(heard(""));
}

/* ---- others, while they are looked at ----------------------------------- */

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
     "threads and locks show a thread that sleeps and what it holds")
{
	struct thread *t;
	char line[80];

	rw_init(&outer, RANK_TEST, "a lock to be seen");
	waitq_init(&go);
	inside = leave = false;
	EXPECT_EQ(ask("threads"), 0);
	EXPECT(!glob_match("*dozer*", said));
	t = thread_create("dozer", sleep_with_lock, NULL);
	REQUIRE(t);
	wait_event(&go, READ_ONCE(inside));
	/* It is inside; that it is off its CPU too may take a moment. */
	while (READ_ONCE(t->state) != THREAD_BLOCKED || READ_ONCE(t->on_cpu))
		yield();

	EXPECT_EQ(ask("threads"), 0);
	snprintk(line, sizeof(line), "*thread %u dozer blocked locks %u *",
		 t->id, CONFIG_CHECK ? 1 : 0);
	EXPECT(heard(line));
	EXPECT_EQ(ask("locks"), 0);
	snprintk(line, sizeof(line), "*thread %u dozer holds %s*", t->id,
		 "a lock to be seen (rank 1)");
	EXPECT(!CONFIG_CHECK || heard(line));

	WRITE_ONCE(leave, true);
	wake_all(&go);
	thread_join(t);
	EXPECT_EQ(ask("locks"), 0);
	EXPECT(!glob_match("*dozer*", said));
}
