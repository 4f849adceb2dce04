/* SPDX-License-Identifier: MIT */
/*
 * acpi_madt.c - a list of entries, each with its kind and its length
 *
 * Not here: entries of 16-bit SAPICs and GICs, NMI sources.
 */
#include "drivers/acpi_madt.h"
#include "kernel/string.h"

#define LAPIC_BASE 36
#define ENTRIES    44

enum madt_kind {
	LOCAL_APIC = 0,
	IO_APIC = 1,
	OVERRIDE = 2,
	LOCAL_APIC_ADDRESS = 5,
	LOCAL_X2APIC = 9,
	WAKEUP = 16,
};

#define LOCAL_APIC_LEN         8
#define IO_APIC_LEN            12
#define OVERRIDE_LEN           10
#define LOCAL_APIC_ADDRESS_LEN 12
#define LOCAL_X2APIC_LEN       16

#define ENABLED      1
#define BROADCAST    0xffu      /* an xAPIC's id that means all         */
#define BROADCAST_32 UINT32_MAX /* an x2APIC's                          */
#define POLARITY     0x3 /* of an override's flags: 3 is active low      */
#define TRIGGER      0xc /* 0xc is level; otherwise what ISA does        */

static void cpu_add(struct acpi_madt *madt, uint32_t id, uint32_t flags,
		    uint32_t broadcast)
{
	if (!(flags & ENABLED))
		return;
	if (id == broadcast) {
		madt->broadcast++;
		return;
	}
	for (unsigned i = 0; i < madt->cpus; i++)
		if (madt->ids[i] == id)
			return;
	if (madt->cpus < ACPI_MAX_CPUS)
		madt->ids[madt->cpus++] = id;
	else
		madt->beyond++;
}

/* ISA interrupts arrive at the input of their number, edge, high, unless... */
static void override(struct acpi_madt *madt, const uint8_t *p)
{
	if (p[2] || p[3] >= ACPI_ISA)
		return;
	madt->isa[p[3]] = (struct acpi_isa){
		.gsi = acpi_get32(p + 4),
		.low = (p[8] & POLARITY) == POLARITY,
		.level = (p[8] & TRIGGER) == TRIGGER,
	};
}

static void ioapic_add(struct acpi_madt *madt, const uint8_t *p)
{
	struct acpi_ioapic io = { .pa = acpi_get32(p + 4),
				  .gsi = acpi_get32(p + 8),
				  .id = p[2] };

	if (madt->n_ioapics < ACPI_IOAPICS)
		madt->ioapics[madt->n_ioapics++] = io;
	if (io.gsi)
		return;
	madt->ioapic = io.pa;
	madt->ioapic_id = io.id;
}

static void entry(struct acpi_madt *madt, const uint8_t *p)
{
	enum madt_kind kind = p[0];
	uint8_t len = p[1];

	if (kind == LOCAL_APIC && len >= LOCAL_APIC_LEN)
		cpu_add(madt, p[3], acpi_get32(p + 4), BROADCAST);
	else if (kind == LOCAL_X2APIC && len >= LOCAL_X2APIC_LEN)
		cpu_add(madt, acpi_get32(p + 4), acpi_get32(p + 8),
			BROADCAST_32);
	else if (kind == IO_APIC && len >= IO_APIC_LEN)
		ioapic_add(madt, p);
	else if (kind == OVERRIDE && len >= OVERRIDE_LEN)
		override(madt, p);
	else if (kind == LOCAL_APIC_ADDRESS && len >= LOCAL_APIC_ADDRESS_LEN)
		madt->lapic = acpi_get32(p + 4) | (pa_t)acpi_get32(p + 8) << 32;
	else if (kind == WAKEUP)
		madt->mailbox = true;
}

const char *acpi_parse_madt(const struct acpi_table *table,
			    struct acpi_madt *madt)
{
	const uint8_t *p = table->bytes;
	uint32_t at = ENTRIES;

	*madt = (struct acpi_madt){ 0 };
	for (unsigned i = 0; i < ACPI_ISA; i++)
		madt->isa[i].gsi = i;
	if (table->length < ENTRIES)
		return "the ACPI MADT is shorter than its header";
	madt->lapic = acpi_get32(p + LAPIC_BASE);
	while (at + 2 <= table->length) {
		uint8_t len = p[at + 1];

		if (len < 2 || at + len > table->length)
			return "an ACPI MADT entry runs out of the table";
		entry(madt, p + at);
		at += len;
	}
	return madt->cpus ? NULL : "the ACPI MADT has no enabled processor";
}
