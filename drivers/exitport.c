/* SPDX-License-Identifier: MIT */
#include "drivers/exitport.h"
#include "arch/cpu.h"
#include "arch/io.h"
#include "kernel/printk.h"
#include "kernel/san/san.h"

#define EXIT_PORT 0xf4
#define NO_DEVICE 0xff /* what a port reads as where nothing is */

void exit_machine(enum exit_value value)
{
	san_end();
	if (inb(EXIT_PORT) == NO_DEVICE)
		printk("visavis: over, with value %#x (docs/settings.md); "
		       "the machine can be switched off\n",
		       value);
	outb(EXIT_PORT, value);
	/* Newer QEMUs let us run on for a while; without the device for ever. */
	cpu_halt();
}
