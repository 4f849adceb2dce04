/* SPDX-License-Identifier: MIT */
/*
 * shell.c - editing a line; finding the command in it
 */
#include "kernel/shell.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define KEY_CANCEL ('C' - '@')
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
};

/* ---- a line as it is typed ---------------------------------------------- */

void shell_line_clear(struct shell_line *l)
{
	l->len = 0;
	l->text[0] = 0;
	l->cut = false;
	l->escape = ESC_NONE;
}

static void erase(struct shell_line *l)
{
	if (!l->len)
		return;
	l->text[--l->len] = 0;
	l->cut = false; /* whoever erases sees what is left */
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

/* Is c part of what a cursor or function key sends? */
static bool in_escape(struct shell_line *l, char c)
{
	switch (l->escape) {
	case ESC_BEGUN:
		l->escape = c == '[' || c == 'O' ? ESC_INSIDE : ESC_NONE;
		return l->escape == ESC_INSIDE;
	case ESC_INSIDE:
		if (c >= 0x40 && c <= 0x7e)
			l->escape = ESC_NONE;
		return true;
	default:
		return false;
	}
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
		return SHELL_ENTER;
	case KEY_END:
		printk("\n");
		return SHELL_END;
	case KEY_BACK:
	case KEY_DELETE:
		erase(l);
		break;
	case KEY_KILL:
	case KEY_CANCEL:
		while (l->len)
			erase(l);
		l->cut = false;
		break;
	case KEY_ESC:
		l->escape = ESC_BEGUN;
		break;
	case '\t':
		append(l, ' ');
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

int shell_run(char *line)
{
	char *argv[SHELL_WORDS];
	unsigned argc = shell_split(line, argv);
	const struct shell_command *c;
	int ret;

	if (!argc)
		return 0;
	c = find(argv[0], false);
	if (!c) {
		printk("unknown command `%s`: did you mean `%s`?\n", argv[0],
		       find(argv[0], true)->name);
		return -ENOENT;
	}
	ret = argc > SHELL_WORDS ? -EINVAL : c->fn(argc, argv);
	if (ret == -EINVAL)
		printk("usage: %s %s\n", c->name, c->args);
	return ret;
}
