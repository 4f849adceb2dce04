/* SPDX-License-Identifier: MIT */
/*
 * boot_info.c - one memory map, from either boot protocol
 *
 * Real maps list reserved memory inside usable ranges, split usable memory inside
 * the kernel's image, call the VGA window usable, and have a hundred entries (every
 * UEFI machine does).
 */
#include "boot/boot_info.h"
#include "kernel/string.h"

#define FIRMWARE   (UINT64_C(64) << 10) /* its data, and smp.c's code      */
#define WINDOWS    UINT64_C(0xa0000)    /* VGA and option ROMs: a PC has   */
#define LOW_END    UINT64_C(0x100000)   /* no memory there                 */
#define MEMORY_MIN (UINT64_C(60) << 20) /* of 64 MiB, less the firmware's  */

static bool add(struct mem_range *list, unsigned *n, pa_t start, pa_t end)
{
	if (*n == BOOT_RANGES)
		return false;
	list[(*n)++] = (struct mem_range){ start, end };
	return true;
}

const char *boot_add_usable(struct boot_info *info, uint64_t start,
			    uint64_t len)
{
	if (len && start + len < start)
		return "the loader's memory map wraps around the address space";
	if (len && !add(info->usable, &info->n_usable, start, start + len))
		info->lost++;
	return NULL;
}

static bool overlaps_usable(const struct boot_info *info, pa_t start, pa_t end)
{
	for (unsigned i = 0; i < info->n_usable; i++)
		if (start < info->usable[i].end && info->usable[i].start < end)
			return true;
	return false;
}

const char *boot_add_other(struct boot_info *info, uint64_t start, uint64_t len)
{
	uint64_t end = start + len < start ? UINT64_MAX : start + len;

	if (!len || !overlaps_usable(info, start, end) ||
	    add(info->reserved, &info->n_reserved, start, end))
		return NULL;
	return "the loader's memory map reserves too many parts of memory";
}

bool boot_add_module(struct boot_info *info, uint64_t start, uint64_t end)
{
	return start >= end ||
	       add(info->reserved, &info->n_reserved, start, end);
}

/* Where the words begin: after an image's name, which may have blanks in it. */
static const char *skip_name(const char *line)
{
	const char *rest = line, *word = line, *end;
	bool name = *line == '/' || *line == '.';

	for (; *word; word = *end ? end + 1 : end) {
		size_t len;

		end = strchr(word, ' ');
		end = end ? end : word + strlen(word);
		len = (size_t)(end - word);
		for (size_t i = 0; i < len; i++)
			if (word[i] == '=')
				return rest;
		if ((name && word == line) ||
		    (len > 4 && !memcmp(end - 4, ".elf", 4)))
			rest = end;
	}
	return rest;
}

void boot_copy_cmdline(struct boot_info *info, pa_t pa, boot_reader *read)
{
	const char *c, *rest;
	unsigned n = 0;

	while ((c = read(pa + n, 1)) && *c && n < BOOT_CMDLINE - 1)
		info->cmdline[n++] = *c;
	info->cut = c && *c;
	info->cmdline[n] = 0;
	rest = skip_name(info->cmdline);
	memmove(info->cmdline, rest, strlen(rest) + 1);
}

/* Is every byte in some usable range?  Adjacent entries may meet inside. */
static bool all_usable(const struct boot_info *info, pa_t start, pa_t end)
{
	for (unsigned i = 0; i < info->n_usable && start < end;) {
		const struct mem_range *r = &info->usable[i];

		i++;
		if (r->start > start || r->end <= start)
			continue;
		start = r->end;
		i = 0; /* what comes next may stand before it */
	}
	return start >= end;
}

const char *boot_finish(struct boot_info *info, pa_t image, pa_t image_end)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < info->n_usable; i++)
		total += info->usable[i].end - info->usable[i].start;
	if (!all_usable(info, image, image_end))
		return "the loader's memory map does not contain this kernel";
	if (total < MEMORY_MIN)
		return "not enough memory: this kernel needs 64 MiB (MEM=64M)";
	if (!add(info->reserved, &info->n_reserved, 0, FIRMWARE) ||
	    !add(info->reserved, &info->n_reserved, WINDOWS, LOW_END) ||
	    !add(info->reserved, &info->n_reserved, image, image_end))
		return "the loader's memory map reserves too many parts of "
		       "memory";
	return NULL;
}
