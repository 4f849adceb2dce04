/* SPDX-License-Identifier: MIT */
/*
 * ktap.c - the format: "The Kernel Test Anything Protocol (KTAP), version 1"
 *
 * One thread prints results.  Notes may come from any thread: each is one piece
 * of text, and printk()'s lock keeps the pieces apart.
 */
#include "tests/base/ktap.h"
#include "drivers/console.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

struct tally {
	unsigned pass, fail, skip;
};

static struct tally total, suite;
static const char *suite_name;
static unsigned suite_number, test_number;
static const char *indent = "";
static bool line_open; /* printk() has begun a line and not ended it */

static void out(const char *fmt, ...) printf_like(1, 2);

static void out(const char *fmt, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintk(line, sizeof(line), fmt, args);
	va_end(args);
	if (len >= (int)sizeof(line)) {
		len = sizeof(line) - 1;
		line[len - 1] = '\n';
	}
	console_write(line, (size_t)len);
}

void ktap_begin(unsigned suites)
{
	total = (struct tally){ 0 };
	suite_number = 0;
	out("KTAP version 1\n1..%u\n", suites);
}

unsigned ktap_end(void)
{
	out("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n",
	    total.pass, total.fail, total.skip);
	return total.fail;
}

void ktap_suite(const char *name, unsigned tests)
{
	suite = (struct tally){ 0 };
	suite_name = name;
	test_number = 0;
	indent = "  ";
	out("  KTAP version 1\n  # Subtest: %s\n  1..%u\n", name, tests);
}

void ktap_suite_end(void)
{
	bool skipped = !suite.pass && !suite.fail;

	out("  # %s: pass:%u fail:%u skip:%u total:%u\n", suite_name,
	    suite.pass, suite.fail, suite.skip, test_number);
	indent = "";
	out("%s %u %s%s\n", suite.fail ? "not ok" : "ok", ++suite_number,
	    suite_name, skipped ? " # SKIP all skipped" : "");
	suite_name = NULL;
}

/* For tools/run: gives a name to the test in which a machine dies or hangs. */
void ktap_running(const char *name, uint64_t limit)
{
	out("  # running %s, at most %lu s\n", name, limit);
}

void ktap_note(const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintk(text, sizeof(text), fmt, args);
	va_end(args);
	printk("%s\n", text);
}

void ktap_line(const char *text)
{
	static char line[KTAP_LINE + 8];
	int n = snprintk(line, sizeof(line), "%s# %s\n", indent, text);

	assert(n < (int)sizeof(line));
	console_write(line, (size_t)n);
}

void ktap_result(const char *name, enum ktap_result result, const char *why)
{
	switch (result) {
	case KTAP_PASS:
		suite.pass++;
		total.pass++;
		out("  ok %u %s\n", ++test_number, name);
		break;
	case KTAP_FAIL:
		suite.fail++;
		total.fail++;
		out("  not ok %u %s\n", ++test_number, name);
		break;
	case KTAP_SKIP:
		suite.skip++;
		total.skip++;
		out("  ok %u %s # SKIP %s\n", ++test_number, name, why);
		break;
	}
}

void ktap_abort(const char *name, const char *directive, const char *cause)
{
	if (!suite_name)
		return;
	if (line_open)
		out("\n");
	line_open = false;
	if (name) {
		suite.fail++;
		total.fail++;
		out("  not ok %u %s # %s %s\n", ++test_number, name, directive,
		    cause);
	}
	ktap_suite_end();
	ktap_end();
}

void ktap_sink(const char *text, unsigned long len)
{
	while (len) {
		const char *end = text;
		unsigned long n;

		while (end < text + len && *end != '\n')
			end++;
		n = (unsigned long)(end - text) + (end < text + len);
		if (!line_open) {
			console_write(indent, strlen(indent));
			if (*text != '#')
				console_write("# ", 2);
		}
		console_write(text, n);
		line_open = text[n - 1] != '\n';
		text += n;
		len -= n;
	}
}
