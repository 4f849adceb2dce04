/* SPDX-License-Identifier: MIT */
/*
 * fuzz_firmware.c - loader data and firmware tables with random errors
 *
 * Runs on the host under the address and undefined-behaviour sanitizers: the
 * parsers are pure functions over a reader.  Each read gets a buffer of exactly
 * the requested bytes, so that one byte too far is seen.
 */
#include <sanitizer/asan_interface.h>
#include <string.h>
#include "boot/multiboot.h"
#include "drivers/acpi_madt.h"
#include "iommu/core/ivrs.h"
#include "iommu/hw/port.h"
#include "tests/host/host.h"

#define MEMORY (1u << 20)
#define ROUNDS 100000
#define IVRS   0x23000

static uint8_t memory[MEMORY];
static void *given[16384];
static unsigned n_given;

static const void *read_exactly(pa_t pa, uint64_t len)
{
	void *copy;

	if (pa >= MEMORY || len > MEMORY - pa || n_given == 16384)
		return NULL;
	copy = malloc(len ? len : 1);
	memcpy(copy, memory + pa, len);
	given[n_given++] = copy;
	return copy;
}

static void give_back(void)
{
	while (n_given)
		free(given[--n_given]);
}

static void put(pa_t pa, const void *data, size_t len)
{
	memcpy(memory + pa, data, len);
}

static void put32(pa_t pa, uint32_t v)
{
	put(pa, &v, 4);
}

static void put64(pa_t pa, uint64_t v)
{
	put(pa, &v, 8);
}

static void checksum(pa_t pa, size_t len, size_t at)
{
	uint8_t sum = 0;

	memory[pa + at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + memory[pa + i]);
	memory[pa + at] = (uint8_t)-sum;
}

/* A loader's block at 9500h: 1 MiB .. 512 MiB usable, a command line. */
static void good_block(void)
{
	memset(memory, 0, MEMORY);
	put32(0x9500, 0x44);
	put32(0x9510, 0x8000);
	put32(0x952c, 48);
	put32(0x9530, 0x9000);
	put(0x8000, "build/visavis.elf test=cow.* seed=7", 36);
	for (unsigned i = 0; i < 2; i++) {
		put32(0x9000 + 24 * i, 20);
		put64(0x9004 + 24 * i, i ? 0x100000 : 0);
		put64(0x900c + 24 * i, i ? 511u << 20 : 0x9fc00);
		put32(0x9014 + 24 * i, 1);
	}
}

/*
 * RSDP, RSDT, a MADT with two processors, one of them twice, two I/O APICs and
 * an override of interrupt 9, and an MCFG.
 */
static void good_tables(void)
{
	static const uint8_t lapic[] = {
		0,    8,    0, 0, 1,  0, 0, 0,  0, 8, 1,  1,   1,    0,    0,
		0,    0,    8, 2, 1,  1, 0, 0,  0, 1, 12, 0,   0,    0,    0,
		0xc0, 0xfe, 0, 0, 0,  0, 1, 12, 1, 0, 0,  0,   0xc1, 0xfe, 24,
		0,    0,    0, 2, 10, 0, 9, 20, 0, 0, 0,  0xf, 0,
	};

	memset(memory, 0, MEMORY);
	put(0xe0000, "RSD PTR ", 8);
	put32(0xe0010, 0x20000);
	checksum(0xe0000, 20, 8);
	put(0x20000, "RSDT", 4);
	put32(0x20004, 44);
	put32(0x20024, 0x21000);
	put32(0x20028, 0x22000);
	checksum(0x20000, 44, 9);
	put(0x22000, "MCFG", 4);
	put32(0x22004, 44 + 2 * 16);
	put64(0x2202c, 0xd0000000);
	put32(0x22034, 0xff000001); /* another segment */
	put64(0x2203c, 0xb0000000);
	put32(0x22044, 0xff000000);
	checksum(0x22000, 44 + 2 * 16, 9);
	put(0x21000, "APIC", 4);
	put32(0x21004, 44 + sizeof(lapic));
	put32(0x21024, 0xfee00000);
	put(0x2102c, lapic, sizeof(lapic));
	checksum(0x21000, 44 + sizeof(lapic), 9);
}

static void spoil(pa_t pa, size_t len)
{
	for (uint64_t n = 1 + below(6); n; n--)
		memory[pa + below(len)] = (uint8_t)below(256);
}

static void loader(void)
{
	static struct boot_info info;
	unsigned refused = 0;

	good_block();
	CHECK(!multiboot_parse(0x9500, read_exactly, 0x100000, 0x300000,
			       &info));
	CHECK(info.n_usable == 2 && info.usable[1].end == 512u << 20);
	CHECK(!strcmp(info.cmdline, " test=cow.* seed=7"));
	give_back();
	for (host_round = 0; host_round < ROUNDS; host_round++) {
		good_block();
		spoil(0x9000, 0x534);
		refused += multiboot_parse(0x9500, read_exactly, 0x100000,
					   0x300000, &info) != NULL;
		CHECK(info.n_usable <= BOOT_RANGES);
		CHECK(memchr(info.cmdline, 0, BOOT_CMDLINE));
		give_back();
	}
	CHECK(refused > 0);
	printf("ok loader: %u of %u spoiled blocks refused\n", refused, ROUNDS);
}

/* An MCFG gives an aligned base or an error message. */
static void config_spaces(void)
{
	static struct acpi_table table;
	struct acpi_mcfg mcfg;
	unsigned refused = 0;

	good_tables();
	CHECK(!acpi_find(read_exactly, "MCFG", NULL, &table));
	CHECK(!acpi_parse_mcfg(&table, &mcfg) && mcfg.bus0 == 0xb0000000);
	give_back();
	for (unsigned i = 0; i < ROUNDS / 20; i++) {
		const char *why;

		good_tables();
		spoil(0x22000, 76);
		checksum(0x22000, 76, 9);
		why = acpi_find(read_exactly, "MCFG", NULL, &table);
		if (!why)
			why = acpi_parse_mcfg(&table, &mcfg);
		refused += why != NULL;
		CHECK(why || (mcfg.bus0 && mcfg.bus0 % (1 << 20) == 0));
		give_back();
	}
	CHECK(refused > 0);
}

/* Two blocks for one IOMMU: selects, a range, an interrupt controller, all. */
static void good_ivrs(void)
{
	static const uint8_t entries[] = {
		2, 0x80, 0, 0, 3,    0x90, 0,    0, 4, 0x97, 0, 0, 0x48, 0,
		0, 0,    0, 0, 0xa0, 1,    0x42, 8, 0, 0,    0, 9, 0,    0,
	};
	unsigned at = IVRS + IVRS_FIRST_BLOCK;

	good_tables();
	put32(0x20004, 48);
	put32(0x2002c, IVRS);
	checksum(0x20000, 48, 9);
	put(IVRS, "IVRS", 4);
	for (unsigned type = 0x10; type <= 0x11; type++) {
		unsigned header = type == 0x10 ? 24 : 40;

		memory[at] = (uint8_t)type;
		memory[at + 2] = (uint8_t)(header + sizeof(entries));
		memory[at + 4] = 0x18;
		memory[at + 6] = 0x40;
		put64(at + 8, 0xfed80000);
		put(at + header, entries, sizeof(entries));
		at += header + sizeof(entries);
	}
	put32(IVRS + 4, at - IVRS);
	checksum(IVRS, at - IVRS, 9);
}

static struct iommu_ids ids;
static struct iommu_alias aliases[IOMMU_ALIASES];
static unsigned n_aliases;

/* Parse it such that a read past its end is seen. */
static const char *parse_exactly(struct acpi_table *table, struct ivrs *ivrs)
{
	size_t left = sizeof(table->bytes) - table->length;
	const char *why;
	uint16_t devid;

	ASAN_POISON_MEMORY_REGION(table->bytes + table->length, left);
	why = ivrs_parse(table, ivrs);
	for (unsigned i = 0; i < ivrs->n_units && !why; i++)
		why = ivrs_ids(ivrs, i, &ids, aliases, &n_aliases);
	if (!why)
		(void)ivrs_ioapic(ivrs, (uint8_t)below(256), &devid);
	ASAN_UNPOISON_MEMORY_REGION(table->bytes + table->length, left);
	return why;
}

static void check_ivrs(struct ivrs *ivrs)
{
	struct mem_range all = { 0, UINT64_MAX };

	for (unsigned i = 0; i < ivrs->n_units; i++) {
		const struct ivrs_unit *u = &ivrs->units[i];

		CHECK(u->bad || (u->mmio && u->mmio % IOMMU_MMIO_SIZE == 0));
		CHECK(u->bad || u->mmio + IOMMU_MMIO_SIZE <= PA_MAX);
	}
	CHECK(n_aliases <= IOMMU_ALIASES);
	for (unsigned i = 0; i < n_aliases; i++)
		CHECK(aliases[i].first <= aliases[i].last);
	ivrs_refuse_unity(ivrs, &all, 1, UINT64_MAX);
	for (unsigned i = 0; i < ivrs->n_unity; i++)
		CHECK(ivrs->unity[i].bad);
}

/* An IVRS gives valid registers and sorted ranges, or an error message. */
static void iommus(void)
{
	static struct acpi_table table;
	unsigned refused = 0;
	struct ivrs ivrs;

	good_ivrs();
	CHECK(!acpi_find(read_exactly, "IVRS", NULL, &table));
	CHECK(!parse_exactly(&table, &ivrs));
	CHECK(ivrs.n_units == 1 && ivrs.units[0].mmio == 0xfed80000);
	CHECK(ivrs.units[0].devid == 0x18 && !ivrs.units[0].disagrees);
	CHECK(ids_test(ids.covers, 0x93) && !ids_test(ids.covers, 0x98));
	check_ivrs(&ivrs);
	CHECK(acpi_find(read_exactly, "IVRS", "IVRS", &table));
	give_back();
	for (host_round = 0; host_round < ROUNDS; host_round++) {
		good_ivrs();
		/* Mostly almost valid, sometimes cut off, sometimes noise. */
		memcpy(&table.length, memory + IVRS + 4, 4);
		spoil(IVRS + 36, 150);
		if (host_round % 4 == 0)
			table.length = 36 + (uint32_t)below(160);
		for (unsigned i = 0; host_round % 8 == 1 && i < 160; i++)
			memory[IVRS + 36 + i] = (uint8_t)below(256);
		memcpy(table.bytes, memory + IVRS, table.length);
		if (parse_exactly(&table, &ivrs))
			refused++;
		else
			check_ivrs(&ivrs);
	}
	CHECK(refused > ROUNDS / 10 && refused < ROUNDS);
	printf("ok iommus: %u of %u spoiled tables refused\n", refused, ROUNDS);
}

/* Append an entry of this kind and length; four bytes at 4 and at 8. */
static uint8_t *entry(struct acpi_table *t, uint8_t kind, uint8_t len,
		      uint32_t at4, uint32_t at8)
{
	uint8_t *p = t->bytes + t->length;

	memset(p, 0, len);
	p[0] = kind;
	p[1] = len;
	memcpy(p + 4, &at4, 4);
	if (len >= 12)
		memcpy(p + 8, &at8, 4);
	t->length += len;
	return p;
}

/* Entries of real tables, and entries that no table should have. */
static void processors(void)
{
	static struct acpi_table t;
	static struct acpi_madt madt;

	t.length = 44;
	entry(&t, 9, 16, 0x108, 1);
	entry(&t, 9, 16, 0x108, 1); /* listed twice */
	entry(&t, 9, 16, 0x109, 2); /* not enabled */
	entry(&t, 9, 16, 0xff, 1);
	entry(&t, 9, 16, UINT32_MAX, 1); /* the broadcast */
	entry(&t, 0, 8, 1, 0)[3] = 0xff; /* the broadcast */
	entry(&t, 0, 8, 0, 0)[3] = 8;    /* disabled */
	entry(&t, 5, 12, 0xfee00000, 1);
	entry(&t, 1, 12, 0xfec00000, 0)[2] = 7;
	entry(&t, 16, 16, 0, 0); /* CPUs are woken through memory */
	CHECK(!acpi_parse_madt(&t, &madt));
	CHECK(madt.cpus == 2 && madt.ids[0] == 0x108 && madt.ids[1] == 0xff);
	CHECK(madt.broadcast == 2 && !madt.beyond && madt.mailbox);
	CHECK(madt.lapic == 0x1fee00000 && madt.ioapic_id == 7);
	t.length = 44 + 16 + 15; /* the second is cut off */
	CHECK(acpi_parse_madt(&t, &madt) && madt.cpus == 1);

	t.length = 44;
	for (unsigned i = 0; i < ACPI_MAX_CPUS + 3; i++)
		entry(&t, 0, 8, 1, 0)[3] = (uint8_t)i;
	CHECK(!acpi_parse_madt(&t, &madt));
	CHECK(madt.cpus == ACPI_MAX_CPUS && madt.beyond == 3);
	printf("ok processors\n");
}

/* Put an XSDT of these tables at 24000h, and an RSDP of ACPI 2.0 at pa. */
static void modern_root(pa_t pa, uint32_t rsdt)
{
	put(0x24000, "XSDT", 4);
	put32(0x24004, 36 + 16);
	put64(0x24024, 0x22000);
	put64(0x2402c, 0x21000);
	checksum(0x24000, 52, 9);
	put(pa, "RSD PTR ", 8);
	memory[pa + 15] = 2;
	put32(pa + 16, rsdt);
	put32(pa + 20, 36);
	put64(pa + 24, 0x24000);
	checksum(pa, 20, 8);
	checksum(pa, 36, 32);
}

static bool finds(const char *signature)
{
	static struct acpi_table table;
	const char *why = acpi_find(read_exactly, signature, NULL, &table);

	give_back();
	return !why && !memcmp(table.bytes, signature, 4);
}

/* Test the places of the RSDP, and which root table is used. */
static void roots(void)
{
	static struct acpi_table table;

	good_tables();
	memory[0xe0000] = 'X'; /* only in the EBDA, to its last place */
	put32(0x40e, 0x9fc0);
	CHECK(!finds("APIC"));
	modern_root(0x9fc00 + 1024 - 48, 0);
	CHECK(finds("APIC") && finds("MCFG"));
	modern_root(0x9fc00 + 1024, 0);
	memory[0x9fc00 + 1024 - 48] = 'X';
	CHECK(!finds("APIC"));

	good_tables(); /* the XSDT is preferred to the RSDT, which lists less */
	put32(0x20004, 40);
	checksum(0x20000, 40, 9);
	CHECK(finds("APIC") && !finds("MCFG"));
	modern_root(0xe0000, 0x20000);
	CHECK(finds("APIC") && finds("MCFG"));
	memory[0x24030] ^= 1; /* damaged: the RSDT is used */
	CHECK(finds("APIC") && !finds("MCFG"));
	modern_root(0xe0000, 0x20000);
	memory[0xe0000 + 33] ^= 1; /* a second checksum that is wrong */
	CHECK(finds("APIC") && !finds("MCFG"));
	modern_root(0xe0000, 0x20000);
	memory[0xe0000 + 15] = 0; /* ACPI 1.0: what follows is not its own */
	checksum(0xe0000, 20, 8);
	CHECK(finds("APIC") && !finds("MCFG"));
	CHECK(!strcmp(acpi_find(read_exactly, "IVRS", NULL, &table),
		      "the ACPI root table lists no table `IVRS`"));
	give_back();

	good_tables(); /* the loader's copy is tried first */
	memory[0xe0000] = 'X';
	modern_root(0x30000, 0);
	acpi_set_rsdp(0x30000);
	CHECK(finds("MCFG"));
	acpi_set_rsdp(0x30010);
	CHECK(!finds("MCFG"));
	acpi_set_rsdp(0);
	printf("ok roots\n");
}

static void firmware(void)
{
	static struct acpi_table table;
	static struct acpi_madt madt;
	unsigned refused = 0;

	good_tables();
	CHECK(!acpi_find(read_exactly, "APIC", NULL, &table));
	CHECK(!acpi_parse_madt(&table, &madt));
	CHECK(madt.cpus == 2 && madt.lapic == 0xfee00000);
	CHECK(madt.ioapic == 0xfec00000 && madt.isa[4].gsi == 4);
	CHECK(madt.isa[9].gsi == 20 && madt.isa[9].low && madt.isa[9].level);
	CHECK(!madt.isa[4].low && !madt.isa[4].level);
	give_back();
	CHECK(acpi_find(read_exactly, "IVRS", NULL, &table));
	CHECK(acpi_find(read_exactly, "APIC", "APIC", &table));
	CHECK(acpi_find(read_exactly, "APIC", "RSDP", &table));
	give_back();
	for (host_round = 0; host_round < ROUNDS / 20; host_round++) {
		good_tables();
		spoil(0x21000, 102);
		/*
		 * Half of the tables have a valid checksum: the parser must
		 * cope.
		 */
		if (host_round % 2)
			checksum(0x21000, 102, 9);
		refused += acpi_find(read_exactly, "APIC", NULL, &table) ||
			   acpi_parse_madt(&table, &madt);
		CHECK(madt.cpus <= ACPI_MAX_CPUS);
		give_back();
	}
	config_spaces();
	CHECK(refused > 0);
	printf("ok firmware: %u spoiled tables refused\n", refused);
}

int main(int argc, char **argv)
{
	host_begin(argc, argv);
	loader();
	firmware();
	roots();
	processors();
	iommus();
	return 0;
}
