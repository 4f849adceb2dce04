/* SPDX-License-Identifier: MIT */
/*
 * guest_checker.h - what QEMU cannot show of a guest's flushes
 *
 * QEMU drops every translation at VMRUN and at #VMEXIT.  So it does not matter there
 * whether an entry asks for a flush, nor on which CPU the vCPU ran last.  A processor
 * keeps translations by ASID.  The checker follows the probes of drivers/guest/ and
 * complains when
 *
 *   - a vCPU enters without a flush although, since it last entered on this CPU, its
 *     guest was kicked, it ran on another CPU, or another vCPU ran here;
 *   - a kick returns while a CPU is still in the guest that it entered before.
 */
#pragma once

#include "arch/types.h"

/* Follow vCPUs from now on; in the release build nothing is followed.
 * Context: no vCPU is in guest mode. */
void guest_checker_open(void);

/* Stop; returns NULL or the first complaint.  Context: as above. */
const char *guest_checker_close(void);

/* Return NULL or the first complaint until now; more may come. */
const char *guest_checker_complaint(void);

/* Tolerate kicks that do not wait: a test leaves them out on purpose. */
void guest_checker_tolerate(bool yes);

/* Return how many entries it has followed. */
uint64_t guest_checker_entries(void);
