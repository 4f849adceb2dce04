/* SPDX-License-Identifier: MIT */
/*
 * lsi.c - start programs, and find out how they ended
 *
 *   write DSP ----> fetch, run ----> ISTAT0.DIP  the reason is in DSTAT
 *                        |           ISTAT0.SIP  the SCSI half complains
 *                        +---------> neither: it runs, or waits, still
 *
 * The driver uses no interrupt: the register write returns when a program of usual
 * length is over, and a longer one is polled for a bounded time.  A program that
 * does not end is aborted and the chip is reset; it may be hostile.
 *
 * Locks: the engine's, around all registers.
 */
#include "drivers/lsi.h"
#include "arch/clock.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define BAR_REGS   1
#define BAR_RAM    2
#define REGS_BYTES 256

enum lsi_reg {
	REG_DSTAT = 0x0c,  /* why the DMA half stopped; reading clears  */
	REG_ISTAT0 = 0x14, /* which half has stopped; abort, reset      */
	REG_DSP = 0x2c,    /* next instruction; writing 2fh starts      */
	REG_DSPS = 0x30,   /* second word of the last instruction       */
	REG_DMODE = 0x38,
	REG_DIEN = 0x39, /* which reasons also raise an interrupt     */
	REG_DCNTL = 0x3b,
	REG_SIST0 = 0x42, /* why the SCSI half stopped; reading clears */
	REG_SIST1 = 0x43,
};

#define DSTAT_SIR   BIT(2) /* the program's own interrupt                  */
#define DSTAT_SSI   BIT(3) /* one step is done                             */
#define ISTAT0_DIP  BIT(0)
#define ISTAT0_SIP  BIT(1)
#define ISTAT0_SRST BIT(6)
#define ISTAT0_ABRT BIT(7)
#define DMODE_MAN   BIT(0) /* writing DSP does not start                   */
#define DCNTL_COM   BIT(0) /* not compatible with the 53C700               */
#define DCNTL_STD   BIT(2) /* start                                        */
#define DCNTL_SSM   BIT(4) /* stop after each instruction                  */

#define LIMIT_NS      UINT64_C(50000000)
#define PROGRAM_WORDS (DMA_STAGE / 4)
#define COPY_MOVES    64 /* descriptors a start: all in the register write */
#define COPY_PIECE    (UINT64_C(1) << 20)

static struct lsi chips[LSI_MAX]; /* (I) after boot, but for what locks say */
static unsigned n_chips;

/* In the image, so that it lies where 32 bits reach: program, staging. */
static char own[LSI_MAX][2 * DMA_STAGE] DMA_MEMORY;

static struct lsi *of(struct dma_engine *e)
{
	return container_of(e, struct lsi, engine);
}

static uint8_t reg_read(struct lsi *lsi, enum lsi_reg reg)
{
	return mmio_read8(lsi->regs + reg);
}

static void reg_write(struct lsi *lsi, enum lsi_reg reg, uint64_t v)
{
	mmio_write8(lsi->regs + reg, (uint8_t)v);
}

/* ---------------------------------------------------------------- state */

void lsi_regs_reset(char *regs)
{
	mmio_write8(regs + REG_ISTAT0, ISTAT0_ABRT);
	mmio_write8(regs + REG_ISTAT0, ISTAT0_SRST);
	mmio_write8(regs + REG_ISTAT0, 0);
	mmio_read8(regs + REG_DSTAT);
	mmio_read8(regs + REG_SIST0);
	mmio_read8(regs + REG_SIST1);
	mmio_write8(regs + REG_DIEN, 0);
	mmio_write8(regs + REG_DMODE, 0);
	mmio_write8(regs + REG_DCNTL, DCNTL_COM);
}

void lsi_regs_start(char *regs, uint32_t bus)
{
	barrier(); /* the program and its data are written before this */
	mmio_write32(regs + REG_DSP, bus);
}

static void reset(struct lsi *lsi)
{
	lsi_regs_reset(lsi->regs);
}

/* Return how the program ended; -EAGAIN: it has not. */
static int poll(struct lsi *lsi, uint32_t *tag)
{
	uint8_t istat = reg_read(lsi, REG_ISTAT0), dstat;

	if (!(istat & (ISTAT0_DIP | ISTAT0_SIP)))
		return -EAGAIN;
	barrier(); /* what the device wrote is read after this */
	PROBE(lsi_stopped, lsi->dev->devid, lsi->engine.own.bus);
	dstat = reg_read(lsi, REG_DSTAT);
	*tag = mmio_read32(lsi->regs + REG_DSPS);
	if (dstat & DSTAT_SIR)
		return 0;
	if (dstat & DSTAT_SSI)
		return -EAGAIN;
	/* No instruction, or nothing at all: then the SCSI half stopped it. */
	reset(lsi);
	return err(EIO);
}

/*
 * True if the chip is past the end of its program.  QEMU skips words that are 0,
 * and a chip that is denied reads 0: it would go on fetching at higher addresses.
 */
static bool ran_away(struct lsi *lsi)
{
	return mmio_read32(lsi->regs + REG_DSP) > lsi->program_end;
}

static int wait(struct lsi *lsi, uint32_t *tag)
{
	uint64_t end = clock_ns() + LIMIT_NS;
	int error;

	while ((error = poll(lsi, tag)) == -EAGAIN && !ran_away(lsi) &&
	       clock_ns() < end)
		cpu_pause();
	if (error != -EAGAIN)
		return error;
	reset(lsi);
	return err(ETIMEDOUT);
}

/* Store the program in its place; *bus is its address for the chip. */
static int place_program(struct lsi *lsi, enum lsi_place place,
			 const struct lsi_insn *program, unsigned n,
			 uint32_t *bus)
{
	static uint32_t assembled[LSI_MAX][PROGRAM_WORDS]; /* engine's lock */
	uint32_t *words = assembled[lsi - chips];
	int len = lsi_assemble(program, n, words, PROGRAM_WORDS);

	if (len < 0)
		return len;
	if (place == LSI_IN_MEMORY) {
		memcpy(lsi->engine.own.va, words, (unsigned)len * 4);
		*bus = (uint32_t)lsi->engine.own.bus;
	} else {
		for (int i = 0; i < len; i++)
			mmio_write32(lsi->ram + 4 * i, words[i]);
		*bus = (uint32_t)lsi->ram_bus;
	}
	lsi->program_end = *bus + (uint32_t)len * 4;
	return 0;
}

static int start(struct lsi *lsi, enum lsi_place place,
		 const struct lsi_insn *program, unsigned n, bool steps)
{
	uint32_t bus;
	int error = place_program(lsi, place, program, n, &bus);

	if (error)
		return error;
	reg_write(lsi, REG_DMODE, steps ? DMODE_MAN : 0);
	reg_write(lsi, REG_DCNTL, DCNTL_COM | (steps ? DCNTL_SSM : 0));
	PROBE(lsi_start, lsi->dev->devid, bus);
	lsi_regs_start(lsi->regs, bus);
	return 0;
}

/* ------------------------------------------------------------- interface */

struct lsi *lsi_at(unsigned i)
{
	return i < n_chips ? &chips[i] : NULL;
}

int lsi_run(struct lsi *lsi, enum lsi_place place,
	    const struct lsi_insn *program, unsigned n, uint32_t *tag)
{
	int error;

	dma_lock(&lsi->engine);
	error = start(lsi, place, program, n, false);
	if (!error)
		error = wait(lsi, tag);
	dma_unlock(&lsi->engine);
	return error;
}

int lsi_start(struct lsi *lsi, enum lsi_place place,
	      const struct lsi_insn *program, unsigned n)
{
	int error;

	dma_lock(&lsi->engine);
	error = start(lsi, place, program, n, false);
	dma_unlock(&lsi->engine);
	return error;
}

int lsi_load_program(struct lsi *lsi, enum lsi_place place,
		     const struct lsi_insn *program, unsigned n)
{
	int error;

	dma_lock(&lsi->engine);
	error = start(lsi, place, program, n, true);
	dma_unlock(&lsi->engine);
	return error;
}

int lsi_poll(struct lsi *lsi, uint32_t *tag)
{
	int error;

	dma_lock(&lsi->engine);
	error = poll(lsi, tag);
	dma_unlock(&lsi->engine);
	return error;
}

int lsi_step(struct lsi *lsi, uint32_t *tag)
{
	int error;

	dma_lock(&lsi->engine);
	barrier();
	reg_write(lsi, REG_DCNTL, DCNTL_COM | DCNTL_SSM | DCNTL_STD);
	error = poll(lsi, tag);
	dma_unlock(&lsi->engine);
	return error;
}

void lsi_stop(struct lsi *lsi)
{
	dma_lock(&lsi->engine);
	reset(lsi);
	dma_unlock(&lsi->engine);
}

uint32_t lsi_scratch(struct lsi *lsi, enum lsi_scratch reg)
{
	uint32_t v;

	dma_lock(&lsi->engine);
	v = mmio_read32(lsi->regs + (reg & ~3u));
	dma_unlock(&lsi->engine);
	return v;
}

/* ---------------------------------------------------------------- engine */

/* Copy by as many moves as one start may have; returns how many bytes they are. */
static uint64_t copy_some(struct lsi *lsi, iova_t dst, iova_t src,
			  uint64_t bytes, int *error)
{
	struct lsi_insn program[COPY_MOVES + 1];
	uint64_t done = 0;
	uint32_t tag;
	unsigned n = 0;

	for (; n < COPY_MOVES && done < bytes; n++) {
		uint64_t piece =
			bytes - done < COPY_PIECE ? bytes - done : COPY_PIECE;

		program[n] = lsi_move(dst + done, src + done, piece);
		done += piece;
	}
	program[n++] = lsi_interrupt(0);
	*error = start(lsi, LSI_IN_MEMORY, program, n, false);
	if (!*error)
		*error = wait(lsi, &tag);
	return done;
}

static int lsi_copy(struct dma_engine *e, iova_t dst, iova_t src,
		    uint64_t bytes)
{
	int error = 0;

	for (uint64_t done = 0; done < bytes && !error;)
		done += copy_some(of(e), dst + done, src + done, bytes - done,
				  &error);
	return error;
}

static const struct dma_ops lsi_ops = { .copy = lsi_copy };

static const char *chip_init(struct lsi *lsi, struct pci_dev *dev, unsigned i)
{
	static const char *const names[LSI_MAX] = { "lsi0", "lsi1" };
	const char *why = pci_claim(dev, "lsi");
	void *regs, *ram;

	if (!why)
		why = pci_map(dev, BAR_REGS, REGS_BYTES, &regs);
	if (!why)
		why = pci_map(dev, BAR_RAM, LSI_RAM_BYTES, &ram);
	if (why)
		return why;
	*lsi = (struct lsi){ .dev = dev,
			     .regs = regs,
			     .ram = ram,
			     .ram_bus = dev->bars[BAR_RAM].pa };
	if (lsi->ram_bus + LSI_RAM_BYTES > BIT(32))
		return "the chip's RAM lies beyond its own addresses";
	pci_write(dev, PCI_COMMAND, 2,
		  pci_read(dev, PCI_COMMAND, 2) | PCI_COMMAND_NO_IRQ);
	reset(lsi);
	lsi->engine = (struct dma_engine){
		.name = names[i],
		.devid = dev->devid,
		.address_bits = 32,
		.ops = &lsi_ops,
		.own = { .va = own[i],
			 .pa = (pa_t)own[i] - KERNEL_BASE,
			 .len = sizeof(own[i]) },
	};
	dma_register(&lsi->engine);
	pci_set_master(dev, true);
	return NULL;
}

void lsi_init(void)
{
	struct pci_dev *dev;

	for (unsigned i = 0;
	     i < LSI_MAX && (dev = pci_find(LSI_ID & 0xffff, LSI_ID >> 16, i));
	     i++) {
		const char *why = chip_init(&chips[n_chips], dev, i);

		if (why)
			printk("# lsi%u: %s\n", i, why);
		else
			n_chips++;
	}
}
