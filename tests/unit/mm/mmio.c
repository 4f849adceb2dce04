/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - where registers may be; the lists are the tests' own
 */
#include "arch/cpu.h"
#include "kernel/string.h"
#include "mm/frame/mmio.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static struct mmio_map map;

static void machine_of_512_mib(void)
{
	static struct memmap ram;

	ram = (struct memmap){ .n = 2 };
	ram.r[0] = (struct mem_range){ 0, 512 * MIB };
	ram.r[1] = (struct mem_range){ 4 * GIB, 5 * GIB };
	mmio_map_init(&map, &ram, UINT64_C(1) << 40);
}

static void expect_refused(const char *name, pa_t pa, uint64_t len,
			   const char *words)
{
	const char *why = mmio_map_claim(&map, name, pa, len);

	if (!why || !glob_match(words, why))
		test_fail(__FILE__, __LINE__, "%s at %lx: `%s`, not `%s`", name,
			  pa, why ? why : "(claimed)", words);
}

TEST(mmio, registers_in_ram_are_refused,
     "registers that overlap RAM by a byte are refused, and registers beside "
     "RAM are not")
{
	machine_of_512_mib();
	expect_refused("a", 512 * MIB - 1, 16, "*a at 0x1fffffff *in RAM");
	expect_refused("a", 5 * GIB - 1, 1, "*in RAM");
	expect_refused("a", 4 * GIB - 1, 2, "*the firmware's ROM");
	EXPECT_STR_NULL(mmio_map_claim(&map, "a", 512 * MIB, 16));
	EXPECT_STR_NULL(mmio_map_claim(&map, "b", 5 * GIB, 16));
}

TEST(mmio, registers_beyond_the_cpu_are_refused,
     "registers must lie below the end of physical addresses, must not wrap, "
     "and must not be in the first MiB or the ROM below 4 GiB")
{
	pa_t end = UINT64_C(1) << 40;

	machine_of_512_mib();
	expect_refused("a", end, 16, "*beyond*");
	expect_refused("a", end - 15, 16, "*beyond*");
	expect_refused("a", end - 16, -UINT64_C(8), "*beyond*");
	expect_refused("a", -UINT64_C(8), 16, "*beyond*");
	EXPECT_STR_NULL(mmio_map_claim(&map, "a", end - 16, 16));
	expect_refused("a", 0xa0000, 0x4000, "*the first MiB");
	expect_refused("a", 0xfffc0000, 0x4000, "*the firmware's ROM");
}

TEST(mmio, each_range_has_one_owner,
     "a claim that overlaps another is refused with that one's name and "
     "leaves nothing; two devices may have one name")
{
	machine_of_512_mib();
	EXPECT_STR_NULL(mmio_map_claim(&map, "the HPET", 0xfed00000, 0x400));
	EXPECT_EQ(map.n, 3);
	expect_refused("the HPET", 0xfed00000, 0x400, "*those of the HPET");
	expect_refused("a range", 0xfed00000, MIB, "*those of the HPET");
	expect_refused("a BAR", 0xfed00000, 0x400, "*those of the HPET");
	expect_refused("the HPET", 0xfed00200, 0x400, "*those of the HPET");
	expect_refused("a BAR", 0xfecffff0, 17, "*those of the HPET");
	EXPECT_STR_NULL(mmio_map_claim(&map, "a BAR", 0xfecffff0, 16));
	EXPECT_STR_NULL(mmio_map_check(&map, "b", 0xfed00400, 16));
	EXPECT_STR_NULL(mmio_map_claim(&map, "c", 0xfed00400, 16));
	EXPECT_EQ(map.n, 5);
}

TEST(mmio, a_full_list_refuses,
     "a claim beyond the list's capacity is refused with a message")
{
	machine_of_512_mib();
	for (unsigned i = 2; i < MMIO_CLAIMS; i++)
		EXPECT_STR_NULL(mmio_map_claim(&map, "a", GIB + 16 * i, 16));
	expect_refused("a", 2 * GIB, 16, "*too many*");
	EXPECT_EQ(map.n, MMIO_CLAIMS);
}

TEST(mmio, width_comes_from_cpuid,
     "the width of physical addresses is CPUID's, covers all RAM, and bounds "
     "the machine's list")
{
	uint32_t a = 0x80000008, b, c = 0, d;
	pa_t end = cpu_pa_end();

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	EXPECT_EQ(end, (a & 0xff) < 46 ? UINT64_C(1) << (a & 0xff) : PA_MAX);
	EXPECT(memmap_top(pmm_ram()) <= end);
	EXPECT(mmio_check("a", end, 16));
	EXPECT_STR_NULL(mmio_check("a", end - 16, 16));
}
