/* SPDX-License-Identifier: MIT */
/*
 * multiboot.c - memory map, modules and command line of a multiboot 1 block
 */
#include "boot/multiboot.h"
#include "kernel/string.h"

#define HAS_CMDLINE 0x004
#define HAS_MODULES 0x008
#define HAS_MMAP    0x040
#define MMAP_MAX    (64u << 10)
#define MODULES_MAX 16
#define ENTRY_MIN   20 /* bytes after the size field                      */

/* The fields we use, in the order and at the offsets of the specification. */
struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device;
	uint32_t cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr;
};
_Static_assert(sizeof(struct info) == 52, "multiboot 3.3: mmap_addr is at 48");

static const char *parse_entry(const uint8_t *e, bool usable,
			       struct boot_info *info)
{
	uint64_t start, len;
	uint32_t type;

	memcpy(&start, e + 4, 8);
	memcpy(&len, e + 12, 8);
	memcpy(&type, e + 20, 4);
	if (strchr(info->cmdline, '=') &&
	    glob_match("*lie=map*", info->cmdline))
		start = ~UINT64_C(0) - len / 2;
	if ((type == BOOT_USABLE) != usable)
		return NULL;
	return usable ? boot_add_usable(info, start, len)
		      : boot_add_other(info, start, len);
}

/* The usable entries, or the others. */
static const char *parse_map(const struct info *mb, boot_reader *read,
			     bool usable, struct boot_info *info)
{
	uint32_t at = 0, size;

	if (!(mb->flags & HAS_MMAP))
		return "the loader gives no memory map";
	if (mb->mmap_length > MMAP_MAX)
		return "the loader's memory map is impossibly long";
	while (at + 4 + ENTRY_MIN <= mb->mmap_length) {
		const uint8_t *e = read(mb->mmap_addr + at, 4 + ENTRY_MIN);
		const char *why;

		if (!e)
			return "the loader's memory map lies outside memory";
		memcpy(&size, e, 4);
		if (size < ENTRY_MIN || size > MMAP_MAX)
			return "the loader's memory map has a torn entry";
		why = parse_entry(e, usable, info);
		if (why)
			return why;
		at += 4 + size;
	}
	return NULL;
}

static const char *parse_modules(const struct info *mb, boot_reader *read,
				 struct boot_info *info)
{
	if (!(mb->flags & HAS_MODULES))
		return NULL;
	if (mb->mods_count > MODULES_MAX)
		return "the loader gives too many modules";
	for (uint32_t i = 0; i < mb->mods_count; i++) {
		const uint8_t *m = read(mb->mods_addr + 16 * i, 16);
		uint32_t start, end;

		if (!m)
			return "the loader's module list lies outside memory";
		memcpy(&start, m, 4);
		memcpy(&end, m + 4, 4);
		if (!boot_add_module(info, start, end))
			return "the loader gives too many modules";
	}
	return NULL;
}

const char *multiboot_parse(pa_t pa, boot_reader *read, pa_t image,
			    pa_t image_end, struct boot_info *info)
{
	const void *p = read(pa, sizeof(struct info));
	struct info mb;
	const char *why;

	memset(info, 0, sizeof(*info));
	if (!p)
		return "the loader's info block lies outside memory";
	memcpy(&mb, p, sizeof(mb));
	if (mb.flags & HAS_CMDLINE)
		boot_copy_cmdline(info, mb.cmdline, read);
	why = parse_map(&mb, read, true, info);
	if (!why)
		why = parse_map(&mb, read, false, info);
	if (!why)
		why = parse_modules(&mb, read, info);
	return why ? why : boot_finish(info, image, image_end);
}
