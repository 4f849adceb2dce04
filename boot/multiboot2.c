/* SPDX-License-Identifier: MIT */
/*
 * multiboot2.c - the same of a multiboot 2 block, which is a list of tags
 *
 *	size, 0 | type, size, ... pad to 8 | type, size, ... | 0, 8
 *
 * GRUB on UEFI gives it, with a copy of ACPI's RSDP, which no BIOS area has
 * there.  Its memory map is the firmware's, after boot services have ended.
 */
#include "boot/multiboot.h"
#include "kernel/string.h"

#define BLOCK_MAX   (256u << 10)
#define TAG_HEAD    8
#define ENTRY_MIN   20 /* base, length, type                              */
#define MAP_ENTRIES 16 /* of the tag: entry size, version, then entries   */

enum tag_type {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_MODULE = 3,
	TAG_MAP = 6,
	TAG_RSDP_1 = 14,
	TAG_RSDP_2 = 15,
};

struct tag {
	pa_t pa;
	uint32_t type, size; /* head included                             */
};

/* What the tags are read for, one pass each. */
enum pass {
	WORDS,
	USABLE,
	OTHERS
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static const char *parse_map(const struct tag *tag, boot_reader *read,
			     bool usable, struct boot_info *info)
{
	const uint8_t *p = read(tag->pa, tag->size);
	bool lies = glob_match("*lie=map*", info->cmdline);
	uint32_t step;

	if (tag->size < MAP_ENTRIES || !p)
		return "the loader's memory map lies outside memory";
	step = get32(p + TAG_HEAD);
	if (step < ENTRY_MIN || step > tag->size)
		return "the loader's memory map has a torn entry";
	for (uint32_t at = MAP_ENTRIES; at + step <= tag->size; at += step) {
		uint64_t start, len;
		const char *why;

		memcpy(&start, p + at, 8);
		memcpy(&len, p + at + 8, 8);
		if ((get32(p + at + 16) == BOOT_USABLE) != usable)
			continue;
		if (lies)
			start = ~UINT64_C(0) - len / 2;
		why = usable ? boot_add_usable(info, start, len)
			     : boot_add_other(info, start, len);
		if (why)
			return why;
	}
	return NULL;
}

static const char *parse_module(const struct tag *tag, boot_reader *read,
				struct boot_info *info)
{
	const uint8_t *p = read(tag->pa, TAG_HEAD + 8);

	if (tag->size < TAG_HEAD + 8)
		return "the loader's info block has a torn tag";
	if (!p)
		return "the loader's module list lies outside memory";
	return boot_add_module(info, get32(p + TAG_HEAD),
			       get32(p + TAG_HEAD + 4))
		       ? NULL
		       : "the loader gives too many modules";
}

/* The newer copy of the RSDP wins, whichever comes first. */
static void parse_words(const struct tag *tag, boot_reader *read,
			struct boot_info *info)
{
	if (tag->type == TAG_CMDLINE)
		boot_copy_cmdline(info, tag->pa + TAG_HEAD, read);
	else if (tag->type == TAG_RSDP_2 ||
		 (tag->type == TAG_RSDP_1 && !info->rsdp))
		info->rsdp = tag->pa + TAG_HEAD;
}

static const char *parse_tag(const struct tag *tag, enum pass pass,
			     boot_reader *read, struct boot_info *info)
{
	if (pass == WORDS)
		parse_words(tag, read, info);
	else if (tag->type == TAG_MAP)
		return parse_map(tag, read, pass == USABLE, info);
	else if (tag->type == TAG_MODULE && pass == OTHERS)
		return parse_module(tag, read, info);
	return NULL;
}

static const char *parse_tags(pa_t pa, uint32_t total, enum pass pass,
			      boot_reader *read, struct boot_info *info)
{
	for (uint32_t at = TAG_HEAD; at + TAG_HEAD <= total;) {
		const uint8_t *head = read(pa + at, TAG_HEAD);
		struct tag tag = { .pa = pa + at };
		const char *why;

		if (!head)
			return "the loader's info block lies outside memory";
		tag.type = get32(head);
		tag.size = get32(head + 4);
		if (tag.type == TAG_END)
			return NULL;
		if (tag.size < TAG_HEAD || tag.size > total - at)
			return "the loader's info block has a torn tag";
		why = parse_tag(&tag, pass, read, info);
		if (why)
			return why;
		at += (tag.size + 7) & ~7u;
	}
	return NULL;
}

const char *multiboot2_parse(pa_t pa, boot_reader *read, pa_t image,
			     pa_t image_end, struct boot_info *info)
{
	const uint8_t *p = read(pa, TAG_HEAD);
	const char *why = NULL;
	uint32_t total;

	memset(info, 0, sizeof(*info));
	if (!p)
		return "the loader's info block lies outside memory";
	total = get32(p);
	if (total > BLOCK_MAX)
		return "the loader's info block is impossibly long";
	for (enum pass pass = WORDS; pass <= OTHERS && !why; pass++)
		why = parse_tags(pa, total, pass, read, info);
	if (!why && !info->n_usable)
		why = "the loader gives no memory map";
	return why ? why : boot_finish(info, image, image_end);
}
