/* SPDX-License-Identifier: MIT */
/*
 * iommu_logs.c - an IOMMU's threads hand events and page requests to handlers
 */
#include "kernel/string.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV  8
#define IOVA UINT64_C(0x40000000)

/* At the first register of a stop, when the logs are no longer read. */
static void fault_once(struct driver *v)
{
	v->between = NULL;
	driver_read(v, DEV, IOVA);
}

TEST(iommu, restart_with_a_pending_event,
     "an event that is unread when the IOMMU is switched off is gone after "
     "the next start, whose own events are all read")
{
	struct driver *v = driver_open(NULL);

	v->between = fault_once;
	iommu_stop(&v->iommu);
	EXPECT(reg_read(&v->port, REG_STATUS) & STATUS_EVENT_INT);
	REQUIRE(!driver_start(v));
	EXPECT(!(reg_read(&v->port, REG_STATUS) & STATUS_EVENT_INT));
	driver_read(v, DEV, IOVA);
	iommu_settle(&v->iommu);
	EXPECT_EQ(v->iommu.events.entries, 1);
	EXPECT_EQ(v->iommu.events.lost, 0);
	driver_close(v);
}

/* Allow the device page requests, although it has no domain. */
static void let_ask(struct driver *v, bool may)
{
	struct dte dte = iommu_deny(&v->iommu);

	if (may)
		dte.w[0] |= DTE0_PPR;
	REQUIRE(!iommu_set_dte(&v->iommu, DEV, dte, 0, true));
}

/*
 * Send three requests, the last of which requires an answer; until it is
 * logged.
 */
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

TEST(iommu, unserved_requests_get_invalid,
     "without a handler each group is answered INVALID once, at its last "
     "request, also when the log overflows and entries are late")
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
     "each refused access is reported once, in order, with its address, by "
     "the interrupt alone")
{
	struct driver *v = driver_open(NULL);

	seen.events = seen.wrong = 0;
	iommu_set_handlers(&v->iommu, count_event, NULL, NULL, v);
	for (unsigned i = 0; i < 100; i++)
		driver_read(v, DEV, IOVA + i * PAGE_SIZE);
	while (READ_ONCE(v->iommu.events.entries) < 100)
		yield();
	iommu_settle(&v->iommu);
	EXPECT_EQ(seen.events, 100);
	EXPECT_EQ(seen.wrong, 0);
	driver_close(v);
}

#define FLOOD 2000u

/* Each event causes another, while the device waits for its answer. */
static void answer_an_event_by_another(const struct log_entry *entry, void *arg)
{
	struct driver *v = arg;

	if (++seen.events < FLOOD && model_unanswered(v->m))
		driver_read(v, DEV, IOVA);
}

TEST(iommu, flood_of_one_log_does_not_stop_the_other,
     "a device whose events cause new events does not block the page request "
     "log")
{
	struct driver *v = driver_open(NULL);

	seen.events = 0;
	let_ask(v, true);
	iommu_set_handlers(&v->iommu, answer_an_event_by_another, NULL, NULL,
			   v);
	/* Both are logged before a thread looks. */
	rw_write_lock(&v->iommu.drain);
	ask(v, 1);
	driver_read(v, DEV, IOVA);
	rw_write_unlock(&v->iommu.drain);
	while (model_unanswered(v->m))
		iommu_settle(&v->iommu);
	iommu_settle(&v->iommu);
	EXPECT(seen.events && seen.events < FLOOD / 10);
	let_ask(v, false);
	driver_close(v);
}

/*
 * The number of restarts of the event log before the first request was served.
 */
static void note_request(const struct log_entry *entry, void *arg)
{
	struct driver *v = arg;

	seen.wrong = (unsigned)v->iommu.events.restarts;
	seen.events++;
}

TEST(iommu, overflow_delays_no_request,
     "an overflowed event log that does not stop is restarted after the "
     "waiting page requests were served")
{
	struct driver *v =
		driver_open(&(struct model_config){ .runs_full = true });
	struct model_ppr ppr = { .devid = DEV, .read = true, .iova = IOVA };

	seen.events = seen.wrong = 0;
	let_ask(v, true);
	iommu_set_handlers(&v->iommu, NULL, note_request, NULL, v);
	/* No thread, on another CPU, must make room meanwhile. */
	rw_write_lock(&v->iommu.drain);
	EXPECT(model_page_request(v->m, &ppr));
	for (unsigned i = 0; i < 300; i++)
		driver_read(v, DEV, IOVA);
	rw_write_unlock(&v->iommu.drain);
	while (!READ_ONCE(v->iommu.events.restarts))
		iommu_settle(&v->iommu);
	EXPECT_EQ(seen.events, 1);
	EXPECT_EQ(seen.wrong, 0);
	let_ask(v, false);
	driver_close(v);
}
