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
#define ENTRY_MIN   20 /* bytes behind the size field                     */
#define USABLE      1
#define FIRMWARE    (UINT64_C(64) << 10) /* its data, and smp.c's code   */
#define MEMORY_MIN  (UINT64_C(60) << 20) /* of 64 MiB, less the firmware's */

/* The fields we use, in the order and at the offsets of the specification. */
struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device;
	uint32_t cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr;
};
_Static_assert(sizeof(struct info) == 52, "multiboot 3.3: mmap_addr is at 48");

static bool add(struct mem_range *list, unsigned *n, pa_t start, pa_t end)
{
	if (*n == BOOT_RANGES)
		return false;
	list[(*n)++] = (struct mem_range){ start, end };
	return true;
}

static void copy_cmdline(struct boot_info *info, pa_t pa, boot_reader *read)
{
	unsigned n = 0, first;
	const char *c;

	while (n < BOOT_CMDLINE - 1 && (c = read(pa + n, 1)) && *c)
		info->cmdline[n++] = *c;
	info->cmdline[n] = 0;

	/* -kernel puts the image's file name first, GRUB does not. */
	for (first = 0; info->cmdline[first] && info->cmdline[first] != ' ';)
		first++;
	if (first && memcmp(info->cmdline, "lie=", 4) &&
	    (info->cmdline[0] == '/' || info->cmdline[0] == '.' ||
	     glob_match("*.elf*", info->cmdline)))
		memmove(info->cmdline, info->cmdline + first, n - first + 1);
}

static const char *parse_entry(const uint8_t *e, struct boot_info *info)
{
	uint64_t start, len;
	uint32_t type;

	memcpy(&start, e + 4, 8);
	memcpy(&len, e + 12, 8);
	memcpy(&type, e + 20, 4);
	if (strchr(info->cmdline, '=') &&
	    glob_match("*lie=map*", info->cmdline))
		start = ~UINT64_C(0) - len / 2;
	if (len && start + len < start)
		return "the loader's memory map wraps around the address space";
	if (type == USABLE && len &&
	    !add(info->usable, &info->n_usable, start, start + len))
		return "the loader's memory map has too many ranges";
	return NULL;
}

static const char *parse_map(const struct info *mb, boot_reader *read,
			     struct boot_info *info)
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
		why = parse_entry(e, info);
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
		if (start < end &&
		    !add(info->reserved, &info->n_reserved, start, end))
			return "the loader gives too many modules";
	}
	return NULL;
}

static const char *check_map(const struct boot_info *info, pa_t image,
			     pa_t image_end)
{
	uint64_t total = 0;
	bool inside = false;

	for (unsigned i = 0; i < info->n_usable; i++) {
		const struct mem_range *r = &info->usable[i];

		total += r->end - r->start;
		inside |= r->start <= image && image_end <= r->end;
	}
	if (!inside)
		return "the loader's memory map does not contain this kernel";
	if (total < MEMORY_MIN)
		return "not enough memory: this kernel needs 64 MiB (MEM=64M)";
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
		copy_cmdline(info, mb.cmdline, read);
	why = parse_map(&mb, read, info);
	if (!why)
		why = parse_modules(&mb, read, info);
	if (why)
		return why;
	add(info->reserved, &info->n_reserved, 0, FIRMWARE);
	add(info->reserved, &info->n_reserved, image, image_end);
	return check_map(info, image, image_end);
}
