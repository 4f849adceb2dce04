/* SPDX-License-Identifier: MIT */
/*
 * edu.h - QEMU's educational device: slow, and with memory of its own
 *
 * QEMU, docs/specs/edu: a buffer of 4 KiB at 40000h of the device's own address
 * space, that no CPU can read, and transfers between it and the bus.  A transfer
 * takes 100 ms of the machine's time, moves its bytes only at the end of that,
 * and reports it by an MSI: so there is time to unmap memory meanwhile.
 *
 * The driver leaves out the last byte of the buffer, so that no transfer reaches
 * its end on any QEMU.  The device must be given dma_mask=0xffffffffffffffff.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/pci.h"

#define EDU_BYTES 4095 /* of the device's memory that the driver uses      */
_Static_assert(EDU_BYTES < 4096, "no transfer reaches the end of the buffer");

/* Its registers, 64 bits each but the last three: for code that drives the device
 * without this driver. */
enum edu_reg {
	EDU_SOURCE = 0x80,
	EDU_TARGET = 0x88,
	EDU_COUNT = 0x90,
	EDU_COMMAND = 0x98,
	EDU_IDENTITY = 0x00, /* xxxx00edh                                 */
	EDU_CAUSE = 0x24,    /* why it interrupts                         */
	EDU_ACK = 0x64,      /* these causes are known                    */
};

#define EDU_ID     UINT32_C(0x11e81234) /* device and vendor              */
#define EDU_MEMORY UINT64_C(0x40000)    /* its own, as it sees it          */
#define EDU_RUN    BIT(0)               /* EDU_COMMAND: start; it runs     */
#define EDU_IRQ    BIT(2)               /* and interrupt at the end        */

enum edu_way {
	EDU_TAKE = 0, /* from the bus into the device                     */
	EDU_GIVE = 2, /* from the device to the bus                       */
};

/* Find the device and make it the engine "edu".  Boot, after pci_init(). */
void edu_init(void);

/* True if the device was found. */
bool edu_present(void);

/* Return its number on the bus.  Only if edu_present(). */
uint16_t edu_devid(void);

/*
 * Start to move bytes between [bus, bus + bytes) and the device's memory at
 * [offset, offset + bytes).  Returns at once: 0, -EBUSY if another transfer is
 * under way (also one that was given up), -EINVAL if the device's memory does
 * not have these bytes.
 * Context: a thread; the engine's lock is not needed.
 */
must_check int edu_start(enum edu_way way, iova_t bus, unsigned offset,
			 unsigned bytes);

/*
 * Wait for the transfer in progress, also one of another thread; at once if there
 * is none.  Returns 0; -EIO if it is over but no interrupt came: a device that may
 * not master the bus, or whose messages are aborted, moved nothing either;
 * -ETIMEDOUT if it is not over.
 * Context: may sleep.
 */
must_check int edu_wait(void);

/* True while a transfer is in progress. */
bool edu_busy(void);

/* Interrupts taken since boot. */
unsigned edu_interrupts(void);

/* Have the interrupts served by another CPU (at boot: the first). */
must_check const char *edu_set_cpu(unsigned cpu);
