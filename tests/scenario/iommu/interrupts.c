/* SPDX-License-Identifier: MIT */
/*
 * interrupts.c - devices that send what they like
 *
 *   edu    its own MSI, with address and data as the test writes them
 *   lsi0   a write of 4 bytes to FEEx_xxxxh by a program
 *
 * Every vector, NMI, ExtINT and logical destinations are tried; one message at
 * a time, with interrupts off, so that what the local APIC has taken is read
 * there and is not yet served.  QEMU judges edu's MSI by edu's entry of the
 * device table, and the write of any device by the IOAPIC's (docs/limits.md).
 */
#include "arch/io.h"
#include "arch/lapic.h"
#include "arch/trap.h"
#include "drivers/edu.h"
#include "drivers/lsi.h"
#include "drivers/msi.h"
#include "iommu/core/domain.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/mm/sync_point.h"

#define FIRST   16u /* a local APIC refuses those below                 */
#define VECTORS 240u
#define ANY     0xe3u /* no handler serves it                             */
#define OTHER   0xe5u
#define LOGICAL BIT(2) /* of the address                                 */
#define NAME    0x40u  /* the CPU's logical name meanwhile                */
#define NMI     0x400u /* data bits 10:8                                 */
#define EXT_INT 0x700u
#define ALWAYS  3u /* a message arrives each time, a timer's tick not     */

#define MSI_CONTROL 2
#define MSI_LOW     4
#define MSI_HIGH    8
#define MSI_DATA    12
#define MSI_ON      BIT(0)
#define EDU_RAISE   0x60

typedef void sender(uint64_t address, uint32_t data);

static uint64_t to(uint32_t lapic)
{
	return UINT64_C(0xfee00000) | (uint64_t)lapic << 12;
}

static uint64_t to_me(void)
{
	return to(cpus[cpu_id()].lapic_id);
}

/* ---- senders ----------------------------------------------------------- */

static struct {
	struct pci_dev *dev;
	char *regs;
	unsigned cap;
} edu;

/* As a device may that is not what it seems: no register stops it. */
static void own_msi(uint64_t address, uint32_t data)
{
	pci_write(edu.dev, edu.cap + MSI_LOW, 4, address);
	pci_write(edu.dev, edu.cap + MSI_HIGH, 4, 0);
	pci_write(edu.dev, edu.cap + MSI_DATA, 2, data);
	pci_write(edu.dev, edu.cap + MSI_CONTROL, 2,
		  pci_read(edu.dev, edu.cap + MSI_CONTROL, 2) | MSI_ON);
	mmio_write32(edu.regs + EDU_RAISE, 1);
	mmio_write32(edu.regs + EDU_ACK, 1);
}

static void window_write(uint64_t address, uint32_t data)
{
	struct lsi *lsi = lsi_at(0);
	const struct dma_own *own = &lsi->engine.own;
	const struct lsi_insn program[] = {
		lsi_move(address, own->bus + DMA_STAGE, sizeof(data)),
		lsi_interrupt(0),
	};
	uint32_t tag;

	WRITE_ONCE(*(uint32_t *)(own->va + DMA_STAGE), data);
	REQUIRE(!lsi_run(lsi, LSI_IN_MEMORY, program, 2, &tag));
}

/* ---- what arrives ------------------------------------------------------ */

struct arrivals {
	unsigned n, last;  /* vectors that arrived; the highest of them     */
	unsigned nmi, ext; /* and what has no vector                        */
	bool logical;      /* ANY, to the CPU's logical name                */
};

static bool arrives_once(sender *send, uint64_t address, uint32_t data,
			 unsigned vector)
{
	uint64_t flags = irq_save();
	bool arrived;

	send(address, data);
	arrived = lapic_pending(vector);
	irq_restore(flags);
	return arrived;
}

static bool arrives(sender *send, uint64_t address, uint32_t data,
		    unsigned vector)
{
	for (unsigned i = 0; i < ALWAYS; i++)
		if (!arrives_once(send, address, data, vector))
			return false;
	EXPECT(trap_stray_take(vector) == ALWAYS || trap_served(vector));
	return true;
}

/* Everything that a message can say.  Context: a thread that stays on its CPU. */
static struct arrivals try_all(sender *send)
{
	struct arrivals a = { 0 };

	for (unsigned v = FIRST; v < FIRST + VECTORS; v++) {
		if (!arrives(send, to_me(), v, v))
			continue;
		a.n++;
		a.last = v;
	}
	send(to_me(), NMI);
	lapic_set_logical(NAME);
	a.logical = arrives(send, to(NAME) | LOGICAL, ANY, ANY);
	lapic_set_logical(0);
	a.ext = arrives(send, to_me(), EXT_INT | OTHER, OTHER);
	a.nmi = (unsigned)trap_stray_take(TRAP_NMI);
	return a;
}

/* ---- the stage --------------------------------------------------------- */

static unsigned seen; /* messages that a handler has served                 */

static void count(void *arg)
{
	(void)arg;
	WRITE_ONCE(seen, seen + 1);
}

static struct iommu *need_remap(void)
{
	if (iommu_machine_no_remap())
		SKIP(iommu_machine_no_remap());
	return iommu_machine();
}

/* edu with no vector. */
static void borrow_edu(void)
{
	const char *why;
	void *regs;

	need_edu();
	edu.dev = pci_find(EDU_ID & 0xffff, EDU_ID >> 16, 0);
	REQUIRE(edu.dev);
	EXPECT_STR_NULL(pci_map(edu.dev, 0, PAGE_SIZE, &regs));
	edu.regs = regs;
	edu.cap = pci_capability(edu.dev, PCI_CAP_MSI, &why);
	REQUIRE(edu.cap);
	if (edu.dev->vector)
		msi_disable(edu.dev);
	seen = 0;
}

static void give_back(void)
{
	EXPECT_STR_NULL(edu_set_cpu(0));
}

/* lsi0 in a domain where it finds its program. */
static void borrow_lsi(void)
{
	need_engine("lsi0");
	seen = 0;
}

static void try_own(void *arg)
{
	*(struct arrivals *)arg = try_all(own_msi);
}

static void try_write(void *arg)
{
	*(struct arrivals *)arg = try_all(window_write);
}

static void expect_none(const struct arrivals *a)
{
	EXPECT_EQ(a->n, 0);
	EXPECT_EQ(a->nmi, 0);
	EXPECT(!a->logical && !a->ext);
}

static void expect_only(const struct arrivals *a, unsigned vector)
{
	EXPECT_EQ(a->n, 1);
	EXPECT_EQ(a->last, vector);
	EXPECT_EQ(a->nmi, 0);
	EXPECT(!a->logical && !a->ext);
}

/* ---- what was granted, and nothing else --------------------------------- */

TEST(interrupts, only_the_granted_vector_arrives,
     "of 240 vectors, an NMI, an ExtINT and a logical destination that a "
     "device sends by its own MSI, only the vector that it was granted arrives")
{
	struct arrivals a;

	need_remap();
	borrow_edu();
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	on_cpu(0, try_own, &a);
	expect_only(&a, edu.dev->vector);
	EXPECT_EQ(seen, ALWAYS);
	give_back();
}

TEST(interrupts, without_a_grant_none_arrives,
     "a device that goes on sending after its vector was revoked interrupts no "
     "CPU by any message")
{
	struct arrivals a;

	need_remap();
	borrow_edu();
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	msi_disable(edu.dev);
	on_cpu(0, try_own, &a);
	expect_none(&a);
	EXPECT_EQ(seen, 0);
	give_back();
}

TEST(interrupts, write_to_the_interrupt_range_is_blocked,
     "a device whose domain maps pages of its own interrupts no CPU by a write "
     "to the interrupt address range, whatever it writes")
{
	struct arrivals a;

	need_remap();
	borrow_lsi();
	on_cpu(0, try_write, &a);
	expect_none(&a);
}

static void granted_write(uint32_t source, bool arrives)
{
	struct arrivals a;

	EXPECT_STR_NULL(irq_grant(source, ANY, 0));
	on_cpu(0, try_write, &a);
	irq_revoke(source, ANY);
	if (!arrives) {
		expect_none(&a);
		return;
	}
	EXPECT(a.logical); /* the entry says where to, not the message */
	a.logical = false;
	expect_only(&a, ANY);
}

TEST(interrupts, message_is_checked_by_one_entry,
     "lsi0 can send the one vector that is granted in the device table entry "
     "by which this IOMMU checks it, its own or the IOAPIC's, and no vector of "
     "the other entry")
{
	bool own;

	need_remap();
	borrow_lsi();
	NEED_QUIRK(irte_remaps);
	own = iommu_quirks()->write_by_own_entry;
	granted_write(lsi_at(0)->engine.devid, own);
	granted_write(IRQ_OF_IOAPIC, !own);
}

TEST(interrupts, refused_grant_leaves_nothing,
     "a vector for which the IOMMU has no memory is not granted: no message of "
     "the device arrives, and a later grant lets its own pass")
{
	struct arrivals a;

	need_remap();
	borrow_edu();
	inject_arm(1);
	EXPECT(glob_match("*cannot grant*",
			  msi_enable(edu.dev, 0, count, NULL) ?: ""));
	EXPECT(inject_disarm());
	on_cpu(0, try_own, &a);
	expect_none(&a);
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	on_cpu(0, try_own, &a);
	expect_only(&a, edu.dev->vector);
	give_back();
}

TEST(interrupts, restart_keeps_what_was_granted,
     "after the IOMMU has been shut down and started again it lets the same "
     "vector pass and no other")
{
	struct arrivals a;

	need_remap();
	borrow_edu();
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	EXPECT_STR_NULL(iommu_machine_restart());
	on_cpu(0, try_own, &a);
	expect_only(&a, edu.dev->vector);
	give_back();
}

TEST(interrupts, failed_restart_keeps_the_grants,
     "after a failed restart vectors are still granted and revoked, and the "
     "next restart lets only the vector pass that is granted then")
{
	struct arrivals a;

	need_remap();
	borrow_edu();
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	inject_arm(1);
	EXPECT(glob_match("no memory*", iommu_machine_restart() ?: ""));
	EXPECT(inject_disarm());
	msi_disable(edu.dev);
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	REQUIRE(!iommu_machine_restart());
	on_cpu(0, try_own, &a);
	expect_only(&a, edu.dev->vector);
	give_back();
}

TEST(interrupts, attach_does_not_change_the_grant,
     "a device interrupts by its granted vector only, before, while and after "
     "it is attached to a domain")
{
	struct arrivals in, out;
	struct domain *d;

	need_remap();
	borrow_edu();
	EXPECT_STR_NULL(msi_enable(edu.dev, 0, count, NULL));
	d = domain_create(iommu_machine());
	REQUIRE(d && !domain_attach(d, edu.dev->devid, 0));
	on_cpu(0, try_own, &in);
	REQUIRE(!domain_detach(d, edu.dev->devid));
	on_cpu(0, try_own, &out);
	expect_only(&in, edu.dev->vector);
	expect_only(&out, edu.dev->vector);
	domain_destroy(d);
	give_back();
}

/* ---- to which CPU ------------------------------------------------------- */

static unsigned seen_on[MAX_CPUS];

static void count_here(void *arg)
{
	(void)arg;
	WRITE_ONCE(seen_on[cpu_id()], seen_on[cpu_id()] + 1);
}

/* Names every local APIC in turn, then all at once. */
static void name_all(void *arg)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		own_msi(to(cpus[i].lapic_id), edu.dev->vector);
	own_msi(to(0xff), edu.dev->vector);
	*(unsigned *)arg = cpu_count() + 1;
}

TEST_SMP(interrupts, message_arrives_at_the_granted_cpu,
	 "a message arrives once, at the CPU that was granted, whichever CPU "
	 "it names",
	 2)
{
	unsigned last = cpu_count() - 1, sent = 0;

	need_remap();
	borrow_edu();
	for (unsigned i = 0; i < cpu_count(); i++)
		seen_on[i] = 0;
	EXPECT_STR_NULL(msi_enable(edu.dev, last, count_here, NULL));
	on_cpu(last, name_all, &sent);
	msi_disable(edu.dev);
	for (unsigned i = 0; i < cpu_count(); i++)
		EXPECT_EQ(seen_on[i], i == last ? sent : 0);
	give_back();
}

/* ---- the test can fail --------------------------------------------------- */

static void set_word(struct iommu *iommu, uint16_t devid, uint64_t word)
{
	const struct command c[] = {
		command_invalidate_devtab_entry(devid),
		command_invalidate_interrupt_table(devid),
	};

	rw_write_lock(&iommu->lock);
	WRITE_ONCE(iommu->table[devid].w[2], word);
	rw_write_unlock(&iommu->lock);
	REQUIRE(!queue_run(&iommu->queue, c, ARRAY_SIZE(c)));
}

static void without(uint16_t devid, void (*try)(void *arg))
{
	struct iommu *iommu = need_remap();
	struct arrivals a;
	uint64_t word;

	rw_read_lock(&iommu->lock);
	word = remap_word(iommu, devid);
	rw_read_unlock(&iommu->lock);
	set_word(iommu, devid, 0);
	on_cpu(0, try, &a);
	set_word(iommu, devid, word);
	EXPECT_EQ(a.n, VECTORS);
	EXPECT_EQ(a.nmi, 1);
	EXPECT(a.logical);
}

TEST(interrupts, all_arrive_where_no_entry_stops_them,
     "with IV = 0 in its device table entry the same device can send 240 "
     "vectors, an NMI, and a message to a logical destination")
{
	need_remap();
	borrow_edu();
	without(edu.dev->devid, try_own);
	give_back();
	borrow_lsi();
	without(iommu_quirks()->write_by_own_entry ? lsi_at(0)->engine.devid
						   : iommu_machine()->ioapic,
		try_write);
}
