/* SPDX-License-Identifier: MIT */
/*
 * expect_report.h - one report of the compiler's instrumentation
 */
#pragma once

#include "kernel/san/san.h"
#include "kernel/string.h"
#include "tests/base/test.h"

/* Take the last report; fail unless it matches glob. */
#define EXPECT_REPORT(glob)                            \
	do {                                           \
		const char *got_ = san_take();         \
		EXPECT(got_ &&glob_match(glob, got_)); \
		if (got_)                              \
			test_note("%s", got_);         \
	} while (0)
