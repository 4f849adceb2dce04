/* SPDX-License-Identifier: MIT */
/*
 * shell.c - the serial line as a prompt: `make shell`
 *
 * This file has the loop and the commands about tests.  tests/shell/kernel.c and
 * tests/shell/mm.c show the kernel's state; tests/shell/world.c creates address
 * spaces to show.  At the end the checkers of a test check what the shell left.
 */
#include "drivers/exitport.h"
#include "drivers/serial.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "mm/huge/scan.h"
#include "tests/base/select.h"
#include "tests/checker/checkers.h"
#include "tests/run/tests.h"
#include "tests/shell/shell.h"
#include "tests/timeline/explain.h"

#define EXIT_LARGEST 127 /* QEMU's status is 2 * value + 1, of 8 bits */

static bool over;
static int verdict; /* an exit value; what `quit` says, or the tests' */

/* Print the usage, and the lines of the example as they are typed. */
static int help_of(const char *name)
{
	const struct shell_command *c = shell_find(name);

	if (!c)
		return shell_unknown(name);
	printk("usage: %s %s\n%s\n", c->name, c->args, c->help);
	printk("%s", "for example\n  ");
	for (const char *p = c->example; *p; p++)
		if (*p != ';')
			printk("%c", *p);
		else
			printk("\n "); /* and the blank that follows */
	printk("\n");
	return 0;
}

static int help(unsigned argc, char **argv)
{
	if (argc > 2)
		return -EINVAL;
	if (argc == 2)
		return help_of(argv[1]);
	for (const struct shell_command *const *c = __start_vv_shell;
	     c < __stop_vv_shell; c++) {
		char usage[40];

		snprintk(usage, sizeof(usage), "%s %s", (*c)->name, (*c)->args);
		printk("%-23s %s\n", usage, (*c)->help);
	}
	return 0;
}
SHELL_COMMAND(help, "[COMMAND]",
	      "this list; how a command is called, with an example",
	      "help; help fork", help);

/* Run the suite as the command line would, with these words. */
static int words(const char *first, const char *globs, unsigned n, char **rest)
{
	char line[2 * SHELL_LINE];
	int at = snprintk(line, sizeof(line), "%stest=%s", first, globs);

	for (unsigned i = 0; i < n; i++) {
		if (!strcmp(rest[i], "shell") || !strncmp(rest[i], "test=", 5))
			return -EINVAL;
		at += snprintk(line + at, sizeof(line) - (size_t)at, " %s",
			       rest[i]);
	}
	return tests_run(line);
}

static int tests(unsigned argc, char **argv)
{
	if (argc > 2)
		return -EINVAL;
	words("list ", argc > 1 ? argv[1] : "*", 0, NULL);
	return 0;
}
SHELL_COMMAND(tests, "[GLOB,...]", "names and claims of tests", "tests cow.*",
	      tests);

static int list_words(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	for (unsigned i = 0; i < select_n_words; i++) {
		const struct word *w = &select_words[i];
		char usage[40];

		snprintk(usage, sizeof(usage), "%s%s", w->text, w->arg);
		printk("%-23s %s\n", usage, w->says);
	}
	return 0;
}
SHELL_COMMAND(words, "", "words of the command line, for `run` too", "words",
	      list_words);

static int run(unsigned argc, char **argv)
{
	int value;

	if (argc < 2)
		return -EINVAL;
	if (shell_guest_runs()) {
		printk("a guest runs, which tests would notice: guest wait, or "
		       "guest end\n");
		return -EBUSY;
	}
	if (shell_devices_bound()) {
		printk("a device is bound, which tests would use: unbind it\n");
		return -EBUSY;
	}
	value = words("", argv[1], argc - 2, argv + 2);
	if (value < 0)
		return value;
	if (value != EXIT_PASS)
		verdict = EXIT_FAIL;
	return 0;
}
SHELL_COMMAND(run, "GLOB,... [WORD...]",
	      "run tests; words as on the command line: explain repeat=3",
	      "run cow.fork*,cow.last* seed=3", run);

static int quit(unsigned argc, char **argv)
{
	uint64_t value = (uint64_t)verdict;

	if (argc > 2 || (argc == 2 && !shell_number(argv[1], &value)) ||
	    value > EXIT_LARGEST)
		return -EINVAL;
	verdict = (int)value;
	over = true;
	return 0;
}
SHELL_COMMAND(quit, "[VALUE]",
	      "end the machine; QEMU's status is twice VALUE and one", "quit",
	      quit);

static void prompt(void)
{
	printk("%s", SHELL_PROMPT);
}

static void line_done(struct shell_line *l)
{
	if (l->cut)
		printk("a line has at most %u characters: not run\n",
		       SHELL_LINE - 1);
	else
		shell_run(l->text);
	shell_line_clear(l);
}

int tests_shell(void)
{
	static struct shell_line line;
	struct checkers before;
	const char *why;

	verdict = EXIT_PASS;
	/* Before the checkers begin: the line keeps its interrupt grant. */
	if (!serial_listen())
		printk("# no interrupt of the serial line: it is polled\n");
	checkers_begin(&before);
	explain_reset();
	printk("visavis: `help` lists the commands, ^D ends the machine\n");
	prompt();
	while (!over) {
		enum shell_key key = shell_key(&line, serial_read());

		if (key == SHELL_MORE)
			continue;
		line_done(&line);
		over |= key == SHELL_END;
		if (!over)
			prompt();
	}
	shell_guest_end();
	shell_devices_end();
	huge_scan_stop();
	shell_spaces_end();
	why = checkers_run(&before);
	if (!why)
		why = checkers_sweep();
	if (!why)
		return verdict;
	printk("the shell leaves traces: %s\n", why);
	return EXIT_FAIL;
}
