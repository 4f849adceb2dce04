/* SPDX-License-Identifier: MIT */
/*
 * lsi.h - LSI 53C895A: a SCSI controller, used for the programs that it runs
 *
 * LSI53C895A technical manual, chapters 4 (registers) and 5 (SCRIPTS).  The chip
 * fetches a program from memory by DMA and runs it: moves, loads, stores,
 * compares, jumps (drivers/lsi_script.h).  So it is a second processor that
 * reaches memory through the IOMMU.
 *
 * The program is fetched at the bus address of the engine's own memory
 * (dma_set_own()), or from the chip's own RAM, which the chip too addresses by its
 * BAR.
 *
 * QEMU runs a program inside the register write that starts it, for the first
 * hundred instructions or so; the rest runs later by a timer.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/lsi_script.h"
#include "drivers/pci.h"

#define LSI_ID        UINT32_C(0x00121000) /* device and vendor                 */
#define LSI_MAX       2
#define LSI_RAM_BYTES 8192

/* Where a program is put, and fetched from. */
enum lsi_place {
	LSI_IN_MEMORY, /* the engine's own memory                        */
	LSI_IN_CHIP,   /* the RAM on the chip                            */
};

/* Key: (I) after lsi_init()  (E) the engine's lock */
struct lsi {
	struct dma_engine engine; /* (I)                                      */
	struct pci_dev *dev;      /* (I)                                      */
	char *regs, *ram;         /* (I) mapped BARs                          */
	pa_t ram_bus;             /* (I) the chip's address of its own RAM    */
	uint32_t program_end;     /* (E) bus address of the program's end     */
};

/* Find the chips, make them engines "lsi0", "lsi1".  Boot, after pci_init(). */
void lsi_init(void);

/* Return the i-th chip, NULL past the last. */
struct lsi *lsi_at(unsigned i);

/*
 * For code that drives a chip before lsi_init() (boot/hostile_engines.c).  regs:
 * the mapped BAR of registers; one thread.  lsi_regs_reset() brings the chip from
 * any state to idle, with nothing pending; lsi_regs_start() starts the program at
 * this bus address.
 */
void lsi_regs_reset(char *regs);
void lsi_regs_start(char *regs, uint32_t bus);

/*
 * Run a program to its end.  Returns 0 and in *tag the number of its
 * lsi_interrupt(); -EINVAL if it cannot be assembled or is too long; -EIO if the
 * chip stopped at a word that is no instruction; -ETIMEDOUT if it did not end, or
 * if the chip could not read it and ran past its end (then the chip was reset).
 *
 * Context: not in interrupts; spin locks may be held.
 */
must_check int lsi_run(struct lsi *lsi, enum lsi_place place,
		       const struct lsi_insn *program, unsigned n,
		       uint32_t *tag);

/*
 * The same in pieces, for a program that runs beside the CPU: lsi_start(), then
 * lsi_poll() until it does not return -EAGAIN, or lsi_stop().  The caller of
 * lsi_start() owns the chip until then: no other thread may use it.
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

/* Read a scratch register. */
uint32_t lsi_scratch(struct lsi *lsi, enum lsi_scratch reg);
