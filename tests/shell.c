/* SPDX-License-Identifier: MIT */
/*
 * shell.c - the serial line as a prompt: `make shell`
 *
 * Here are the loop and the commands that have to do with tests.  What shows
 * the kernel is in shell_kernel.c and shell_mm.c; shell_world.c makes something
 * to be shown.  At the end the oracles of a test look at what the shell left.
 */
#include "drivers/exitport.h"
#include "drivers/serial.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "tests/oracle.h"
#include "tests/shell.h"
#include "tests/tests.h"

#define EXIT_LARGEST 127 /* QEMU's status is 2 * value + 1, of 8 bits */

static bool over;
static int verdict; /* an exit value; what `quit` says, or the tests' */

static int help(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	for (const struct shell_command *const *c = __start_vv_shell;
	     c < __stop_vv_shell; c++) {
		char usage[40];

		snprintk(usage, sizeof(usage), "%s %s", (*c)->name, (*c)->args);
		printk("%-23s %s\n", usage, (*c)->help);
	}
	return 0;
}
SHELL_COMMAND(help, "", "this list", help);

/* Give the words to whom the command line goes. */
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
SHELL_COMMAND(tests, "[GLOB,...]", "names and claims of tests", tests);

static int run(unsigned argc, char **argv)
{
	int value;

	if (argc < 2)
		return -EINVAL;
	value = words("", argv[1], argc - 2, argv + 2);
	if (value < 0)
		return value;
	if (value != EXIT_PASS)
		verdict = EXIT_FAIL;
	return 0;
}
SHELL_COMMAND(run, "GLOB,... [WORD...]",
	      "run tests; words as on the command line: explain repeat=3", run);

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
	      "end the machine; QEMU's status is twice VALUE and one", quit);

static void prompt(void)
{
	printk("visavis> ");
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
	struct oracle before;
	const char *why;

	verdict = EXIT_PASS;
	oracle_begin(&before);
	if (!serial_listen())
		printk("# no interrupt of the serial line: it is polled\n");
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
	shell_world_end();
	why = oracle_check(&before);
	if (!why)
		return verdict;
	printk("the shell leaves traces: %s\n", why);
	return EXIT_FAIL;
}
