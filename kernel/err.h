/* SPDX-License-Identifier: MIT */
/*
 * err.h - errors are negative numbers, recorded where they are made
 *
 * A function that can fail returns 0 or -E; err(ENOMEM) makes the -E and leaves
 * a mark in the probe ring, so that the ring of a failed test shows the origin
 * and not the fifth caller that passed it on.
 */
#pragma once

#include "kernel/probe.h"

#define EPERM      1
#define ENOENT     2
#define EIO        5
#define EAGAIN     11
#define ENOMEM     12
#define EFAULT     14
#define EBUSY      16
#define EEXIST     17
#define ENODEV     19
#define EINVAL     22
#define ENOSPC     28
#define EOVERFLOW  75
#define EOPNOTSUPP 95
#define ETIMEDOUT  110

#define err(e)                                         \
	({                                             \
		PROBE(error, (e), (uint64_t)__LINE__); \
		-(e);                                  \
	})
