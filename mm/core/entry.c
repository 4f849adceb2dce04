/* SPDX-License-Identifier: MIT */
/*
 * entry.c - name the states of an entry, count those merged with the zero page
 */
#include "mm/core/entry.h"

const char *entry_state_name(enum entry_state state)
{
	static const char *const names[] = {
		[STATE_HOLE] = "hole",
		[STATE_ZERO] = "zero page",
		[STATE_EXCLUSIVE] = "exclusive",
		[STATE_SHARED] = "shared",
		[STATE_MERGED] = "merged",
		[STATE_EVICTED] = "evicted",
		[STATE_SWAPPED] = "swapped",
		[STATE_DEVICE] = "device",
		[STATE_DEVICE_EXCLUSIVE] = "device-exclusive",
	};

	return names[state];
}

static _Atomic uint64_t zero_merged;

void zero_merged_add(int n)
{
	atomic_fetch_add_explicit(&zero_merged, (uint64_t)(int64_t)n,
				  memory_order_relaxed);
}

uint64_t zero_merged_count(void)
{
	return atomic_load_explicit(&zero_merged, memory_order_relaxed);
}
