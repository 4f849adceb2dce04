/* SPDX-License-Identifier: MIT */
/*
 * read_maps.c - memory maps of real machines, and the memory that must be left
 *
 * tests/firmware/maps.txt has maps and, for each, the memory that must be free.
 * Each map is passed by multiboot 1 and by multiboot 2; the parsers and the
 * normaliser are the kernel's.  If more ranges arise than can be kept, what is
 * kept must be free, and what is lost must be counted.
 */
#include <string.h>
#include "boot/multiboot.h"
#include "tests/host/host.h"

#define MAPS      "tests/firmware/maps.txt"
#define BLOCK     0x9000
#define MAP       0xa000
#define MEMORY    0x20000
#define IMAGE     0x100000
#define IMAGE_END 0x400000
#define ROOM      256

static uint8_t memory[MEMORY];

struct entry {
	uint64_t start, end;
	uint32_t type;
};

static struct entry entries[ROOM];
static struct mem_range wanted[ROOM];
static unsigned n_entries, n_wanted, n_maps;
static char name[64], refusal[80];

static const void *read_memory(pa_t pa, uint64_t len)
{
	return pa < MEMORY && len <= MEMORY - pa ? memory + pa : NULL;
}

static uint32_t put(uint32_t at, const void *data, uint32_t len)
{
	memcpy(memory + at, data, len);
	return at + len;
}

static uint32_t put32(uint32_t at, uint32_t v)
{
	return put(at, &v, 4);
}

static uint32_t put_entry(uint32_t at, const struct entry *e)
{
	uint64_t len = e->end - e->start;

	at = put(at, &e->start, 8);
	at = put(at, &len, 8);
	return put32(at, e->type);
}

static const char *write_1(struct boot_info *info)
{
	uint32_t at = MAP;

	memset(memory, 0, MEMORY);
	for (unsigned i = 0; i < n_entries; i++)
		at = put_entry(put32(at, 20), &entries[i]);
	put32(BLOCK, 0x40);
	put32(BLOCK + 44, at - MAP);
	put32(BLOCK + 48, MAP);
	return multiboot_parse(BLOCK, read_memory, IMAGE, IMAGE_END, info);
}

/* Entries of 24 bytes, after a command line and two copies of an RSDP. */
static const char *write_2(struct boot_info *info)
{
	uint32_t at = BLOCK + 8, size = 16 + 24 * n_entries;

	memset(memory, 0, MEMORY);
	at = put32(put32(at, 15), 8 + 36) + 40; /* padded to 8 */
	at = put32(put32(at, 1), 8 + 6);
	put(at, "seed=", 6);
	at = put32(put32(at + 8, 6), size);
	at = put32(put32(at, 24), 0);
	for (unsigned i = 0; i < n_entries; i++)
		at = put_entry(at, &entries[i]) + 4;
	at = put32(put32(at, 14), 8 + 20) + 24;
	at = put32(put32(at, 0), 8);
	put32(BLOCK, at - BLOCK);
	return multiboot2_parse(BLOCK, read_memory, IMAGE, IMAGE_END, info);
}

static bool is_wanted(const struct mem_range *r)
{
	for (unsigned i = 0; i < n_wanted; i++)
		if (wanted[i].start <= r->start && r->end <= wanted[i].end)
			return true;
	return false;
}

static void judge(const struct boot_info *info)
{
	static struct memmap map;
	uint64_t want = 0, got;

	memmap_normalise(&map, info->usable, info->n_usable, info->reserved,
			 info->n_reserved);
	for (unsigned i = 0; i < map.n; i++)
		CHECK(is_wanted(&map.r[i]), "%s: %" PRIx64 "-%" PRIx64, name,
		      map.r[i].start, map.r[i].end);
	for (unsigned i = 0; i < n_wanted; i++)
		want += wanted[i].end - wanted[i].start;
	/* Lost ranges were not yet reduced by the reserved memory in them. */
	got = memmap_bytes(&map) + map.lost_bytes;
	CHECK(got >= want && got - want <= (map.lost ? IMAGE : 0), "%s", name);
	CHECK(n_wanted > MEMMAP_MAX || !map.lost_bytes, "%s", name);
}

static void judge_both(void)
{
	static struct boot_info info;
	const char *(*const write[])(struct boot_info *) = { write_1, write_2 };

	for (unsigned i = 0; i < 2; i++) {
		const char *why = write[i](&info);

		CHECK(!why == !refusal[0], "%s: %s", name, why ? why : "");
		if (why)
			CHECK(strstr(why, refusal), "%s: %s", name, why);
		else
			judge(&info);
	}
	CHECK(refusal[0] || info.rsdp == BLOCK + 16, "%s", name);
	CHECK(!strcmp(info.cmdline, "seed="), "%s", name);
	n_maps++;
}

static void line(const char *text)
{
	struct entry e;

	if (!strncmp(text, "== ", 3)) {
		if (n_entries)
			judge_both();
		n_entries = n_wanted = 0;
		refusal[0] = 0;
		CHECK(sscanf(text + 3, "%60s", name) == 1);
	} else if (!strncmp(text, "refuse ", 7)) {
		CHECK(sscanf(text + 7, "%79[^\n]", refusal) == 1);
	} else if (sscanf(text, "free %" SCNx64 " %" SCNx64, &e.start,
			  &e.end) == 2) {
		CHECK(n_wanted < ROOM);
		wanted[n_wanted++] = (struct mem_range){ e.start, e.end };
	} else if (sscanf(text, "%" SCNx64 " %" SCNx64 " %" SCNu32, &e.start,
			  &e.end, &e.type) == 3) {
		CHECK(n_entries < ROOM);
		entries[n_entries++] = e;
	}
}

/* An image's name may have a blank in it; our parameters have none. */
static void command_lines(void)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{ "build/check/visavis.elf test=cow.*", " test=cow.*" },
		{ "/tmp/a b/visavis.elf test=cow.* seed=7",
		  " test=cow.* seed=7" },
		{ "/boot/kernel list", " list" },
		{ "test=a.elf quick", "test=a.elf quick" },
		{ "quick", "quick" },
		{ "./x.elf", "" },
		{ "", "" },
	};
	static struct boot_info info;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memset(memory, 0, MEMORY);
		strcpy((char *)memory, cases[i].line);
		boot_copy_cmdline(&info, 0, read_memory);
		CHECK(!strcmp(info.cmdline, cases[i].expected),
		      "`%s` gave `%s`", cases[i].line, info.cmdline);
		CHECK(!info.cut);
	}
	memset(memory, 'x', BOOT_CMDLINE);
	memory[BOOT_CMDLINE - 1] = 0;
	boot_copy_cmdline(&info, 0, read_memory);
	CHECK(!info.cut && strlen(info.cmdline) == BOOT_CMDLINE - 1);
	memory[BOOT_CMDLINE - 1] = 'x';
	boot_copy_cmdline(&info, 0, read_memory);
	CHECK(info.cut);
}

/* A module's tag without its addresses; the next tag is no part of it. */
static void torn_module(void)
{
	static struct boot_info info;
	uint32_t at = BLOCK + 8;
	const char *why;

	memset(memory, 0, MEMORY);
	at = put32(put32(at, 3), 8);
	at = put32(put32(at, 0), 8);
	put32(BLOCK, at - BLOCK);
	why = multiboot2_parse(BLOCK, read_memory, IMAGE, IMAGE_END, &info);
	CHECK(why && strstr(why, "torn tag"), "torn module: %s",
	      why ? why : "");
}

int main(int argc, char **argv)
{
	FILE *f = fopen(MAPS, "r");
	char text[200];

	host_begin(argc, argv);
	CHECK(f, "no " MAPS);
	while (fgets(text, sizeof(text), f))
		line(text);
	judge_both();
	fclose(f);
	CHECK(n_maps >= 20);
	command_lines();
	torn_module();
	printf("ok maps: %u, each by two protocols\n", n_maps);
	return 0;
}
