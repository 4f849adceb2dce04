/* SPDX-License-Identifier: MIT */
/*
 * ksym.c - look up a symbol in the table that the second link brings
 */
#include "kernel/ksym.h"
#include "arch/layout.h"

struct ksym {
	uint64_t address;
	const char *name;
};

/* Sorted; empty in the first link. */
extern const struct ksym ksym_table[] __attribute__((weak));
extern const uint64_t ksym_count __attribute__((weak));
extern const char ksym_tree[] __attribute__((weak));

const char *ksym_version(void)
{
	return &ksym_tree ? ksym_tree : "?";
}

const char *ksym_find(uint64_t address, uint64_t *offset, uint64_t *size)
{
	uint64_t low = 0, high = &ksym_count ? ksym_count : 0;

	*offset = address;
	*size = 0;
	if (!high || address < (uint64_t)text_start ||
	    address >= (uint64_t)text_end)
		return "?";
	while (high - low > 1) {
		uint64_t mid = (low + high) / 2;

		if (ksym_table[mid].address <= address)
			low = mid;
		else
			high = mid;
	}
	*offset = address - ksym_table[low].address;
	*size = (low + 1 < ksym_count ? ksym_table[low + 1].address
				      : (uint64_t)text_end) -
		ksym_table[low].address;
	return ksym_table[low].name;
}
