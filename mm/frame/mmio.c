/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - claim physical addresses for registers
 *
 * Linux: request_mem_region(), which keeps the same list as a tree.  Claims are
 * never given back, because registers are never unmapped (mm/kernel/kmap.h).
 */
#include "mm/frame/mmio.h"
#include "arch/cpu.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"

#define FIRST_MIB UINT64_C(0x100000)
#define ROM_START UINT64_C(0xff000000) /* the chipset decodes 16 MiB     */
#define ROM_END   UINT64_C(0x100000000)

void mmio_map_init(struct mmio_map *map, const struct memmap *ram, pa_t top)
{
	*map = (struct mmio_map){ .ram = ram, .top = top, .n = 2 };
	map->claims[0] = (struct mmio_claim){ "the first MiB", 0, FIRST_MIB };
	map->claims[1] =
		(struct mmio_claim){ "the firmware's ROM", ROM_START, ROM_END };
}

/* Format the refusal: where, and the other owner or "". */
static const char *refuse(struct mmio_map *map, const char *owner, pa_t pa,
			  const char *where, const char *other)
{
	snprintk(map->message, sizeof(map->message),
		 "the registers of %s at %#lx would be %s%s", owner, pa, where,
		 other);
	return map->message;
}

/* Return true if [start, end) and [from, to) have a byte in common. */
static bool overlaps(pa_t start, pa_t end, pa_t from, pa_t to)
{
	return start < to && from < end;
}

const char *mmio_map_check(struct mmio_map *map, const char *owner, pa_t pa,
			   uint64_t len)
{
	if (pa >= map->top || len > map->top - pa)
		return refuse(map, owner, pa,
			      "beyond the CPU's physical addresses", "");
	for (unsigned i = 0; i < map->n; i++) {
		const struct mmio_claim *c = &map->claims[i];

		if (overlaps(pa, pa + len, c->start, c->end))
			return refuse(map, owner, pa, "those of ", c->owner);
	}
	for (unsigned i = 0; i < map->ram->n; i++)
		if (overlaps(pa, pa + len, map->ram->r[i].start,
			     map->ram->r[i].end))
			return refuse(map, owner, pa, "in RAM", "");
	return NULL;
}

const char *mmio_map_claim(struct mmio_map *map, const char *owner, pa_t pa,
			   uint64_t len)
{
	const char *why = mmio_map_check(map, owner, pa, len);

	if (why)
		return why;
	if (map->n == MMIO_CLAIMS)
		return refuse(map, owner, pa, "one claim too many", "");
	map->claims[map->n++] = (struct mmio_claim){ owner, pa, pa + len };
	return NULL;
}

/* ---- the machine's ----------------------------------------------------- */

/* Return the machine's map, initialised at the first call. */
static struct mmio_map *machine(void)
{
	static struct mmio_map map;

	if (!map.ram)
		mmio_map_init(&map, pmm_ram(), cpu_pa_end());
	return &map;
}

const char *mmio_check(const char *owner, pa_t pa, uint64_t len)
{
	return mmio_map_check(machine(), owner, pa, len);
}

const char *mmio_claim(const char *owner, pa_t pa, uint64_t len)
{
	return mmio_map_claim(machine(), owner, pa, len);
}
