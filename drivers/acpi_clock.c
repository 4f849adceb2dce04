/* SPDX-License-Identifier: MIT */
/*
 * acpi_clock.c - the fields of FADT and HPET that name a clock
 *
 * ACPI 6.5, 5.2.9 (FADT: PM_TMR_BLK, PM_TMR_LEN); IA-PC HPET 1.0a, 3.2.4.  A
 * machine that is "hardware-reduced" has neither field.
 */
#include "drivers/acpi_clock.h"

#define FADT_PM_TIMER     76
#define FADT_PM_TIMER_LEN 91
#define FADT_LEN          116 /* ACPI 1.0                                 */
#define PORTS             0x10000

#define HPET_SPACE   40 /* of its address: 0 is memory                   */
#define HPET_ADDRESS 44
#define HPET_LEN     56

void acpi_parse_fadt(const struct acpi_table *table, struct acpi_clocks *clocks)
{
	uint32_t port;

	if (table->length < FADT_LEN)
		return;
	port = acpi_get32(table->bytes + FADT_PM_TIMER);
	if (table->bytes[FADT_PM_TIMER_LEN] == 4 && port < PORTS)
		clocks->pm_timer = (uint16_t)port;
}

void acpi_parse_hpet(const struct acpi_table *table, struct acpi_clocks *clocks)
{
	const uint8_t *p = table->bytes + HPET_ADDRESS;

	if (table->length >= HPET_LEN && !table->bytes[HPET_SPACE])
		clocks->hpet = acpi_get32(p) | (pa_t)acpi_get32(p + 4) << 32;
}
