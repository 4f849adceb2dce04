/* SPDX-License-Identifier: MIT */
/*
 * lsi.h - LSI 53C895A: a SCSI controller whose programs we use for themselves
 *
 * LSI53C895A technical manual, chapters 4 (registers) and 5 (SCRIPTS).  The chip
 * fetches a program from memory by DMA and runs it: moves, loads, stores,
 * compares, jumps (drivers/lsi_script.h).  So it is a second processor that
 * computes on memory through its own door.
 *
 * The program is fetched at the address where the device finds its own memory
 * (dma_set_own()), or from the chip's own RAM, which it addresses as anybody
 * else does: by its BAR.
 *
 * QEMU runs a program inside the register write that starts it, for the first
 * hundred instructions or so; the rest goes on later by a timer.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/lsi_script.h"
#include "drivers/pci.h"

#define LSI_MAX       2
#define LSI_RAM_BYTES 8192

/* Where a program is put, and fetched from. */
enum lsi_place {
	LSI_IN_MEMORY, /* the engine's own memory                        */
	LSI_IN_CHIP,   /* the RAM on the chip                            */
};

struct lsi {
	struct dma_engine engine;
	struct pci_dev *dev;
	char *regs, *ram;     /* mapped BARs                                  */
	pa_t ram_bus;         /* where the chip finds its own RAM             */
	uint32_t program_end; /* where the one that runs ends; engine's lock */
};

/* Find the chips, make them engines "lsi0", "lsi1".  Boot, after pci_init(). */
void lsi_init(void);

/* The nth chip, NULL if there are not so many. */
struct lsi *lsi_at(unsigned i);

/*
 * Run a program to its end.  Returns 0 and in *tag what its lsi_interrupt()
 * says; -EINVAL if it cannot be assembled or is too long; -EIO if the chip
 * stopped at something that is no instruction; -ETIMEDOUT if it did not end, or
 * is not there for the chip, which has run past it (then the chip was reset).
 *
 * Context: not in interrupts; spin locks may be held.
 */
must_check int lsi_run(struct lsi *lsi, enum lsi_place place,
		       const struct lsi_insn *program, unsigned n,
		       uint32_t *tag);

/*
 * The same in pieces, for a program that runs beside us: lsi_start(), then
 * lsi_poll() until it is no longer -EAGAIN, or lsi_stop().  From the start to
 * the end the chip must be left alone: whoever starts owns it.
 */
must_check int lsi_start(struct lsi *lsi, enum lsi_place place,
			 const struct lsi_insn *program, unsigned n);
must_check int lsi_poll(struct lsi *lsi, uint32_t *tag);
void lsi_stop(struct lsi *lsi);

/*
 * The same one instruction at a time: lsi_load_program(), then each lsi_step()
 * runs one instruction and returns -EAGAIN, or what lsi_poll() would at the end.
 */
must_check int lsi_load_program(struct lsi *lsi, enum lsi_place place,
				const struct lsi_insn *program, unsigned n);
must_check int lsi_step(struct lsi *lsi, uint32_t *tag);

/* The bytes of a scratch register as the program left them. */
uint32_t lsi_scratch(struct lsi *lsi, enum lsi_scratch reg);
