/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - firmware that leaves every device a bus master (lie=master)
 *
 * Default deny is a promise for every moment of a boot, also for those at which
 * no test runs.  With the word lie=master on the command line edu, which needs
 * no program, tries at each of them to read and to overwrite a word of the
 * kernel; whatever arrives panics, and so does a bus master before the IOMMU
 * guards memory.  Without the word nothing here does anything.
 */
#pragma once

/* Play the firmware: all functions may speak, edu is about to. */
void hostile_firmware(void);

/*
 * A step of the boot is done.  Before the IOMMU guards: nobody may be a bus
 * master.  From then on: edu is made one, and reaches nothing.
 */
void hostile_phase(const char *name);

/* The last: what edu has read comes out through a domain; and says how many. */
void hostile_verdict(void);
