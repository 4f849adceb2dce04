/* SPDX-License-Identifier: MIT */
/*
 * hostile_engines.h - an LSI and an e1000 that try beside edu (boot/hostile.h)
 *
 * edu gets its work from registers, these two get it from memory.  The LSI fetches
 * a program that copies a word of the kernel, overwrites it and sends a message;
 * the e1000 fetches a descriptor, reads a frame, and writes into the descriptor
 * that it is sent.  If any of it arrives the kernel panics.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

/*
 * Find the devices, on any bus, as bus masters that firmware has left, and check
 * that each can do all of it, except the message.  Context: boot page tables.
 */
void hostile_engines_firmware(void);

/* Map their registers, after the boot page tables have been replaced. */
void hostile_engines_map(void);

/*
 * Have each device try, as a bus master meanwhile if may_master.  Its driver, if
 * it runs, finds it idle and sets all registers that it needs.
 */
void hostile_engines_try(const char *phase, bool may_master);

/* Print that they reached nothing. */
void hostile_engines_verdict(void);
