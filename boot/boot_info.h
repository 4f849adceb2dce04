/* SPDX-License-Identifier: MIT */
/*
 * boot_info.h - what a boot loader says, copied out and bounded
 *
 * Two protocols fill it (multiboot.c, multiboot2.c).  Memory map and command line
 * are input: each field is read once.  What can be described is used, what is
 * left over is counted, and only a map in which this kernel cannot be is refused.
 */
#pragma once

#include "mm/frame/memmap.h"

#define BOOT_RANGES  256
#define BOOT_CMDLINE 512

#define BOOT_USABLE 1 /* the type of usable memory, in both protocols     */

/* A pointer to len bytes at pa, or NULL if they are not all readable. */
typedef const void *boot_reader(pa_t pa, uint64_t len);

struct boot_info {
	struct mem_range usable[BOOT_RANGES], reserved[BOOT_RANGES];
	unsigned n_usable, n_reserved;
	unsigned lost; /* usable ranges for which there was no room          */
	pa_t rsdp;     /* the loader's copy of ACPI's RSDP; 0: none          */
	bool cut;      /* the command line is longer                         */
	char cmdline[BOOT_CMDLINE];
};

/*
 * One entry of the loader's map: len bytes at start.  All that are usable come
 * first, in a pass of their own: of the others only those count that overlap.
 * Returns NULL, or what is wrong.
 */
const char *boot_add_usable(struct boot_info *info, uint64_t start,
			    uint64_t len);
const char *boot_add_other(struct boot_info *info, uint64_t start,
			   uint64_t len);

/* A module of the loader's: [start, end) is reserved.  False: no room. */
bool boot_add_module(struct boot_info *info, uint64_t start, uint64_t end);

/* Copy the command line at pa, less the image's name, which -kernel puts first. */
void boot_copy_cmdline(struct boot_info *info, pa_t pa, boot_reader *read);

/*
 * The last step: reserve the image [image, image_end), physical, and what no map
 * may call usable.  Returns NULL, or why this kernel cannot live in the map.
 */
const char *boot_finish(struct boot_info *info, pa_t image, pa_t image_end);
