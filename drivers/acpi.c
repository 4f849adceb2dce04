/* SPDX-License-Identifier: MIT */
/*
 * acpi.c - RSDP, RSDT or XSDT, the MADT and the MCFG
 */
#include "drivers/acpi.h"
#include "kernel/string.h"

#define RSDP_LEN        20 /* ACPI 1.0 part, which the first checksum covers */
#define HEADER_LEN      36
#define BIOS_START      UINT64_C(0xe0000)
#define BIOS_END        UINT64_C(0x100000)
#define MADT_LAPIC_BASE 36
#define MADT_ENTRIES    44
#define MADT_LOCAL_APIC 0
#define MADT_IO_APIC    1
#define MADT_OVERRIDE   2
#define LAPIC_LEN       8
#define LAPIC_ENABLED   1
#define IOAPIC_LEN      12
#define OVERRIDE_LEN    10
#define POLARITY        0x3 /* of an override's flags: 3 is active low   */
#define TRIGGER         0xc /* 0xc is level; otherwise what ISA does     */
#define MCFG_ENTRIES    44  /* PCI Firmware 3.2, section 4.1.2             */
#define MCFG_ENTRY_LEN  16
#define BUS_WINDOW      UINT64_C(0x100000)

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool sums_to_zero(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return sum == 0;
}

/* Copy a table out, once, and believe it if its checksum holds. */
static const char *table_read(acpi_reader *read, pa_t pa, const char *corrupt,
			      struct acpi_table *t)
{
	const uint8_t *header = read(pa, HEADER_LEN), *whole;

	if (!header)
		return "an ACPI table lies outside memory";
	t->length = get32(header + 4);
	if (t->length < HEADER_LEN || t->length > ACPI_MAX_TABLE)
		return "an ACPI table has an impossible length";
	whole = read(pa, t->length);
	if (!whole)
		return "an ACPI table runs out of memory";
	memcpy(t->bytes, whole, t->length);
	if (corrupt && !memcmp(t->bytes, corrupt, 4))
		t->bytes[t->length - 1] ^= 0x55;
	if (!sums_to_zero(t->bytes, t->length))
		return "an ACPI table has a bad checksum";
	return NULL;
}

static const char *rsdp_find(acpi_reader *read, const char *corrupt,
			     uint8_t rsdp[RSDP_LEN + 16])
{
	bool seen = false;

	for (pa_t pa = BIOS_START; pa + RSDP_LEN <= BIOS_END; pa += 16) {
		const uint8_t *p = read(pa, RSDP_LEN);

		if (!p || memcmp(p, "RSD PTR ", 8) != 0)
			continue;
		seen = true;
		memcpy(rsdp, p, RSDP_LEN);
		if (corrupt && !memcmp(corrupt, "RSDP", 4))
			rsdp[8] ^= 0x55;
		if (sums_to_zero(rsdp, RSDP_LEN))
			return NULL;
	}
	return seen ? "the ACPI RSDP has a bad checksum"
		    : "there is no ACPI RSDP";
}

const char *acpi_find(acpi_reader *read, const char *signature,
		      const char *corrupt, struct acpi_table *table)
{
	static struct acpi_table root; /* boot CPU only: too big for a stack */
	uint8_t rsdp[RSDP_LEN + 16];
	const char *why = rsdp_find(read, corrupt, rsdp);
	uint32_t n;

	if (why)
		return why;
	why = table_read(read, get32(rsdp + 16), corrupt, &root);
	if (why)
		return why;
	n = (root.length - HEADER_LEN) / 4;
	for (uint32_t i = 0; i < n; i++) {
		pa_t pa = get32(root.bytes + HEADER_LEN + 4 * i);
		const uint8_t *p = read(pa, HEADER_LEN);

		if (p && !memcmp(p, signature, 4))
			return table_read(read, pa, corrupt, table);
	}
	return "the ACPI root table does not list it";
}

static void madt_add(struct acpi_madt *madt, uint32_t id)
{
	for (unsigned i = 0; i < madt->cpus; i++)
		if (madt->ids[i] == id)
			return;
	if (madt->cpus < ACPI_MAX_CPUS)
		madt->ids[madt->cpus++] = id;
}

/* ISA interrupts arrive at the input of their number, edge, high, unless... */
static void madt_override(struct acpi_madt *madt, const uint8_t *p)
{
	if (p[2] || p[3] >= ACPI_ISA)
		return;
	madt->isa[p[3]] = (struct acpi_isa){
		.gsi = get32(p + 4),
		.low = (p[8] & POLARITY) == POLARITY,
		.level = (p[8] & TRIGGER) == TRIGGER,
	};
}

static void madt_entry(struct acpi_madt *madt, const uint8_t *p)
{
	uint8_t type = p[0], len = p[1];

	if (type == MADT_LOCAL_APIC && len >= LAPIC_LEN &&
	    get32(p + 4) & LAPIC_ENABLED)
		madt_add(madt, p[3]);
	else if (type == MADT_IO_APIC && len >= IOAPIC_LEN && !get32(p + 8))
		madt->ioapic = get32(p + 4);
	else if (type == MADT_OVERRIDE && len >= OVERRIDE_LEN)
		madt_override(madt, p);
}

const char *acpi_parse_madt(const struct acpi_table *table,
			    struct acpi_madt *madt)
{
	const uint8_t *p = table->bytes;
	uint32_t at = MADT_ENTRIES;

	*madt = (struct acpi_madt){ 0 };
	for (unsigned i = 0; i < ACPI_ISA; i++)
		madt->isa[i].gsi = i;
	if (table->length < MADT_ENTRIES)
		return "the ACPI MADT is shorter than its header";
	madt->lapic = get32(p + MADT_LAPIC_BASE);
	while (at + 2 <= table->length) {
		uint8_t len = p[at + 1];

		if (len < 2 || at + len > table->length)
			return "an ACPI MADT entry runs out of the table";
		madt_entry(madt, p + at);
		at += len;
	}
	return madt->cpus ? NULL : "the ACPI MADT has no enabled processor";
}

const char *acpi_parse_mcfg(const struct acpi_table *table,
			    struct acpi_mcfg *mcfg)
{
	const uint8_t *p = table->bytes;
	uint32_t at = MCFG_ENTRIES;

	*mcfg = (struct acpi_mcfg){ 0 };
	for (; at + MCFG_ENTRY_LEN <= table->length; at += MCFG_ENTRY_LEN) {
		pa_t base = get32(p + at) | (pa_t)get32(p + at + 4) << 32;
		uint32_t segment_and_buses = get32(p + at + 8);

		/* Segment in 15:0, first bus in 23:16. */
		if (segment_and_buses & 0xffffff)
			continue;
		if (!base || base % BUS_WINDOW || base + BUS_WINDOW < base)
			return "the ACPI MCFG has an impossible address";
		mcfg->bus0 = base;
		return NULL;
	}
	return "the ACPI MCFG does not tell of bus 0";
}
