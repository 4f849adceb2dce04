/* SPDX-License-Identifier: MIT */
/*
 * multiboot.h - the two protocols by which a loader starts this kernel
 *
 * Multiboot specification 0.6.96, section 3.3; Multiboot2 2.0, section 3.6.
 */
#pragma once

#include "boot/boot_info.h"

#define MULTIBOOT_LOADED  0x2badb002u /* in eax at entry                 */
#define MULTIBOOT2_LOADED 0x36d76289u

/*
 * Parse the info block at pa.  The image is [image, image_end), physical; it, the
 * first 64 KiB and the windows below 1 MiB are reserved.  The word lie=map spoils
 * the map before it is read (a test hook).
 * Returns NULL, or what is wrong.
 */
const char *multiboot_parse(pa_t pa, boot_reader *read, pa_t image,
			    pa_t image_end, struct boot_info *info);
const char *multiboot2_parse(pa_t pa, boot_reader *read, pa_t image,
			     pa_t image_end, struct boot_info *info);
