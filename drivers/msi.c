/* SPDX-License-Identifier: MIT */
/*
 * msi.c - vectors for devices, and the registers that name them
 *
 *   MSI capability   +0 id  +2 control  +4 address  (+8 upper half)  data
 *   address          fee00000h | LAPIC id << 12     data   vector
 *
 * Locks: msi_lock protects the slots, one a vector.  An interrupt reads its slot
 * without the lock: the slot is filled before the device may write, and emptied
 * only after every CPU has left the handler.
 */
#include "drivers/msi.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "drivers/irq_grant.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

#define MSI_CONTROL    2
#define MSI_ADDRESS    4
#define MSI_ADDRESS_HI 8
#define MSI_DATA_32    8
#define MSI_DATA_64    12
#define CONFIG_REGS    256 /* what the ports reach                       */

#define CONTROL_ENABLE BIT(0)
#define CONTROL_COUNT  GENMASK(6, 4) /* log2 of vectors granted: we grant 1 */
#define CONTROL_64     BIT(7)

#define MESSAGE_BASE     UINT64_C(0xfee00000)
#define MESSAGE_DEST     GENMASK(19, 12)
#define MESSAGE_DEST_MAX 254

_Static_assert(IRQ_CALL >> 4 < IRQ_DEVICE >> 4, "msi_disable() counts on it");
_Static_assert(IRQ_DEVICE + MSI_VECTORS < IRQ_SPURIOUS, "room for all vectors");

static struct slot {
	void (*fn)(void *arg);
	void *arg;
} slots[MSI_VECTORS];
static struct spinlock msi_lock = SPINLOCK_INIT(RANK_PCI, "msi");

static void interrupt(struct trap_frame *frame)
{
	struct slot *s = &slots[frame->vector - IRQ_DEVICE];
	void (*fn)(void *arg) = READ_ONCE(s->fn);

	/* Of a device that had it, or that never did: nothing serves it. */
	if (fn)
		fn(s->arg);
	else
		trap_stray((unsigned)frame->vector);
	lapic_eoi();
}

/* A free vector, taken for fn; 0 if there is none. */
static unsigned vector_take(void (*fn)(void *arg), void *arg)
{
	unsigned vector = 0;
	uint64_t flags = spin_lock_irq(&msi_lock);

	for (unsigned i = 0; i < MSI_VECTORS && !vector; i++) {
		if (slots[i].fn)
			continue;
		slots[i].arg = arg;
		WRITE_ONCE(slots[i].fn, fn);
		vector = IRQ_DEVICE + i;
	}
	spin_unlock_irq(&msi_lock, flags);
	return vector;
}

static unsigned data_reg(uint64_t control)
{
	return control & CONTROL_64 ? MSI_DATA_64 : MSI_DATA_32;
}

/* Does a capability at `at` end where config space does, or before? */
static bool fits(const struct pci_dev *dev, unsigned at)
{
	return at + data_reg(pci_read(dev, at + MSI_CONTROL, 2)) + 2 <=
	       CONFIG_REGS;
}

const char *msi_enable(struct pci_dev *dev, unsigned cpu, void (*fn)(void *arg),
		       void *arg)
{
	const char *why;
	unsigned at = pci_capability(dev, PCI_CAP_MSI, &why), vector;
	uint64_t control, address;

	assert(fn && cpu < cpu_count());
	if (!at)
		return why;
	if (!fits(dev, at))
		return "the MSI capability runs beyond config space";
	if (dev->vector)
		return "the device has a vector already";
	if (cpus[cpu].lapic_id > MESSAGE_DEST_MAX)
		return "the CPU's APIC id does not fit into a message";
	vector = vector_take(fn, arg);
	if (!vector)
		return "no vector is left";
	trap_set_handler(vector, interrupt);
	why = irq_grant(dev->devid, vector, cpu);
	if (why) {
		WRITE_ONCE(slots[vector - IRQ_DEVICE].fn, NULL);
		return why;
	}
	control = pci_read(dev, at + MSI_CONTROL, 2) & ~CONTROL_COUNT;
	address = MESSAGE_BASE | FIELD_PREP(MESSAGE_DEST, cpus[cpu].lapic_id);
	pci_write(dev, at + MSI_ADDRESS, 4, address);
	if (control & CONTROL_64)
		pci_write(dev, at + MSI_ADDRESS_HI, 4, 0);
	pci_write(dev, at + data_reg(control), 2, vector);
	pci_write(dev, at + MSI_CONTROL, 2, control | CONTROL_ENABLE);
	dev->vector = vector;
	return NULL;
}

static void nothing(void *arg)
{
	(void)arg;
}

void msi_disable(struct pci_dev *dev)
{
	const char *why;
	unsigned at = pci_capability(dev, PCI_CAP_MSI, &why);
	struct slot *s = &slots[dev->vector - IRQ_DEVICE];

	assert(at && dev->vector && irqs_enabled());
	pci_write(dev, at + MSI_CONTROL, 2,
		  pci_read(dev, at + MSI_CONTROL, 2) & ~CONTROL_ENABLE);
	irq_revoke(dev->devid, dev->vector); /* it may ignore the enable bit */
	/*
	 * A handler runs with interrupts off, and IRQ_CALL has a lower priority
	 * class than IRQ_DEVICE: a CPU that answers has taken all messages and
	 * left fn.
	 */
	preempt_disable();
	smp_call(smp_online_mask(), nothing, NULL);
	preempt_enable();
	WRITE_ONCE(s->fn, NULL);
	dev->vector = 0;
}
