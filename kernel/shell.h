/* SPDX-License-Identifier: MIT */
/*
 * shell.h - an input line, its words, and the table of commands
 *
 *	static int show(unsigned argc, char **argv) { ... }
 *	SHELL_COMMAND(dte, "DEV", "device table entry of a device", "dte lsi0",
 *		      show);
 *
 * Every layer adds its commands; tests/shell/shell.c reads the keyboard.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"

#define SHELL_LINE   128 /* bytes, with the final 0 */
#define SHELL_WORDS  8
#define SHELL_PAST   16 /* lines that the cursor keys bring back */
#define SHELL_PROMPT "visavis> "

/* ^C: no more of this line; a command that waits looks for it, and waits no more. */
#define SHELL_CANCEL ('C' - '@')

struct shell_command {
	const char *name, *args, *help;
	/*
	 * Lines to type on a machine that has just started, separated by "; ":
	 * `help NAME` shows them, tools/shell_test types them.
	 */
	const char *example;
	/*
	 * Print what is asked; argv[0] is the name.  0, or -E: -EINVAL shows
	 * how the command is called, the others explain themselves first.
	 * Context: the shell's thread, which holds no lock and may sleep.
	 */
	int (*fn)(unsigned argc, char **argv);
};

/* The linker collects pointers to all commands in one array. */
#define SHELL_COMMAND(name_, args_, help_, example_, fn_)                 \
	static const struct shell_command shell_command_##name_ = {       \
		#name_, args_, help_, example_, fn_                       \
	};                                                                \
	static const struct shell_command *const at_shell_command_##name_ \
		in_order __attribute__((section("vv_shell"), used)) =     \
			&shell_command_##name_

/* Return the table of commands, for listing: first <= c < end. */
extern const struct shell_command *const __start_vv_shell[];
extern const struct shell_command *const __stop_vv_shell[];

/* ---- a line as it is typed ---------------------------------------------- */

struct shell_line {
	char text[SHELL_LINE];
	unsigned len;
	bool cut;        /* more was typed than fits                       */
	bool cr;         /* the last byte was \r: its \n is no other line  */
	unsigned escape; /* in the middle of a key that sends several bytes */
	/* Lines that were entered, in a ring: past[(n_past - 1) % SHELL_PAST] is
	 * the newest. */
	char past[SHELL_PAST][SHELL_LINE];
	unsigned n_past;
	unsigned back; /* how many lines back text is; 0: a new line        */
	char typed[SHELL_LINE]; /* the new line, while an old one is shown */
};

enum shell_key {
	SHELL_MORE,  /* the line goes on                                   */
	SHELL_ENTER, /* text is a line                                     */
	SHELL_END,   /* ^D: text is the last line, perhaps empty           */
};

/*
 * Process one byte of input; echoes it by printk().  Backspace, DEL, ^U and ^C edit;
 * cursor up and down bring back earlier lines; a tab completes the name of a command,
 * or shows the names that are possible; after the first word it is a blank.  What no
 * line contains is swallowed.  After SHELL_ENTER and SHELL_END the caller uses text
 * and calls shell_line_clear().
 */
enum shell_key shell_key(struct shell_line *l, char c);
void shell_line_clear(struct shell_line *l);

/* ---- a line that is complete -------------------------------------------- */

/*
 * Cut line into words, in place; argv gets at most SHELL_WORDS.  Returns how
 * many there are, SHELL_WORDS + 1 when there are more.
 */
unsigned shell_split(char *line, char *argv[SHELL_WORDS]);

/* Return the command of this name; NULL if there is none. */
const struct shell_command *shell_find(const char *name);

/* Print that there is no such command, and the nearest that there is.  Returns
 * -ENOENT. */
int shell_unknown(const char *name);

/* Parses a number that is all of text: decimal, or hexadecimal after 0x. */
must_check bool shell_number(const char *text, uint64_t *out);

/*
 * Run the command that line names, or print why not.  Returns what the command
 * returns, 0 for an empty line, -ENOENT for no command, -EINVAL for too many
 * words.  line is cut into pieces.
 */
int shell_run(char *line);
