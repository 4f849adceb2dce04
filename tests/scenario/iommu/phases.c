/* SPDX-License-Identifier: MIT */
/*
 * phases.c - denied at every moment: before, between and after
 *
 * edu is the hostile one here: it needs no program, so it can try even where it
 * reaches nothing at all.
 */
#include "arch/layout.h"
#include "drivers/edu.h"
#include "drivers/lsi.h"
#include "drivers/pci.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/iommu/iommu_fixture.h"

/* Its transfers are refused in this test. */
static struct iommu *refused_edu(void)
{
	struct iommu *iommu = need_edu();

	events_refused(edu_devid());
	return iommu;
}

/* What edu finds at an address: 0 if it was refused. */
static uint64_t edu_peek(iova_t bus, struct page *back, iova_t back_bus)
{
	REQUIRE(!edu_start(EDU_TAKE, bus, 0, 8) && !edu_wait());
	fixture_fill(back, 'c');
	REQUIRE(!edu_start(EDU_GIVE, back_bus, 0, 8) && !edu_wait());
	return fixture_word(back);
}

static void edu_poke(iova_t bus)
{
	REQUIRE(!edu_start(EDU_GIVE, bus, 0, 8) && !edu_wait());
}

/* Tags: 'A' may be in edu's own memory from another test, 'P' never is. */
TEST(phases, edu_denied_changes_nothing,
     "a device without a domain writes to no page, whatever the page is used "
     "for")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = refused_edu();
	struct page *page = fixture_page(&s, 'P');
	const pa_t victim[] = {
		page_pa(page),
		(pa_t)rodata_start - KERNEL_BASE,
		page_pa(iommu->table_pages) + edu_devid() * sizeof(struct dte),
		page_pa(iommu->queue.pages),
		page_pa(iommu->empty),
	};

	for (unsigned i = 0; i < ARRAY_SIZE(victim); i++) {
		uint64_t *word = phys_to_virt(victim[i]), before;

		before = READ_ONCE(*word);
		edu_poke(victim[i]);
		EXPECT_EQ(READ_ONCE(*word), before);
	}
	page_put(page);
}

TEST(phases, edu_reaches_its_domain_only,
     "edu reads what its domain maps, and zeros everywhere else")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = refused_edu();
	struct page *page = fixture_page(&s, 'A'),
		    *back = fixture_page(&s, 'B');
	struct domain *d = domain_create(iommu);

	REQUIRE(d);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, PROT_R));
	REQUIRE(!domain_map(d, IO(1), page_pa(back), PAGE_SIZE, PROT_W));
	REQUIRE(!domain_attach(d, edu_devid(), 0));
	EXPECT_EQ(edu_peek(IO(0), back, IO(1)), 'A');
	EXPECT_EQ(edu_peek(page_pa(page), back, IO(1)), 0);
	EXPECT_EQ(edu_peek(IO(1), back, IO(1)), 0); /* write-only */
	edu_poke(IO(0));
	EXPECT_EQ(fixture_word(page), 'A');

	REQUIRE(!domain_unmap(d, IO(1), IO(2)));
	EXPECT_EQ(edu_peek(IO(0), back, IO(1)), 'c'); /* gave back in vain */
	REQUIRE(!domain_detach(d, edu_devid()));
	domain_destroy(d);
	page_put(page);
	page_put(back);
}

TEST(phases, unmap_stops_a_transfer_under_way,
     "a transfer that was started before an unmap moves no byte after it (C42)")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = refused_edu();
	struct page *page = fixture_page(&s, 'A');
	struct domain *d = domain_create(iommu);

	REQUIRE(d);
	REQUIRE(!domain_map(d, IO(0), page_pa(page), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_attach(d, edu_devid(), 0));
	edu_poke(IO(0));
	fixture_fill(page, 'B');
	REQUIRE(!edu_start(EDU_GIVE, IO(0), 0, 8));
	REQUIRE(!domain_unmap(d, IO(0), IO(1)));
	fixture_fill(page, 'S'); /* it has another owner now */
	REQUIRE(!edu_wait());

	EXPECT_EQ(fixture_word(page), 'S');
	REQUIRE(!domain_detach(d, edu_devid()));
	domain_destroy(d);
	page_put(page);
}

static void expect_silent(uint16_t devid, void *unused)
{
	if (pci_ports.read(devid, PCI_COMMAND, 2) & PCI_COMMAND_MASTER)
		test_fail(__FILE__, __LINE__, "%02x:%02x.%x is a bus master",
			  devid >> 8, devid >> 3 & 31, devid & 7u);
}

TEST(phases, only_driven_devices_master_the_bus,
     "no function of any bus may master the bus unless a driver drives it")
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		EXPECT(dev->driver || !pci_is_master(dev));
	pci_walk(1, expect_silent, NULL);
}

TEST(phases, restart_denies_again,
     "after the IOMMU has been shut down and started again it denies as before")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct page *page;

	refused_edu();
	page = fixture_page(&s, 'P');
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_STR_NULL(iommu_machine_restart());
		edu_poke(page_pa(page));
		EXPECT_EQ(fixture_word(page), 'P');
	}
	page_put(page);
}

/* ---- between any two registers of a restart ---------------------------- */

/*
 * Before each access to a register, and once more at the end, another CPU makes
 * lsi0 a bus master and lets it try a DMA.
 */
static struct {
	struct iommu_port real;
	struct thread *restarter; /* its accesses are tapped               */
	struct page *page;        /* NULL: no more                         */
	_Atomic unsigned asked, answered;
	bool on;                           /* the IOMMU                    */
	unsigned masters;                  /* seen before it tried         */
	unsigned tried[2], got_through[2]; /* while off, while on          */
} moment;

/* It takes a word of the page, and leaves one there; did either arrive? */
static bool gets_through(struct lsi *lsi)
{
	const struct dma_own *own = &lsi->engine.own;
	uint64_t *stage = (uint64_t *)(own->va + DMA_STAGE);
	pa_t pa = page_pa(moment.page);
	const struct lsi_insn program[] = {
		lsi_move(own->bus + DMA_STAGE, pa, 8),
		lsi_move(pa, own->bus + DMA_STAGE + 8, 8),
		lsi_interrupt(0),
	};
	uint32_t tag;
	bool ran;

	stage[0] = 0;
	stage[1] = 'M';
	ran = !lsi_start(lsi, LSI_IN_MEMORY, program, ARRAY_SIZE(program)) &&
	      !lsi_poll(lsi, &tag);
	if (!ran)
		lsi_stop(lsi); /* it has not found its program */
	return READ_ONCE(stage[0]) == 'S' || fixture_word(moment.page) != 'S';
}

static void try_now(void)
{
	struct lsi *lsi = lsi_at(0);
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		moment.masters += pci_is_master(dev);
	pci_set_master(lsi->dev, true);
	moment.tried[moment.on]++;
	moment.got_through[moment.on] += gets_through(lsi);
	pci_set_master(lsi->dev, false);
	fixture_fill(moment.page, 'S');
}

static void hammer(void *arg)
{
	for (unsigned n = 1;; n++) {
		while (atomic_load(&moment.asked) < n)
			cpu_pause();
		if (!moment.page)
			return;
		try_now();
		atomic_store(&moment.answered, n);
	}
}

static void have_it_try(void)
{
	unsigned n = atomic_fetch_add(&moment.asked, 1) + 1;

	while (atomic_load(&moment.answered) < n)
		cpu_pause();
}

/*
 * The IOMMU's thread looks at registers too, the new one before iommu->threads
 * names it: a try that it asked for after the last one has no answer.
 */
static bool restarts(void)
{
	return current() == moment.restarter;
}

static uint64_t tried_read(void *ctx, unsigned reg)
{
	if (restarts())
		have_it_try();
	return moment.real.read(ctx, reg);
}

static void tried_write(void *ctx, unsigned reg, uint64_t value)
{
	if (restarts())
		have_it_try();
	moment.real.write(ctx, reg, value);
	if (reg == REG_CONTROL)
		moment.on = value & CONTROL_IOMMU_EN;
}

/* Again, with a try at each of its registers; what it said. */
static const char *tried_restart(struct iommu *iommu)
{
	const char *why;

	moment.restarter = current();
	moment.real = iommu->port;
	moment.on = true;
	iommu->port.read = tried_read;
	iommu->port.write = tried_write;
	why = iommu_machine_restart();
	iommu->port = moment.real;
	return why;
}

TEST_SMP(phases, no_step_of_a_restart_lets_a_device_master,
	 "between any two register writes of a restart no device may master "
	 "the bus, and one that does is blocked as long as the IOMMU is on",
	 2)
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = iommu_machine();
	struct page *page;
	struct thread *other;

	if (!iommu || !lsi_at(0))
		SKIP("this machine has no IOMMU, or no lsi0");
	memset(&moment, 0, sizeof(moment));
	moment.page = page = fixture_page(&s, 'S');
	events_refused(lsi_at(0)->engine.devid);
	other = thread_create_on(BIT(cpu_id() ? 0 : 1), "hammer", hammer, NULL);
	REQUIRE(other);
	EXPECT_STR_NULL(tried_restart(iommu));
	moment.page = NULL;
	atomic_fetch_add(&moment.asked, 1);
	thread_join(other);
	/* Once more: the checker has missed what was logged during the start. */
	moment.page = page;
	EXPECT(!gets_through(lsi_at(0)));
	page_put(page);

	EXPECT_EQ(moment.masters, 0);
	EXPECT_EQ(moment.got_through[true], 0);
	EXPECT(moment.tried[true] >= 5);
	/* With the IOMMU off each try arrives: clearing bus mastering matters. */
	EXPECT_EQ(moment.got_through[false], moment.tried[false]);
	EXPECT(moment.tried[false] >= 15);
}

TEST(phases, write_arrives_when_the_iommu_is_off,
     "the same write of a device arrives when the IOMMU is off, so the test "
     "can fail")
{
	struct iommu_fixture s = { .kind = "qemu" };
	struct iommu *iommu = refused_edu();
	struct page *page = fixture_page(&s, 'P');
	uint64_t control;

	control = reg_read(&iommu->port, REG_CONTROL);
	reg_write(&iommu->port, REG_CONTROL, control & ~CONTROL_IOMMU_EN);
	edu_poke(page_pa(page));
	reg_write(&iommu->port, REG_CONTROL, control);

	EXPECT(fixture_word(page) != 'P');
	fixture_fill(page, 'P');
	edu_poke(page_pa(page));
	EXPECT_EQ(fixture_word(page), 'P');
	page_put(page);
}
