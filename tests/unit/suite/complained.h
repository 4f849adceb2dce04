/* SPDX-License-Identifier: MIT */
/*
 * complained.h - the last complaint of a device test's checkers
 */
#pragma once

#include "kernel/string.h"
#include "tests/base/select.h"
#include "tests/base/test.h"
#include "tests/checker/device_checker.h"

/*
 * Take the last complaint; returns whether it matches glob.  "none" matches if
 * there is no complaint.
 */
static inline bool complained(const char *glob)
{
	const char *why = checker_take_complaint();

	if (why ? glob_match(glob, why) : !strcmp(glob, "none"))
		return true;
	test_note("the complaint was `%s`, expected `%s`", why ? why : "none",
		  glob);
	return false;
}
