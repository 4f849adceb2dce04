/* SPDX-License-Identifier: MIT */
/*
 * read_tables.c - firmware tables of real machines, and how they must be read
 *
 * 	build/host/read_tables [SEED]
 *
 * tests/firmware/{ivrs,lies,madt,mcfg}.txt hold tables with their meaning
 * beside them, and after each what a parser must read (lines with =, derived
 * from iasl; those with ! are for tools/planted).  Then the IVRS tables are
 * changed at random, 100,000 times, and the parser is compared with a second
 * one, tests/host/second_ivrs.c.
 */
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <string.h>
#include "drivers/acpi_madt.h"
#include "tests/host/host.h"
#include "tests/host/second_ivrs.h"

#define TABLES 128
#define ROUNDS 100000

static struct record {
	char name[64];
	struct acpi_table table;
	char want[8192];
} records[TABLES];
static unsigned n_records;

static struct iommu_ids ids;
static struct iommu_alias aliases[IOMMU_ALIASES];
static unsigned n_aliases;

/* ---- the files --------------------------------------------------------- */

static void read_bytes(struct record *r, const char *line)
{
	unsigned v;
	int n;

	while (sscanf(line, " %2x%n", &v, &n) == 1) {
		CHECK(r->table.length < ACPI_MAX_TABLE, "%s", r->name);
		r->table.bytes[r->table.length++] = (uint8_t)v;
		line += n;
	}
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	struct record *r = NULL;
	char line[512];

	CHECK(f, "%s cannot be read: run from the top of the tree", path);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "== ", 3)) {
			CHECK(n_records < TABLES);
			r = &records[n_records++];
			sscanf(line, "== %63s", r->name);
		} else if (line[0] == '=') {
			CHECK(strlen(r->want) + strlen(line) < sizeof(r->want));
			strcat(r->want, line + 2);
		} else if (line[0] != ';' && r) {
			read_bytes(r, line);
		}
	}
	fclose(f);
}

/* ---- what the kernel's parsers say ------------------------------------- */

static char said[16384];
static size_t n_said;

static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	n_said += (size_t)vsnprintf(said + n_said, sizeof(said) - n_said, fmt,
				    args);
	va_end(args);
	CHECK(n_said < sizeof(said));
}

static void say_set(const char *what, const uint64_t *set)
{
	for (unsigned i = 0, first = 0; i < DEVIDS; i++) {
		bool in = ids_test(set, (uint16_t)i);

		if (in && (!i || !ids_test(set, (uint16_t)(i - 1))))
			first = i;
		if (in &&
		    (i + 1 == DEVIDS || !ids_test(set, (uint16_t)(i + 1))))
			say("  %s %04x-%04x\n", what, first, i);
	}
}

/* -1: its own number. */
static int alias_of(unsigned devid)
{
	for (unsigned i = 0; i < n_aliases; i++)
		if (devid >= aliases[i].first && devid <= aliases[i].last)
			return aliases[i].alias;
	return -1;
}

static void say_aliases(void)
{
	for (unsigned i = 0, first = 0; i < DEVIDS; i++) {
		int a = alias_of(i);

		if (a >= 0 && (!i || alias_of(i - 1) != a))
			first = i;
		if (a >= 0 && (i + 1 == DEVIDS || alias_of(i + 1) != a))
			say("  alias %04x-%04x to %04x\n", first, i, a);
	}
}

static void say_rest(const struct ivrs *ivrs)
{
	for (unsigned id = 0; id < 256; id++) {
		uint16_t devid;
		const char *why = ivrs_ioapic(ivrs, (uint8_t)id, &devid);

		if (!why)
			say("ioapic %x is %04x\n", id, devid);
		else if (strstr(why, "two numbers"))
			say("ioapic %x is unclear\n", id);
	}
	for (unsigned i = 0; i < ivrs->n_unity; i++) {
		const struct iommu_unity *u = &ivrs->unity[i];

		say("memory %04x-%04x %" PRIx64 "-%" PRIx64 " %c%c%s\n",
		    u->first, u->last, u->start, u->end, u->read ? 'r' : '-',
		    u->write ? 'w' : '-', u->bad ? " ignored" : "");
	}
}

static void say_ivrs(const struct acpi_table *table)
{
	static struct ivrs ivrs;
	const char *why = ivrs_parse(table, &ivrs);

	if (why) {
		say("refused: %s\n", why);
		return;
	}
	for (unsigned i = 0; i < ivrs.n_units; i++) {
		const struct ivrs_unit *u = &ivrs.units[i];

		say("unit %x:%04x at %" PRIx64 " type %x capability %x "
		    "flags %02x%s%s\n",
		    u->segment, u->devid, u->mmio, u->type, u->capability,
		    u->flags, u->disagrees ? " disagrees" : "",
		    u->bad ? " bad" : "");
		CHECK(!ivrs_ids(&ivrs, i, &ids, aliases, &n_aliases));
		say_set("covers", ids.covers);
		say_set("no tlb", ids.no_tlb);
		say_aliases();
	}
	say_rest(&ivrs);
}

static void say_madt(const struct acpi_table *table)
{
	static struct acpi_madt m;
	const char *why = acpi_parse_madt(table, &m);

	if (why) {
		say("refused: %s\n", why);
		return;
	}
	say("lapic %" PRIx64 "\ncpus %u, %u more, %u broadcast%s\n", m.lapic,
	    m.cpus, m.beyond, m.broadcast, m.mailbox ? ", mailbox" : "");
	for (unsigned i = 0; i < m.cpus; i++)
		say("%s %x%s", i % 12 ? "" : " ", m.ids[i],
		    i % 12 == 11 || i + 1 == m.cpus ? "\n" : "");
	for (unsigned i = 0; i < m.n_ioapics; i++)
		say("ioapic %x at %" PRIx64 " from %x\n", m.ioapics[i].id,
		    m.ioapics[i].pa, m.ioapics[i].gsi);
	for (unsigned i = 0; i < ACPI_ISA; i++)
		if (m.isa[i].gsi != i || m.isa[i].low || m.isa[i].level)
			say("isa %u is %x%s%s\n", i, m.isa[i].gsi,
			    m.isa[i].low ? " low" : "",
			    m.isa[i].level ? " level" : "");
}

static void say_mcfg(const struct acpi_table *table)
{
	struct acpi_mcfg m;
	const char *why = acpi_parse_mcfg(table, &m);

	if (why)
		say("refused: %s\n", why);
	else
		say("bus0 %" PRIx64 "\n", m.bus0);
}

/* ---- the tables as they are -------------------------------------------- */

/* Let the sanitizer see a read past the table's end. */
static void poison(struct acpi_table *t, bool on)
{
	size_t left = sizeof(t->bytes) - t->length;

	if (on)
		ASAN_POISON_MEMORY_REGION(t->bytes + t->length, left);
	else
		ASAN_UNPOISON_MEMORY_REGION(t->bytes + t->length, left);
}

static void compare_all(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < n_records; i++) {
		struct record *r = &records[i];

		n_said = 0;
		said[0] = 0;
		poison(&r->table, true);
		if (!memcmp(r->table.bytes, "IVRS", 4))
			say_ivrs(&r->table);
		else if (!memcmp(r->table.bytes, "APIC", 4))
			say_madt(&r->table);
		else
			say_mcfg(&r->table);
		poison(&r->table, false);
		if (!strcmp(said, r->want))
			continue;
		printf("== %s: said\n%s= wanted\n%s\n", r->name, said, r->want);
		wrong++;
	}
	CHECK(!wrong, "%u of %u tables are misread", wrong, n_records);
	printf("ok tables: %u\n", n_records);
}

/* ---- spoiled ----------------------------------------------------------- */

static const uint8_t likely[] = { 0,    1,    2,    3,    4,    0x10,
				  0x11, 0x20, 0x40, 0x42, 0x43, 0x46,
				  0x47, 0x48, 0xf0, 0xff };

static void spoil(struct acpi_table *t)
{
	for (uint64_t n = below(4); n; n--)
		t->bytes[48 + below(t->length - 48)] =
			below(2) ? likely[below(sizeof(likely))]
				 : (uint8_t)below(256);
	if (!below(16))
		t->length -= (uint32_t)below(t->length - 48);
}

/* Compare both parsers' numbers of a unit. */
static void same_numbers(const struct ivrs *ivrs, unsigned unit)
{
	static struct second_ids other;
	const char *why;

	second_ids(ivrs->table->bytes, ivrs->table->length, unit, &other);
	why = ivrs_ids(ivrs, unit, &ids, aliases, &n_aliases);
	CHECK(!why == !other.two_aliases, "%s", why);
	if (why)
		return;
	CHECK(!memcmp(ids.covers, other.covers, sizeof(other.covers)));
	CHECK(!memcmp(ids.no_tlb, other.no_tlb, sizeof(other.no_tlb)));
	for (unsigned i = 0; i < other.n; i++) {
		CHECK(alias_of(other.first[i]) == other.alias[i]);
		CHECK(alias_of(other.last[i]) == other.alias[i]);
	}
	for (unsigned i = 0; i < n_aliases; i++)
		CHECK(second_alias(&other, aliases[i].first) ==
		      aliases[i].alias);
}

static bool same(const struct acpi_table *t)
{
	static struct second_ivrs other;
	static struct ivrs ivrs;
	bool whole = second_ivrs(t->bytes, t->length, &other);
	const char *why = ivrs_parse(t, &ivrs);

	CHECK(whole || why,
	      "the parser accepts a table that the other refuses");
	if (!whole)
		return false;
	CHECK(!why == other.usable, "%s", why);
	if (why)
		return false;
	CHECK(ivrs.n_units == other.n);
	for (unsigned i = 0; i < ivrs.n_units; i++) {
		const struct ivrs_unit *u = &ivrs.units[i];

		CHECK(u->segment == other.units[i].segment &&
		      u->devid == other.units[i].devid &&
		      u->type == other.units[i].type);
		CHECK(!u->bad == !other.units[i].bad);
		CHECK(u->bad || u->mmio == other.units[i].mmio);
		same_numbers(&ivrs, i);
	}
	return true;
}

static void spoil_all(unsigned n_ivrs)
{
	static struct acpi_table t;
	unsigned accepted = 0;

	for (host_round = 0; host_round < ROUNDS; host_round++) {
		const struct record *r = &records[below(n_ivrs)];

		if (r->table.length <= IVRS_FIRST_BLOCK)
			continue;
		t.length = r->table.length;
		memcpy(t.bytes, r->table.bytes, t.length);
		spoil(&t);
		poison(&t, true);
		accepted += same(&t);
		poison(&t, false);
	}
	CHECK(accepted > ROUNDS / 10 && accepted < ROUNDS);
	printf("ok spoiled: %u of %u tables accepted, by both alike\n",
	       accepted, ROUNDS);
}

int main(int argc, char **argv)
{
	unsigned n_ivrs;

	host_begin(argc, argv);
	read_file("tests/firmware/ivrs.txt");
	n_ivrs = n_records;
	read_file("tests/firmware/lies.txt");
	read_file("tests/firmware/madt.txt");
	read_file("tests/firmware/mcfg.txt");
	compare_all();
	spoil_all(n_ivrs);
	return 0;
}
