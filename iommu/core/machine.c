/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the machine's own IOMMUs, with memory-mapped registers
 *
 *   IVRS ──► units ──► those that cover a function found by PCI ──► machines[]
 *                └───► the others: left alone, and printed
 *
 * A laptop has one IOMMU, a server one for each root complex.  iommu_of() finds
 * the IOMMU that translates a device; a domain belongs to one IOMMU.
 */
#include "arch/io.h"
#include "drivers/acpi_madt.h"
#include "drivers/msi.h"
#include "iommu/core/domain.h"
#include "iommu/core/ivrs.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/mmio.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"

#define MACHINES     4
#define IDS_ORDER    2 /* struct iommu_ids                               */
#define CLASS_IOMMU  0x0806
#define CLASS_BRIDGE 0x06 /* host, ISA, PCI: no masters of their own     */
#define CAP_SECURE   0x0f /* 48882, section 3.1: the capability block    */

#define CAPABILITY_NP_CACHE BIT(26)

_Static_assert(sizeof(struct iommu_ids) == PAGE_SIZE << IDS_ORDER, "");
_Static_assert(IOMMU_ALIASES * sizeof(struct iommu_alias) <= PAGE_SIZE, "");

static const struct {
	const char *name, *owner; /* of its port, of its registers       */
} names[MACHINES] = {
	{ "machine", "the IOMMU" },
	{ "machine 1", "the second IOMMU" },
	{ "machine 2", "the third IOMMU" },
	{ "machine 3", "the fourth IOMMU" },
};

static struct machine {
	struct iommu iommu;
	struct iommu_config config; /* (I) after boot                    */
	struct pci_dev *function;   /* (I) after boot; NULL: none seen   */
	bool running;               /* boot and restart, one thread      */
} machines[MACHINES];
static unsigned n_machines; /* (I) after boot                            */
/* (I) after boot: why interrupts are not remapped; NULL: they are. */
static const char *no_remap = "there is no IOMMU";

static uint64_t mmio_reg_read(void *ctx, unsigned reg)
{
	return mmio_read64((char *)ctx + reg);
}

static void mmio_reg_write(void *ctx, unsigned reg, uint64_t value)
{
	mmio_write64((char *)ctx + reg, value);
}

struct iommu *iommu_machine_at(unsigned i)
{
	return i < n_machines && machines[i].running ? &machines[i].iommu
						     : NULL;
}

struct iommu *iommu_machine(void)
{
	return iommu_machine_at(0);
}

struct iommu *iommu_of(uint16_t devid)
{
	struct iommu *iommu;

	for (unsigned i = 0; (iommu = iommu_machine_at(i)); i++)
		if (iommu_covers(iommu, devid))
			return iommu;
	return NULL;
}

const char *iommu_machine_no_remap(void)
{
	return no_remap;
}

unsigned iommu_machine_vector(void)
{
	return machines[0].function ? machines[0].function->vector : 0;
}

void iommu_machine_avoid_ids(uint16_t bits)
{
	require(may_sleep());
	for (unsigned i = 0; i < n_machines; i++) {
		machines[i].config.bad_ids = bits;
		rw_write_lock(&machines[i].iommu.lock);
		machines[i].iommu.bad_ids = bits;
		rw_write_unlock(&machines[i].iommu.lock);
	}
}

/* ---- its own PCI function ---------------------------------------------- */

static void interrupt(void *arg)
{
	iommu_kick(arg);
}

/* Find the unit's PCI function, by class: its device id differs among QEMUs. */
static struct pci_dev *function_of(const struct ivrs_unit *u)
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (dev->devid == u->devid && dev->class >> 8 == CLASS_IOMMU)
			return dev;
	return NULL;
}

/* True if the unit caches entries that are not present.  Its function's capability
 * decides; without one the worse is assumed. */
static bool caches_holes(const struct ivrs_unit *u, const struct pci_dev *dev)
{
	const char *why;
	unsigned at = dev ? pci_capability(dev, CAP_SECURE, &why) : 0;

	if (dev && at != u->capability)
		printk("# iommu: the ACPI IVRS puts its capability at %xh, its "
		       "PCI function at %xh, which counts\n",
		       u->capability, at);
	return !at || pci_read(dev, at, 4) & CAPABILITY_NP_CACHE;
}

/* Enable the IOMMU's interrupt.  Without it only iommu_settle() reads the logs. */
static void interrupt_init(struct machine *m)
{
	struct pci_dev *dev = m->function;
	const char *why = dev ? NULL
			      : "the ACPI IVRS gives it the number of no "
				"IOMMU's PCI function";

	if (!why)
		why = pci_claim(dev, "iommu");
	if (!why)
		why = msi_enable(dev, 0, interrupt, &m->iommu);
	if (why)
		printk("# iommu: no interrupt: %s\n", why);
}

/* ---- interrupts -------------------------------------------------------- */

/* Revoke on one IOMMU.  One that is off has no tables: it starts with the list. */
static void revoke(struct machine *m, const struct irq_grant *grant)
{
	if (m->running && iommu_revoke(&m->iommu, grant))
		panic("iommu: vector %x of %x cannot be revoked", grant->vector,
		      grant->source);
}

/* Grant on each IOMMU: any of them may translate the device, or the IOAPIC. */
static const char *guard_grant(const struct irq_grant *grant)
{
	for (unsigned i = 0; i < n_machines; i++)
		if (machines[i].running &&
		    iommu_grant(&machines[i].iommu, grant)) {
			while (i--)
				revoke(&machines[i], grant);
			return "the IOMMU cannot grant its interrupt";
		}
	return NULL;
}

/* Revoke, or panic: the vector is about to be given to another device. */
static void guard_revoke(const struct irq_grant *grant)
{
	for (unsigned i = 0; i < n_machines; i++)
		revoke(&machines[i], grant);
}

static const struct irq_guard guard = { guard_grant, guard_revoke };

/*
 * Remap interrupts only if firmware says which number the IOAPIC's messages bear:
 * otherwise all of them would be aborted.  Linux: check_ioapic_information().
 */
static void remap_init(const struct ivrs *ivrs, const struct acpi_madt *madt)
{
	uint16_t ioapic = 0;

	no_remap = ivrs_ioapic(ivrs, madt->ioapic_id, &ioapic);
	for (unsigned i = 0; i < MACHINES; i++) {
		machines[i].config.ioapic = ioapic;
		machines[i].config.remaps = !no_remap;
		machines[i].config.grants = irq_grants();
		machines[i].config.n_grants = IRQ_GRANTS;
	}
	if (no_remap)
		printk("# iommu: %s: interrupts are not remapped, and every "
		       "device may send any of them\n",
		       no_remap);
}

/* ---- boot -------------------------------------------------------------- */

#define NAME(devid) (devid) >> 8, (devid) >> 3 & 31, 7 & (devid)

/* True if the function can master the bus, and is no IOMMU. */
static bool may_master(const struct pci_dev *dev)
{
	return dev->class >> 8 != CLASS_IOMMU &&
	       dev->class >> 16 != CLASS_BRIDGE;
}

static bool covers_ours(const struct iommu_ids *ids)
{
	const struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (may_master(dev) && ids_test(ids->covers, dev->devid))
			return true;
	return false;
}

/* Read what the table says about device numbers; kept while the kernel runs. */
static const char *read_ids(const struct ivrs *ivrs, unsigned unit,
			    struct iommu_config *config)
{
	struct page *ids = pages_alloc(IDS_ORDER), *aliases = page_alloc();
	const char *why =
		ids && aliases ? NULL : "there is no memory for its numbers";

	if (!why) {
		page_set_kind_block(ids, PAGE_IOMMU);
		page_set_kind(aliases, PAGE_IOMMU);
		config->ids = page_va(ids);
		config->aliases = page_va(aliases);
		why = ivrs_ids(ivrs, unit, page_va(ids), page_va(aliases),
			       &config->n_aliases);
	}
	if (!why && !covers_ours(config->ids))
		why = "it covers no function that was found";
	if (!why)
		return NULL;
	if (ids)
		page_put(ids);
	if (aliases)
		page_put(aliases);
	return why;
}

static uint64_t control_of(const struct ivrs_unit *u)
{
	return (u->flags & IVRS_HT_TUNNEL ? CONTROL_HT_TUNNEL : 0) |
	       (u->flags & IVRS_PASS_PW ? CONTROL_PASS_PW : 0) |
	       (u->flags & IVRS_RES_PASS_PW ? CONTROL_RES_PASS_PW : 0) |
	       (u->flags & IVRS_ISOC ? CONTROL_ISOC : 0);
}

static const char *start(struct machine *m, const struct iommu_port *port)
{
	switch (iommu_start(&m->iommu, port, &m->config)) {
	case 0:
		m->running = true;
		return NULL;
	case -ENOMEM:
		return "no memory for the IOMMU's tables";
	case -EIO:
		return "firmware has locked a register of the IOMMU: switch "
		       "its own use of it off";
	case -EPERM:
		return "firmware has locked a range that is excluded from "
		       "translation";
	}
	return "the IOMMU does not answer";
}

static const char *unit_boot(const struct ivrs *ivrs, unsigned unit)
{
	const struct ivrs_unit *u = &ivrs->units[unit];
	struct machine *m = &machines[n_machines];
	struct iommu_port port = { .read = mmio_reg_read,
				   .write = mmio_reg_write };
	const char *why = u->bad;

	if (!why && u->segment)
		why = "it is of another PCI segment than 0";
	if (!why && n_machines == MACHINES)
		why = "more than four are not driven";
	if (!why)
		why = mmio_claim(names[n_machines].owner, u->mmio,
				 IOMMU_MMIO_SIZE);
	if (!why)
		why = read_ids(ivrs, unit, &m->config);
	if (why)
		return why;
	port.name = names[n_machines].name;
	port.ctx = kmap_device(u->mmio, IOMMU_MMIO_SIZE);
	if (!port.ctx)
		return "there is no memory to map its registers";
	m->function = function_of(u);
	m->config.np_cache = caches_holes(u, m->function);
	m->config.last_bus = pci_last_bus();
	m->config.control = control_of(u);
	m->config.unity = ivrs->unity;
	m->config.n_unity = ivrs->n_unity;
	why = start(m, &port);
	if (why)
		return why;
	n_machines++;
	irq_set_guard(&guard);
	interrupt_init(m);
	return NULL;
}

/* Print which functions no IOMMU translates. */
static void print_uncovered(void)
{
	const struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (may_master(dev) && !iommu_of(dev->devid))
			printk("# iommu: no IOMMU that runs covers "
			       "%02x:%02x.%x: "
			       "it is not attached, and nothing is protected "
			       "from it\n",
			       NAME(dev->devid));
}

static void print_unity(const struct ivrs *ivrs)
{
	for (unsigned i = 0; i < ivrs->n_unity; i++) {
		const struct iommu_unity *u = &ivrs->unity[i];

		printk("# iommu: firmware wants memory %#lx-%#lx for "
		       "%02x:%02x.%x-%02x:%02x.%x: %s\n",
		       u->start, u->end, NAME(u->first), NAME(u->last),
		       u->bad ? u->bad : "mapped while attached");
	}
	if (ivrs->more_unity)
		printk("# iommu: firmware wants %u more ranges of memory: "
		       "ignored\n",
		       ivrs->more_unity);
}

const char *iommu_boot(const struct ivrs *ivrs, const struct acpi_madt *madt)
{
	unsigned n = ivrs->n_units;
	const char *first = NULL;

	remap_init(ivrs, madt);
	for (unsigned i = 0; i < ivrs->n_units; i++) {
		const struct ivrs_unit *u = &ivrs->units[i];
		const char *why = unit_boot(ivrs, i);

		first = first ? first : why;
		if (n > 1)
			printk("# iommu: of %u, %x:%02x:%02x.%x at %#lx: %s\n",
			       n, u->segment, NAME(u->devid), u->mmio,
			       why ? why : "driven");
		if (u->disagrees)
			printk("# iommu: blocks of the ACPI IVRS disagree: "
			       "type "
			       "%xh counts\n",
			       u->type);
	}
	if (ivrs->more_blocks)
		printk("# iommu: IOMMUs of %u more blocks are left alone\n",
		       ivrs->more_blocks);
	if (!n_machines) {
		no_remap = "there is no IOMMU";
		return first;
	}
	print_uncovered();
	print_unity(ivrs);
	return NULL;
}

/* ---- restart ----------------------------------------------------------- */

static const char *restart(struct machine *m)
{
	struct iommu_port port = m->iommu.port;

	if (m->running) /* else the restart before has failed */
		iommu_stop(&m->iommu);
	m->running = false;
	return start(m, &port);
}

const char *iommu_machine_restart(void)
{
	static uint64_t masters; /* bus masters that a restart has stopped */
	struct pci_dev *dev;
	const char *why = NULL;

	_Static_assert(PCI_MAX <= 64, "a bit for each function");
	require(may_sleep());
	if (!n_machines)
		return "there is no IOMMU";
	for (unsigned i = 0; (dev = pci_at(i)); i++) {
		masters |= pci_is_master(dev) ? BIT(i) : 0;
		pci_set_master(dev, false);
	}
	for (unsigned i = 0; i < n_machines && !why; i++)
		why = restart(&machines[i]);
	for (unsigned i = 0; !why && (dev = pci_at(i)); i++)
		pci_set_master(dev, masters & BIT(i));
	masters = why ? masters : 0;
	return why;
}
