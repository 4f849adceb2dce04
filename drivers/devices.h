/* SPDX-License-Identifier: MIT */
/*
 * devices.h - the devices that we have drivers for
 */
#pragma once

/*
 * Bring up each one that is there.  One that is not, or is of no use, is left
 * out; why is printed.  A thread, once, after pci_init().
 */
void devices_init(void);
