/* SPDX-License-Identifier: MIT */
/*
 * capture.c - a sink for printk() that fills a buffer
 */
#include "tests/base/capture.h"
#include "kernel/printk.h"
#include "kernel/thread.h"
#include "tests/base/ktap.h"

char captured[4096];
static size_t n; /* stored after the text, for capture_await()         */

/* Context: the console's lock; any CPU may print. */
static void collect(const char *text, size_t len)
{
	size_t at = n;

	while (len-- && at < sizeof(captured) - 1)
		captured[at++] = *text++;
	captured[at] = 0;
	__atomic_store_n(&n, at, __ATOMIC_RELEASE);
}

void capture_begin(void)
{
	n = 0;
	captured[0] = 0;
	printk_set_sink(collect);
}

void capture_await(void)
{
	while (!__atomic_load_n(&n, __ATOMIC_ACQUIRE))
		yield();
}

void capture_end(void)
{
	printk_set_sink(ktap_sink);
}
