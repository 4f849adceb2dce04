/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - an IOMMU's life cycle: start, deny, flush, serve its logs, stop
 */
#include "drivers/pci.h"
#include "iommu/hw/irte.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV    8
#define DOMAIN 7
#define VECTOR 0x51u
#define IOVA   UINT64_C(0x40000000)
#define RW     (PROT_R | PROT_W)

static bool denies(const struct iommu *iommu, uint16_t devid)
{
	struct dte is = iommu_get_dte(iommu, devid), deny = iommu_deny(iommu);

	return !memcmp(&is, &deny, sizeof(deny));
}

static unsigned not_denied(const struct iommu *iommu)
{
	unsigned n = 0;

	for (unsigned devid = 0; devid < DEVIDS; devid++)
		n += !denies(iommu, (uint16_t)devid);
	return n;
}

TEST(iommu, starts_with_all_devices_denied,
     "after a start none of 65,536 devices reads or writes a word at any "
     "address")
{
	struct driver *v = driver_open(NULL);
	struct page *page = driver_page(v, 'A');
	struct rng rng = rng_seed(test_seed());
	struct model_stats stats;

	EXPECT_EQ(not_denied(&v->iommu), 0);
	for (unsigned i = 0; i < 200; i++) {
		uint16_t devid = (uint16_t)rng_next(&rng);

		EXPECT_EQ(driver_read(v, devid, page_pa(page)), 0);
		EXPECT(!driver_write(v, devid, page_pa(page), 'X'));
	}
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.dma_bytes, 0);
	EXPECT_EQ(stats.walk_freed, 0);
	driver_close(v);
}

/* ---- what an earlier driver left --------------------------------------- */

/* Return a new table whose entry 0 leads to `to`, of the level below. */
static pa_t table_to(struct driver *v, pa_t to, unsigned next_level)
{
	struct page *table = driver_page(v, 0);
	uint64_t *slot = page_va(table);

	*slot = to | AMDV1_PR | AMDV1_IR | AMDV1_IW |
		FIELD_PREP(AMDV1_NEXT_LEVEL, next_level);
	return page_pa(table);
}

/* Send the message that an earlier driver allowed the device. */
static bool interrupts(struct driver *v)
{
	return model_message(v->m, DEV,
			     (struct model_message){ 0xfee00000, VECTOR },
			     NULL) == MODEL_DONE;
}

/*
 * An earlier driver let the device read the page at 0, and send an interrupt;
 * returns the root.
 */
static pa_t predecessor(struct driver *v, struct page *page)
{
	struct page *devices = driver_page(v, 0), *table = driver_page(v, 0);
	struct irte_32 *irtes = page_va(table);
	struct dte *dte = page_va(devices);
	pa_t root = page_pa(page);

	for (unsigned next = 0; next < 3; next++)
		root = table_to(v, root, next);
	dte[DEV] = dte_translate(root, 3, DOMAIN);
	dte[DEV].w[2] = dte_remap_interrupts(page_pa(table), 8);
	irtes[VECTOR] = irte_32_fixed(VECTOR, 0);
	reg_write(&v->port, REG_DEV_TABLE_BASE, page_pa(devices));
	reg_write(&v->port, REG_CONTROL, CONTROL_IOMMU_EN);
	EXPECT_EQ(driver_read(v, DEV, 0), 'A');
	EXPECT(interrupts(v));
	reg_write(&v->port, REG_CONTROL, 0);
	return root;
}

static void expect_flushed(const struct model_config *config, uint8_t last_bus,
			   uint64_t commands)
{
	struct driver *v = driver_open_off(config);
	struct page *page = driver_page(v, 'A');
	pa_t root = predecessor(v, page);
	struct irq_grant other = { DEV, VECTOR + 1, 0 };
	struct model_stats stats;

	EXPECT(model_names_frame(v->m, page_pa(page), NULL, 0));
	EXPECT(model_names_table(v->m, root, NULL, 0));
	REQUIRE(!driver_start_as(v,
				 &(struct iommu_config){ .last_bus = last_bus,
							 .remaps = true,
							 .grants = &other,
							 .n_grants = 1 }));
	EXPECT(!interrupts(v));
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.fetched - stats.commands[COMPLETION_WAIT], commands);
	EXPECT(!model_names_frame(v->m, page_pa(page), NULL, 0));
	EXPECT(!model_names_table(v->m, root, NULL, 0));
	EXPECT_EQ(driver_read(v, DEV, 0), 0);
	EXPECT(!driver_write(v, DEV, 0, 'X'));
	driver_close(v);
}

TEST(iommu, start_flushes_every_cache,
     "a start flushes everything that was cached: by INVALIDATE_IOMMU_ALL and "
     "one command for each function of each bus, else one by one for 65,536 "
     "devices and domains")
{
	struct model_config config = { .iotlb = 64, .directories = 64 };

	expect_flushed(&config, 0, 1 + PCI_FUNCTIONS);
	config.all_keeps_dtes = true;
	expect_flushed(&config, 2, 1 + 3 * PCI_FUNCTIONS);
	config.all_keeps_dtes = false;
	config.efr = MODEL_EFR & ~EFR_IA;
	expect_flushed(&config, 0, 3 * DEVIDS);
}

/*
 * What a device reaches between two registers of a start.  The earlier driver
 * let it read IOVA 0, and the IOMMU still caches that.
 */
static struct {
	struct page *page, *other;
	unsigned off, on, stale, strange;
} met;

static void look(struct driver *v)
{
	bool on = reg_read(&v->port, REG_CONTROL) & CONTROL_IOMMU_EN;
	bool other = driver_read(v, DEV, page_pa(met.other)) == 'B';

	if (!on) {
		met.off += other;
		return;
	}
	met.on++;
	met.stale += driver_read(v, DEV, 0) == 'A';
	met.strange += other;
	met.strange += driver_read(v, DEV + 1, page_pa(met.other)) == 'B';
}

TEST(iommu, no_device_gets_in_during_a_start,
     "during a start a device reaches nothing once the IOMMU is on, except "
     "cached translations of an earlier driver until the start returns")
{
	struct driver *v = driver_open_off(NULL);

	memset(&met, 0, sizeof(met));
	met.page = driver_page(v, 'A');
	met.other = driver_page(v, 'B');
	predecessor(v, met.page);
	v->between = look;
	REQUIRE(!driver_start(v));
	v->between = NULL;
	EXPECT(met.off >= 10); /* while no device may be a bus master */
	EXPECT(met.on >= 3);
	EXPECT(met.stale > 0 && met.stale <= met.on);
	EXPECT_EQ(met.strange, 0);
	EXPECT_EQ(driver_read(v, DEV, 0), 0);
	EXPECT_EQ(driver_read(v, DEV, page_pa(met.other)), 0);
	driver_close(v);
}

/*
 * Let device DEV, or all, reach [base, base + 2 pages) untranslated, as
 * firmware might.
 */
static void exclude(struct driver *v, pa_t base, uint64_t bits)
{
	reg_write(&v->port, REG_EXCL_LIMIT, base + PAGE_SIZE);
	reg_write(&v->port, REG_EXCL_BASE, base | bits);
}

TEST(iommu, exclusion_range_of_firmware_is_off,
     "after a start no device passes through an exclusion range that firmware "
     "had opened for all devices")
{
	struct driver *v = driver_open_off(NULL);
	struct page *page = driver_page(v, 'A');
	pa_t pa = page_pa(page);

	exclude(v, pa, EXCL_EN | EXCL_ALLOW);
	predecessor(v, page);
	reg_write(&v->port, REG_CONTROL, CONTROL_IOMMU_EN);
	EXPECT_EQ(driver_read(v, DEV + 1, pa), 'A');
	reg_write(&v->port, REG_CONTROL, 0);
	REQUIRE(!driver_start(v));
	EXPECT_EQ(reg_read(&v->port, REG_EXCL_BASE), 0);
	EXPECT_EQ(reg_read(&v->port, REG_EXCL_LIMIT), 0);
	for (uint16_t devid = DEV; devid < DEV + 3; devid++) {
		EXPECT_EQ(driver_read(v, devid, pa), 0);
		EXPECT(!driver_write(v, devid, pa, 'X'));
	}
	driver_close(v);
}

TEST(iommu, exclusion_range_of_this_machine_is_off,
     "the machine's own exclusion registers are 0, whatever firmware left in "
     "them (tools/planted leaves something)")
{
	struct iommu *iommu = iommu_machine();

	if (!iommu)
		SKIP("this machine has no IOMMU");
	EXPECT_EQ(reg_read(&iommu->port, REG_EXCL_BASE), 0);
	EXPECT_EQ(reg_read(&iommu->port, REG_EXCL_LIMIT), 0);
}

/* A register that rejects the driver's write. */
static void exclude_again(struct driver *v)
{
	if (!(reg_read(&v->port, REG_CONTROL) & CONTROL_IOMMU_EN))
		exclude(v, 0, EXCL_EN);
}

TEST(iommu, exclusion_range_that_stays_is_refused,
     "an IOMMU whose exclusion range cannot be switched off is not started: "
     "-EPERM, a message, nothing kept")
{
	struct driver *v = driver_open_off(NULL);

	v->between = exclude_again;
	capture_begin();
	EXPECT_EQ(driver_start(v), -EPERM);
	capture_end();
	v->between = NULL;
	EXPECT(glob_match("*exclusion range*cannot be switched off*",
			  captured));
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	driver_close_off(v);
}

/* ---- start and stop ---------------------------------------------------- */

static void live_once(unsigned round)
{
	struct driver *v = driver_open(&(struct model_config){
		.mode = round % 2 ? MODEL_SHUFFLED : MODEL_IMMEDIATE });
	struct page *page = driver_page(v, 'A');
	struct domain *d = domain_create(&v->iommu);

	REQUIRE(d && !domain_map(d, IOVA, page_pa(page), PAGE_SIZE, RW));
	REQUIRE(!domain_attach(d, DEV, 0));
	EXPECT_EQ(driver_read(v, DEV, IOVA), 'A');
	EXPECT_EQ(driver_read(v, DEV + 1, IOVA), 0);
	REQUIRE(!domain_detach(d, DEV));
	domain_destroy(d);
	driver_close(v);
}

TEST(iommu, fifty_starts_leak_nothing,
     "fifty starts, uses and stops leak nothing")
{
	/* The leak checker finds what it left. */
	for (unsigned i = 0; i < 50; i++)
		live_once(i);
}

TEST(iommu, stopped_is_off,
     "after a stop everything that was enabled is disabled, and no memory is "
     "written")
{
	struct driver *v = driver_open(NULL);

	EXPECT(reg_read(&v->port, REG_CONTROL) & CONTROL_IOMMU_EN);
	iommu_stop(&v->iommu);
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	EXPECT_EQ(reg_read(&v->port, REG_STATUS), 0);
	model_log_event(v->m, FIELD_PREP(LOG0_TYPE, IO_PAGE_FAULT), 0);
	driver_close_off(v);
}

TEST(iommu, start_without_memory,
     "a start without memory fails, leaves the IOMMU off and keeps nothing, "
     "whichever allocation fails")
{
	struct driver *v = driver_open_off(NULL);
	unsigned failures = 0;

	for (unsigned n = 1;; n++) {
		int error;

		inject_arm(n);
		error = driver_start(v);
		if (!inject_disarm()) {
			EXPECT_EQ(error, 0);
			break;
		}
		EXPECT_EQ(error, -ENOMEM);
		EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
		failures++;
	}
	EXPECT(failures >= 7);
	driver_close(v);
}

/* ---- hardware that does not answer ------------------------------------- */

TEST(iommu, start_on_hung_hardware,
     "a start of an IOMMU that takes no command returns -ETIMEDOUT, leaves it "
     "off and keeps nothing")
{
	struct driver *v = driver_open_off(
		&(struct model_config){ .mode = MODEL_STOPPED });

	driver_capture_hung(v);
	EXPECT_EQ(driver_start(v), -ETIMEDOUT);
	driver_capture_end();
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	/* The checker of free frames would see a late write. */
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 100);
	driver_close_off(v);
}

TEST(iommu, memory_of_a_hung_iommu_is_kept,
     "memory that an IOMMU with unfinished commands will still write is kept, "
     "whether it is off or not")
{
	struct driver *v = driver_open_off(&(struct model_config){
		.mode = MODEL_DELAYED, .delay = UINT32_MAX });
	struct iommu *iommu = &v->iommu;
	uint64_t *done;

	driver_capture_hung(v);
	EXPECT_EQ(driver_start(v), -ETIMEDOUT);
	driver_capture_end();
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	REQUIRE(iommu->queue.done_page);
	EXPECT_EQ(page_kind(iommu->queue.done_page), PAGE_IOMMU);
	done = page_va(iommu->queue.done_page);
	EXPECT_EQ(*done, 0);
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 1);
	EXPECT_EQ(*done, 1);

	/* It has stopped now: a test may free what the driver must keep. */
	queue_stop(&iommu->queue);
	log_stop(&iommu->events);
	log_stop(&iommu->requests);
	page_put(iommu->table_pages);
	page_put(iommu->ids_pages);
	page_put(iommu->empty);
	driver_close_off(v);
}

/* ---- registers that keep what they had --------------------------------- */

static struct {
	struct iommu_port real;
	unsigned locked; /* the register                                    */
} firmware;

static uint64_t kept_read(void *ctx, unsigned reg)
{
	return reg_read(&firmware.real, reg);
}

static void kept_write(void *ctx, unsigned reg, uint64_t value)
{
	if (reg != firmware.locked)
		reg_write(&firmware.real, reg, value);
}

static void start_with_locked(unsigned reg)
{
	struct driver *v = driver_open_off(NULL);
	struct iommu_port port = {
		"locked", kept_read, kept_write, NULL, 0, 0
	};
	struct page *page = driver_page(v, 'A');
	int error;

	predecessor(v, page);
	firmware.real = v->port;
	firmware.locked = reg;
	capture_begin();
	error = iommu_start(&v->iommu, &port, &(struct iommu_config){ 0 });
	capture_end();
	EXPECT_EQ(error, -EIO);
	EXPECT(glob_match("*locked: register * keeps *", captured));
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	if (!error)
		iommu_stop(&v->iommu);
	v->complaints_expected = true;
	driver_close_off(v);
}

TEST(iommu, locked_base_register_is_noticed,
     "a start whose device table, ring or log the IOMMU does not accept is "
     "refused with a message, and the IOMMU stays off")
{
	start_with_locked(REG_DEV_TABLE_BASE);
	start_with_locked(REG_CMD_BASE);
	start_with_locked(REG_EVENT_BASE);
	start_with_locked(REG_PPR_BASE);
}

TEST(iommu, missing_request_log_is_left_alone,
     "an IOMMU without a page request log starts, whatever those registers "
     "read")
{
	struct driver *v = driver_open_off(
		&(struct model_config){ .efr = MODEL_EFR & ~EFR_PPR });
	struct iommu_port port = {
		"no PPR", kept_read, kept_write, NULL, 0, 0
	};

	firmware.real = v->port;
	firmware.locked = REG_PPR_BASE;
	REQUIRE(!iommu_start(&v->iommu, &port, &(struct iommu_config){ 0 }));
	driver_read(v, DEV, IOVA);
	iommu_settle(&v->iommu);
	EXPECT_EQ(v->iommu.events.entries, 1);
	iommu_stop(&v->iommu);
	driver_close_off(v);
}
