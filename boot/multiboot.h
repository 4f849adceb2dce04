/* SPDX-License-Identifier: MIT */
/*
 * multiboot.h - what the loader says, copied out and bounded
 *
 * Multiboot specification 0.6.96, section 3.3.  The memory map and the command
 * line are input: each field is read once, and what cannot be true is refused
 * in a sentence.
 */
#pragma once

#include "mm/memmap.h"

#define BOOT_RANGES  64
#define BOOT_CMDLINE 512

/* A pointer to len bytes at pa, or NULL if they are not all readable. */
typedef const void *boot_reader(pa_t pa, uint64_t len);

struct boot_info {
	struct mem_range usable[BOOT_RANGES], reserved[BOOT_RANGES];
	unsigned n_usable, n_reserved;
	char cmdline[BOOT_CMDLINE];
};

/*
 * Parse the info block at pa.  The image is [image, image_end), physical; it
 * and the first 64 KiB are reserved.  lie: spoil the map before it is read (a test
 * hook, the command-line word lie=map).
 * Returns NULL, or what is wrong.
 */
const char *multiboot_parse(pa_t pa, boot_reader *read, pa_t image,
			    pa_t image_end, struct boot_info *info);
