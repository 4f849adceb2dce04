/* SPDX-License-Identifier: MIT */
/*
 * capture.c - a sink for printk() that fills a buffer
 */
#include "tests/base/capture.h"
#include "kernel/printk.h"
#include "tests/base/ktap.h"

char captured[4096];
static size_t n;

/* Context: the console's lock; any CPU may print. */
static void collect(const char *text, size_t len)
{
	while (len-- && n < sizeof(captured) - 1)
		captured[n++] = *text++;
	captured[n] = 0;
}

void capture_begin(void)
{
	n = 0;
	captured[0] = 0;
	printk_set_sink(collect);
}

void capture_end(void)
{
	printk_set_sink(ktap_sink);
}
