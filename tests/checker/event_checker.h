/* SPDX-License-Identifier: MIT */
/*
 * event_checker.h - the machine's event log must match the test
 *
 * QEMU logs events from 11.1 on.  There a test that causes no fault must find
 * no event, and a device that was refused must have at least one.  On every
 * QEMU each counted log entry must have appeared.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

/* Start, before a test. */
void events_begin(void);

/* The device has been refused: require an event of it at the end. */
void events_refused(uint16_t devid);

/* Allow events of the device: it may be refused, or read a 0 that is there. */
void events_allow(uint16_t devid);

/* Check after the test; returns NULL or a message. */
const char *events_check(void);
