/* SPDX-License-Identifier: MIT */
/*
 * shell.c - editing a line; finding the command in it
 */
#include "kernel/shell.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define KEY_END    ('D' - '@')
#define KEY_BELL   '\a'
#define KEY_BACK   '\b'
#define KEY_KILL   ('U' - '@')
#define KEY_ESC    0x1b
#define KEY_DELETE 0x7f

enum escape {
	ESC_NONE,
	ESC_BEGUN,  /* ESC                                                 */
	ESC_INSIDE, /* ESC [ or ESC O: goes on to a byte in 40h..7eh        */
	ESC_NUMBER, /* the same, and a number has begun                     */
};

/* ---- a line as it is typed ---------------------------------------------- */

void shell_line_clear(struct shell_line *l)
{
	l->len = 0;
	l->text[0] = 0;
	l->cut = false;
	l->escape = ESC_NONE;
	l->back = 0;
}

static void erase(struct shell_line *l)
{
	if (!l->len)
		return;
	l->text[--l->len] = 0;
	l->cut = false; /* after an erasure all that is left is shown */
	printk("\b \b");
}

static void append(struct shell_line *l, char c)
{
	if (l->len + 1 == SHELL_LINE) {
		l->cut = true;
		printk("%c", KEY_BELL);
		return;
	}
	l->text[l->len++] = c;
	l->text[l->len] = 0;
	printk("%c", c);
}

static void kill_line(struct shell_line *l)
{
	while (l->len)
		erase(l);
	l->cut = false;
}

static void append_all(struct shell_line *l, const char *text)
{
	while (*text)
		append(l, *text++);
}

/* ---- earlier lines ------------------------------------------------------ */

static char *past(struct shell_line *l, unsigned back)
{
	return l->past[(l->n_past - back) % SHELL_PAST];
}

/* Keep a line that was entered, unless it is empty, was cut, or is the newest. */
static void remember(struct shell_line *l)
{
	if (!l->len || l->cut || (l->n_past && !strcmp(past(l, 1), l->text)))
		return;
	l->n_past++;
	memcpy(past(l, 1), l->text, l->len + 1);
}

/* Show the line that is `back` lines back, in place of the one that is shown. */
static void recall(struct shell_line *l, unsigned back)
{
	if (back > l->n_past || back > SHELL_PAST) {
		printk("%c", KEY_BELL);
		return;
	}
	if (!l->back)
		memcpy(l->typed, l->text, l->len + 1);
	kill_line(l);
	append_all(l, back ? past(l, back) : l->typed);
	l->back = back;
}

/* A cursor key, whose last byte is c. */
static void cursor(struct shell_line *l, char c)
{
	if (c == 'A')
		recall(l, l->back + 1);
	else if (c == 'B' && l->back)
		recall(l, l->back - 1);
}

/* Returns whether c is part of what a cursor or function key sends. */
static bool in_escape(struct shell_line *l, char c)
{
	unsigned before = l->escape;

	switch (before) {
	case ESC_BEGUN:
		l->escape = c == '[' || c == 'O' ? ESC_INSIDE : ESC_NONE;
		return l->escape == ESC_INSIDE;
	case ESC_INSIDE:
	case ESC_NUMBER:
		l->escape = ESC_NUMBER;
		if (c >= 0x40 && c <= 0x7e)
			l->escape = ESC_NONE;
		if (before == ESC_INSIDE)
			cursor(l, c); /* ESC [ 1 ; 5 A is another key */
		return true;
	default:
		return false;
	}
}

/* ---- completion --------------------------------------------------------- */

/* How many bytes both begin with. */
static unsigned common(const char *a, const char *b)
{
	unsigned n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Print the names that begin with the word, and the line once more. */
static void show_names(const struct shell_line *l, const char *word, size_t len)
{
	printk("\n");
	for (const struct shell_command *const *c = __start_vv_shell;
	     c < __stop_vv_shell; c++)
		if (!strncmp((*c)->name, word, len))
			printk("%s ", (*c)->name);
	printk("\n%s%s", SHELL_PROMPT, l->text);
}

/*
 * Complete the first word: to the name if only one begins with it, else to what all of
 * these have in common, or show them if that is the word.
 */
static void complete(struct shell_line *l)
{
	unsigned len, n = 0, same = SHELL_LINE;
	const char *word = l->text, *name = "";

	while (*word == ' ')
		word++;
	if (strchr(word, ' ')) {
		append(l, ' ');
		return;
	}
	len = (unsigned)strlen(word);
	for (const struct shell_command *const *c = __start_vv_shell;
	     c < __stop_vv_shell; c++) {
		unsigned m = common((*c)->name, n ? name : (*c)->name);

		if (strncmp((*c)->name, word, len))
			continue;
		same = m < same ? m : same;
		name = (*c)->name;
		n++;
	}
	if (!n)
		printk("%c", KEY_BELL);
	else if (n > 1 && same == len)
		show_names(l, word, len);
	for (unsigned i = len; n && i < same; i++)
		append(l, name[i]);
	if (n == 1)
		append(l, ' ');
}

enum shell_key shell_key(struct shell_line *l, char c)
{
	bool after_cr = l->cr;

	l->cr = c == '\r';
	if (in_escape(l, c) || (c == '\n' && after_cr))
		return SHELL_MORE;
	switch (c) {
	case '\r':
	case '\n':
		printk("\n");
		remember(l);
		return SHELL_ENTER;
	case KEY_END:
		printk("\n");
		return SHELL_END;
	case KEY_BACK:
	case KEY_DELETE:
		erase(l);
		break;
	case KEY_KILL:
	case SHELL_CANCEL:
		kill_line(l);
		break;
	case KEY_ESC:
		l->escape = ESC_BEGUN;
		break;
	case '\t':
		complete(l);
		break;
	default:
		if (c >= ' ' && c < KEY_DELETE)
			append(l, c);
	}
	return SHELL_MORE;
}

/* ---- a line that is complete -------------------------------------------- */

unsigned shell_split(char *line, char *argv[SHELL_WORDS])
{
	unsigned argc = 0;

	for (;;) {
		while (*line == ' ')
			*line++ = 0;
		if (!*line)
			return argc;
		if (argc == SHELL_WORDS)
			return SHELL_WORDS + 1;
		argv[argc++] = line;
		while (*line && *line != ' ')
			line++;
	}
}

static int digit(char c, unsigned base)
{
	int v = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : 16;

	return v < (int)base ? v : -1;
}

bool shell_number(const char *text, uint64_t *out)
{
	unsigned base = !strncmp(text, "0x", 2) ? 16 : 10;
	uint64_t v = 0;

	text += base == 16 ? 2 : 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		int d = digit(*text, base);

		if (d < 0 || __builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return false;
	}
	*out = v;
	return true;
}

static const struct shell_command *find(const char *name, bool nearest)
{
	const struct shell_command *best = NULL;
	unsigned distance = nearest ? ~0u : 1;

	for (const struct shell_command *const *c = __start_vv_shell;
	     c < __stop_vv_shell; c++) {
		unsigned d = edit_distance(name, (*c)->name);

		if (d < distance) {
			distance = d;
			best = *c;
		}
	}
	return best;
}

const struct shell_command *shell_find(const char *name)
{
	return find(name, false);
}

int shell_unknown(const char *name)
{
	printk("unknown command `%s`: did you mean `%s`?\n", name,
	       find(name, true)->name);
	return -ENOENT;
}

int shell_run(char *line)
{
	char *argv[SHELL_WORDS];
	unsigned argc = shell_split(line, argv);
	const struct shell_command *c;
	int ret;

	if (!argc)
		return 0;
	c = find(argv[0], false);
	if (!c)
		return shell_unknown(argv[0]);
	ret = argc > SHELL_WORDS ? -EINVAL : c->fn(argc, argv);
	if (ret == -EINVAL)
		printk("usage: %s %s\n", c->name, c->args);
	return ret;
}
