/* SPDX-License-Identifier: MIT */
/*
 * unit_iommu.c - an IOMMU's life: start, deny, forget, serve its logs, stop
 */
#include "iommu/pt_amdv1.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/driver.h"

#define DEV    8
#define DOMAIN 7
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

TEST(iommu, starts_with_everybody_denied,
     "of 65,536 devices none reads or writes a word, whatever the address")
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

/* Entry 0 of a fresh table leads to `to`, of the level below. */
static pa_t table_to(struct driver *v, pa_t to, unsigned next_level)
{
	struct page *table = driver_page(v, 0);
	uint64_t *slot = page_va(table);

	*slot = to | AMDV1_PR | AMDV1_IR | AMDV1_IW |
		FIELD_PREP(AMDV1_NEXT_LEVEL, next_level);
	return page_pa(table);
}

/* Before us the device was let read the page at 0; returns the root. */
static pa_t predecessor(struct driver *v, struct page *page)
{
	struct page *devices = driver_page(v, 0);
	struct dte *dte = page_va(devices);
	pa_t root = page_pa(page);

	for (unsigned next = 0; next < 3; next++)
		root = table_to(v, root, next);
	dte[DEV] = dte_translate(root, 3, DOMAIN);
	reg_write(&v->port, REG_DEV_TABLE_BASE, page_pa(devices));
	reg_write(&v->port, REG_CONTROL, CONTROL_IOMMU_EN);
	EXPECT_EQ(driver_read(v, DEV, 0), 'A');
	reg_write(&v->port, REG_CONTROL, 0);
	return root;
}

static void forgets(uint64_t efr, uint64_t commands)
{
	struct driver *v = driver_open_off(&(struct model_config){
		.efr = efr, .iotlb = 64, .directories = 64 });
	struct page *page = driver_page(v, 'A');
	pa_t root = predecessor(v, page);
	struct model_stats stats;

	EXPECT(model_names_frame(v->m, page_pa(page), NULL, 0));
	EXPECT(model_names_table(v->m, root, NULL, 0));
	REQUIRE(!driver_start(v));
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.fetched - stats.commands[COMPLETION_WAIT], commands);
	EXPECT(!model_names_frame(v->m, page_pa(page), NULL, 0));
	EXPECT(!model_names_table(v->m, root, NULL, 0));
	EXPECT_EQ(driver_read(v, DEV, 0), 0);
	EXPECT(!driver_write(v, DEV, 0, 'X'));
	driver_close(v);
}

TEST(iommu, forgets_what_an_earlier_driver_left,
     "what was cached before the start is gone after it, by one command where "
     "the IOMMU has it, else one by one for 65,536 devices and domains")
{
	forgets(MODEL_EFR, 1);
	forgets(MODEL_EFR & ~EFR_IA, 2 * DEVIDS);
}

/*
 * What a device gets between two registers of a start: IOVA 0 is what the
 * predecessor let it read, and the IOMMU still caches.
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

TEST(iommu, no_register_of_a_start_lets_a_device_in,
     "between any two registers of a start a device reaches nothing from the "
     "moment the IOMMU is on; what it caches of an earlier driver's, until "
     "the start has returned")
{
	struct driver *v = driver_open_off(NULL);

	memset(&met, 0, sizeof(met));
	met.page = driver_page(v, 'A');
	met.other = driver_page(v, 'B');
	predecessor(v, met.page);
	v->between = look;
	REQUIRE(!driver_start(v));
	v->between = NULL;
	EXPECT(met.off >= 10); /* so that nobody may be a bus master */
	EXPECT(met.on >= 3);
	EXPECT(met.stale > 0 && met.stale <= met.on);
	EXPECT_EQ(met.strange, 0);
	EXPECT_EQ(driver_read(v, DEV, 0), 0);
	EXPECT_EQ(driver_read(v, DEV, page_pa(met.other)), 0);
	driver_close(v);
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

TEST(iommu, fifty_lives,
     "started, used and stopped fifty times it leaves nothing behind")
{
	/* What it left is seen by the oracle of leaks. */
	for (unsigned i = 0; i < 50; i++)
		live_once(i);
}

TEST(iommu, stopped_is_off,
     "after the stop all that was enabled is disabled, and no memory is "
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
     "each allocation of the start fails once: it says so, is off, and keeps "
     "nothing")
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
     "an IOMMU that takes no command: -ETIMEDOUT, off, nothing kept")
{
	struct driver *v = driver_open_off(
		&(struct model_config){ .mode = MODEL_STOPPED });

	driver_hush_hung(v);
	EXPECT_EQ(driver_start(v), -ETIMEDOUT);
	driver_speak();
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	/* Had it kept a promise to write, the oracle of free frames saw it. */
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 100);
	driver_close_off(v);
}

TEST(iommu, memory_of_what_does_not_stop_is_kept,
     "an IOMMU that has fetched commands and does not end them, switched off "
     "or "
     "not, keeps the memory that it will write")
{
	struct driver *v = driver_open_off(&(struct model_config){
		.mode = MODEL_DELAYED, .delay = UINT32_MAX });
	struct iommu *iommu = &v->iommu;
	uint64_t *done;

	driver_hush_hung(v);
	EXPECT_EQ(driver_start(v), -ETIMEDOUT);
	driver_speak();
	EXPECT_EQ(reg_read(&v->port, REG_CONTROL), 0);
	REQUIRE(iommu->queue.done_page);
	EXPECT_EQ(page_kind(iommu->queue.done_page), PAGE_IOMMU);
	done = page_va(iommu->queue.done_page);
	EXPECT_EQ(*done, 0);
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	model_step(v->m, 1);
	EXPECT_EQ(*done, 1);

	/* It has stopped now: what the driver must keep a test may free. */
	queue_stop(&iommu->queue);
	log_stop(&iommu->events);
	log_stop(&iommu->requests);
	page_put(iommu->table_pages);
	page_put(iommu->ids_pages);
	page_put(iommu->empty);
	driver_close_off(v);
}

/* ---- logs -------------------------------------------------------------- */

/* The device may send page requests, though no domain is behind it. */
static void let_ask(struct driver *v, bool may)
{
	struct dte dte = iommu_deny(&v->iommu);

	if (may)
		dte.w[0] |= DTE0_PPR;
	REQUIRE(!iommu_set_dte(&v->iommu, DEV, dte, 0));
}

/* Three requests, the last of which wants an answer; until it is logged. */
static void ask(struct driver *v, uint16_t tag)
{
	for (unsigned i = 0; i < 3; i++) {
		struct model_ppr ppr = { .devid = DEV,
					 .tag = tag,
					 .read = true,
					 .last = i == 2,
					 .iova = IOVA + i * PAGE_SIZE };

		while (!model_page_request(v->m, &ppr))
			iommu_settle(&v->iommu);
	}
}

TEST(iommu, nobody_serves_requests,
     "with no handler each group is answered INVALID, once, at its last "
     "request; also when the log overflows and entries come late")
{
	struct driver *v = driver_open(
		&(struct model_config){ .mode = MODEL_SHUFFLED, .delay = 1 });

	let_ask(v, true);
	model_set_log_delay(v->m, 5);
	for (uint16_t tag = 0; tag < 200; tag++)
		ask(v, tag);
	iommu_settle(&v->iommu);
	EXPECT_EQ(model_unanswered(v->m), 0);
	for (unsigned tag = 0; tag < 512; tag++)
		for (unsigned s = 0; s < 16; s++)
			EXPECT_EQ(v->answers[tag][s],
				  s == PPR_INVALID && tag < 200);
	EXPECT(v->iommu.requests.entries >= 600);
	let_ask(v, false);
	driver_close(v);
}

static struct {
	unsigned events, wrong;
} seen;

static void count_event(const struct log_entry *entry, void *arg)
{
	if (FIELD_GET(LOG0_TYPE, entry->w[0]) != IO_PAGE_FAULT ||
	    FIELD_GET(EVENT0_DEVID, entry->w[0]) != DEV ||
	    (entry->w[1] & CMD1_ADDRESS) != IOVA + seen.events * PAGE_SIZE)
		seen.wrong++;
	seen.events++;
}

TEST(iommu, events_reach_their_handler,
     "each refused access is told once, in order, with its address, by the "
     "interrupt alone")
{
	struct driver *v = driver_open(NULL);

	seen.events = seen.wrong = 0;
	iommu_set_handlers(&v->iommu, count_event, NULL, NULL, v);
	for (unsigned i = 0; i < 100; i++)
		driver_read(v, DEV, IOVA + i * PAGE_SIZE);
	while (v->iommu.events.entries < 100)
		yield();
	iommu_settle(&v->iommu);
	EXPECT_EQ(seen.events, 100);
	EXPECT_EQ(seen.wrong, 0);
	driver_close(v);
}

#define FLOOD 2000u

/* Each event makes another, as long as the device waits for its answer. */
static void answer_an_event_by_another(const struct log_entry *entry, void *arg)
{
	struct driver *v = arg;

	if (++seen.events < FLOOD && model_unanswered(v->m))
		driver_read(v, DEV, IOVA);
}

TEST(iommu, flood_of_one_log_does_not_stop_the_other,
     "a device that makes an event of every event keeps nobody from the page "
     "requests")
{
	struct driver *v = driver_open(NULL);

	seen.events = 0;
	let_ask(v, true);
	iommu_set_handlers(&v->iommu, answer_an_event_by_another, NULL, NULL,
			   v);
	/* Both are there before the worker looks. */
	preempt_disable();
	ask(v, 1);
	driver_read(v, DEV, IOVA);
	preempt_enable();
	while (model_unanswered(v->m))
		iommu_settle(&v->iommu);
	iommu_settle(&v->iommu);
	EXPECT(seen.events && seen.events < FLOOD / 10);
	let_ask(v, false);
	driver_close(v);
}
