/* SPDX-License-Identifier: MIT */
/*
 * capture.h - keep what is printed, for tests of messages
 */
#pragma once

/* What was printed since capture_begin(), cut at the buffer's size. */
extern char captured[4096];

/* Empty the buffer; from now on printk() writes there and not to the log. */
void capture_begin(void);

/* printk() writes to the log again; the buffer keeps its text. */
void capture_end(void);
