/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - firmware that leaves every device a bus master (lie=master)
 *
 * Default deny must hold at every moment of a boot, also where no test runs.  With
 * the word lie=master on the command line edu, which needs no program, tries at
 * each step of the boot to read and to overwrite a word of the kernel, and an LSI
 * and an e1000 try to fetch their work from memory.  The kernel panics if anything
 * arrives, and if a device is a bus master before the IOMMU denies.  Without the
 * word these functions do nothing.  Context: boot, one thread.
 */
#pragma once

/* Play the firmware: make all functions bus masters, and start a transfer of edu. */
void hostile_firmware(void);

/*
 * Check at the end of a step of the boot: before the IOMMU denies, that no device
 * is a bus master; after that, that edu as a bus master reaches nothing.
 */
void hostile_phase(const char *name);

/* Check at last what edu has read, through a domain, and print the count. */
void hostile_verdict(void);
