/* SPDX-License-Identifier: MIT */
/*
 * edu.c - one transfer at a time, and its interrupt
 *
 *        idle --edu_start()--> busy --interrupt--> idle, wake the waiters
 *                               |
 *                               +--no interrupt in LIMIT_NS--> an error
 *
 * Locks: the thread that changes busy from false to true has the registers until
 * the interrupt; the engine's lock is around whole copies, which are several
 * transfers.
 */
#include "drivers/edu.h"
#include "arch/clock.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "drivers/msi.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/waitq.h"

#define REGS_BYTES PAGE_SIZE
#define ID_MASK    UINT32_C(0xffff)
#define ID_EDU     UINT32_C(0x00ed)
#define CAUSE_DMA  UINT32_C(0x100)
#define PIECE      2048 /* bytes of a copy in one transfer                  */
#define LIMIT_NS   UINT64_C(2000000000)

static struct {
	struct dma_engine engine;
	struct pci_dev *dev; /* NULL: there is none                       */
	char *regs;
	struct waitq done;
	_Atomic bool busy;
	_Atomic unsigned interrupts;
} edu;

static char own[2 * DMA_STAGE] DMA_MEMORY;

bool edu_present(void)
{
	return edu.dev != NULL;
}

uint16_t edu_devid(void)
{
	assert(edu.dev);
	return edu.dev->devid;
}

bool edu_busy(void)
{
	return atomic_load(&edu.busy);
}

unsigned edu_interrupts(void)
{
	return atomic_load(&edu.interrupts);
}

static void interrupt(void *arg)
{
	uint32_t cause = mmio_read32(edu.regs + EDU_CAUSE);

	(void)arg;
	mmio_write32(edu.regs + EDU_ACK, cause);
	atomic_fetch_add(&edu.interrupts, 1);
	PROBE(edu_interrupt, cause, 0);
	if (!(cause & CAUSE_DMA))
		return;
	/* Release: a thread that sees it idle sees what the device wrote. */
	atomic_store(&edu.busy, false);
	wake_all(&edu.done);
}

static bool runs(void)
{
	return mmio_read64(edu.regs + EDU_COMMAND) & EDU_RUN;
}

int edu_start(enum edu_way way, iova_t bus, unsigned offset, unsigned bytes)
{
	iova_t inside = EDU_MEMORY + offset;

	if (!bytes || offset > EDU_BYTES || bytes > EDU_BYTES - offset)
		return err(EINVAL);
	if (atomic_exchange(&edu.busy, true))
		return err(EBUSY);
	if (runs()) { /* one that was given up is not over yet */
		atomic_store(&edu.busy, false);
		return err(EBUSY);
	}
	PROBE(edu_start, bus, way);
	barrier(); /* what the device will read is written before this */
	mmio_write64(edu.regs + EDU_SOURCE, way == EDU_TAKE ? bus : inside);
	mmio_write64(edu.regs + EDU_TARGET, way == EDU_TAKE ? inside : bus);
	mmio_write64(edu.regs + EDU_COUNT, bytes);
	mmio_write64(edu.regs + EDU_COMMAND, EDU_RUN | EDU_IRQ | way);
	return 0;
}

int edu_wait(void)
{
	if (wait_event_until(&edu.done, !edu_busy(), clock_ns() + LIMIT_NS))
		return 0;
	atomic_store(&edu.busy, false);
	if (runs())
		return err(ETIMEDOUT);
	mmio_write32(edu.regs + EDU_ACK, CAUSE_DMA);
	return err(EIO);
}

/* One transfer of ours, after whatever else is under way. */
static int transfer(enum edu_way way, iova_t bus, unsigned bytes)
{
	int error;

	while ((error = edu_start(way, bus, 0, bytes)) == -EBUSY) {
		int theirs = edu_wait(); /* how it ended is for them to know */

		if (theirs == -ETIMEDOUT || (!edu_busy() && runs()))
			return err(EBUSY);
	}
	return error ? error : edu_wait();
}

static int edu_copy(struct dma_engine *e, iova_t dst, iova_t src,
		    uint64_t bytes)
{
	int error = 0;

	(void)e;
	for (uint64_t done = 0; done < bytes && !error; done += PIECE) {
		uint64_t left = bytes - done;
		unsigned n = left < PIECE ? (unsigned)left : PIECE;

		error = transfer(EDU_TAKE, src + done, n);
		if (!error)
			error = transfer(EDU_GIVE, dst + done, n);
	}
	return error;
}

static const struct dma_ops edu_ops = { .copy = edu_copy };

const char *edu_set_cpu(unsigned cpu)
{
	if (edu.dev->vector)
		msi_disable(edu.dev);
	return msi_enable(edu.dev, cpu, interrupt, NULL);
}

static const char *device_init(struct pci_dev *dev)
{
	const char *why = pci_claim(dev, "edu");
	void *regs;

	if (!why)
		why = pci_map(dev, 0, REGS_BYTES, &regs);
	if (why)
		return why;
	edu.regs = regs;
	if ((mmio_read32(edu.regs + EDU_IDENTITY) & ID_MASK) != ID_EDU)
		return "its identification is another device's";
	waitq_init(&edu.done);
	why = msi_enable(dev, 0, interrupt, NULL);
	if (why)
		return why;
	edu.dev = dev;
	edu.engine = (struct dma_engine){
		.name = "edu",
		.devid = dev->devid,
		.address_bits = 64,
		.sleeps = true,
		.ops = &edu_ops,
		.own = { .va = own,
			 .pa = (pa_t)own - KERNEL_BASE,
			 .len = sizeof(own) },
	};
	dma_register(&edu.engine);
	pci_set_master(dev, true);
	return NULL;
}

void edu_init(void)
{
	struct pci_dev *dev = pci_find(EDU_ID & 0xffff, EDU_ID >> 16, 0);
	const char *why = dev ? device_init(dev) : NULL;

	if (why)
		printk("# edu: %s\n", why);
}
