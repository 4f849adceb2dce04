/* SPDX-License-Identifier: MIT */
/*
 * capture.h - keep what is printed, for tests of messages
 */
#pragma once

/* What was printed since capture_begin(), cut at the buffer's size. */
extern char captured[4096];

/* Empty the buffer; from now on printk() writes there and not to the log. */
void capture_begin(void);

/* Wait for the first text, which another thread prints.  Context: after capture_begin();
 * sleeps. */
void capture_await(void);

/* printk() writes to the log again; the buffer keeps its text. */
void capture_end(void);
