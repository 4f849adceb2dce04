/* SPDX-License-Identifier: MIT */
/*
 * unit_model_log.c - the strict IOMMU's logs fill, overflow, stop and restart
 */
#include "tests/model_rig.h"

#define DEV      8
#define DOMAIN   7
#define CAPACITY (RIG_SLOTS - 1)

static uint64_t status(struct rig *r)
{
	return reg_read(&r->port, REG_STATUS);
}

static void log_events(struct rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		model_log_event(r->m, FIELD_PREP(LOG0_TYPE, IO_PAGE_FAULT), i);
}

static void take_all(struct rig *r)
{
	while (rig_events(r))
		rig_event(r);
}

/* ---- events ------------------------------------------------------------ */

TEST(model_log, ring_of_256_holds_255_and_wraps,
     "2000 events are read in order, 255 at a time, each once")
{
	struct rig r;

	rig_open(&r, NULL);
	for (unsigned round = 0; round < 8; round++) {
		log_events(&r, CAPACITY);
		EXPECT_EQ(rig_events(&r), CAPACITY);
		for (unsigned i = 0; i < CAPACITY; i++)
			EXPECT_EQ(rig_event(&r).w[1], i);
	}
	EXPECT_EQ(rig_stats(&r).events_lost, 0);
	EXPECT(!(status(&r) & STATUS_EVENT_OVERFLOW));
	rig_close(&r);
}

TEST(model_log, overflow_stops_the_log,
     "the 256th unread event is lost, and so is every later one, room or not")
{
	struct rig r;

	rig_open(&r, NULL);
	log_events(&r, CAPACITY);
	EXPECT(status(&r) & STATUS_EVENT_RUN);
	log_events(&r, 1);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN),
		  STATUS_EVENT_OVERFLOW);
	EXPECT(r.interrupts & STATUS_EVENT_OVERFLOW);
	take_all(&r);
	log_events(&r, 3);
	EXPECT_EQ(rig_events(&r), 0);
	EXPECT_EQ(rig_stats(&r).events_lost, 4);
	rig_close(&r);
}

static void overflow(struct rig *r)
{
	rig_open(r, NULL);
	log_events(r, CAPACITY + 1);
	take_all(r);
}

TEST(model_log, restart_resumes,
     "off, overflow cleared, on: the log runs again; no step of it suffices")
{
	struct rig r;

	overflow(&r);
	rig_control(&r, RIG_ON & ~CONTROL_EVENT_LOG_EN);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_OVERFLOW);
	EXPECT(!(status(&r) & STATUS_EVENT_RUN));
	rig_control(&r, RIG_ON);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN),
		  STATUS_EVENT_RUN);
	log_events(&r, 2);
	EXPECT_EQ(rig_events(&r), 2);
	rig_close(&r);
}

TEST(model_log, clearing_the_bit_alone_resumes_nothing,
     "the overflow bit cleared without EventLogEn 0 and 1 leaves the log "
     "stopped")
{
	struct rig r;

	overflow(&r);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_OVERFLOW);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN), 0);
	rig_control(&r, RIG_ON);
	log_events(&r, 1);
	EXPECT_EQ(rig_events(&r), 0);
	rig_close(&r);
}

TEST(model_log, enabling_while_overflowed_is_refused,
     "EventLogEn 0 and 1 with the bit still set resumes nothing and is a fault")
{
	struct rig r;

	overflow(&r);
	rig_control(&r, RIG_ON & ~CONTROL_EVENT_LOG_EN);
	EXPECT_STR_NULL(model_complaint(r.m));
	rig_control(&r, RIG_ON);
	EXPECT(model_complaint(r.m));
	log_events(&r, 1);
	EXPECT_EQ(rig_events(&r), 0);
	rig_close(&r);
}

TEST(model_log, interrupt_comes_once_until_cleared,
     "a second event interrupts only after the status bit was cleared")
{
	struct rig r;

	rig_open(&r, NULL);
	log_events(&r, 3);
	EXPECT(r.interrupt_count == 1 && r.interrupts == STATUS_EVENT_INT);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_INT);
	log_events(&r, 1);
	EXPECT_EQ(r.interrupt_count, 2);
	rig_close(&r);
}

TEST(model_log, enabling_interrupts_late_interrupts,
     "an event that came with EventIntEn 0 interrupts when that becomes 1")
{
	struct rig r;

	rig_open(&r, NULL);
	rig_control(&r, RIG_ON & ~CONTROL_EVENT_INT_EN);
	log_events(&r, 1);
	EXPECT_EQ(r.interrupt_count, 0);
	EXPECT(status(&r) & STATUS_EVENT_INT);
	rig_control(&r, RIG_ON);
	EXPECT_EQ(r.interrupt_count, 1);
	rig_control(&r, RIG_ON);
	EXPECT_EQ(r.interrupt_count, 1);
	rig_close(&r);
}

TEST(model_log, record_may_come_after_its_interrupt,
     "delayed by 3 steps, tail and interrupt come first, the type is 0 so long")
{
	struct log_entry *slot;
	struct rig r;

	rig_open(&r, NULL);
	model_set_log_delay(r.m, 3);
	log_events(&r, 1);
	slot = phys_to_virt(r.events);
	EXPECT(rig_events(&r) == 1 && r.interrupt_count == 1);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(READ_ONCE(slot->w[0]), 0);
		status(&r);
	}
	EXPECT_EQ(READ_ONCE(slot->w[0]) >> 60, IO_PAGE_FAULT);
	rig_close(&r);
}

TEST(model_log, nothing_is_logged_while_off,
     "without EventLogEn or IommuEn an event is lost without a sign")
{
	struct rig r;

	rig_open(&r, NULL);
	rig_control(&r, RIG_ON & ~CONTROL_EVENT_LOG_EN);
	log_events(&r, 1);
	rig_control(&r, RIG_ON & ~CONTROL_IOMMU_EN);
	log_events(&r, 1);
	EXPECT_EQ(rig_events(&r), 0);
	EXPECT_EQ(status(&r), 0);
	EXPECT_EQ(rig_stats(&r).events_lost, 2);
	rig_close(&r);
}

/* ---- page requests ----------------------------------------------------- */

static const struct model_ppr ask = { .devid = DEV,
				      .tag = 0x155,
				      .last = true,
				      .read = true,
				      .write = true,
				      .user = true,
				      .iova = RIG_IOVA + 0x123 };

static void open_for_requests(struct rig *r)
{
	rig_open(r, NULL);
	rig_attach(r, DEV, DOMAIN);
	rig_dte(r, DEV)->w[0] |= DTE0_PPR;
}

static void answer(struct rig *r, uint16_t tag, enum ppr_status status)
{
	rig_send(r,
		 command_complete_ppr_request(DEV, PPR_NO_PASID, tag, status));
	rig_sync(r);
}

TEST(model_log, page_request_is_logged_and_answered,
     "a request's record says all of it, and its answer reaches the device "
     "once")
{
	struct log_entry *e;
	struct rig r;

	open_for_requests(&r);
	EXPECT(model_page_request(r.m, &ask));
	EXPECT_EQ(r.interrupts, STATUS_PPR_INT);
	EXPECT_EQ(reg_read(&r.port, REG_PPR_TAIL), 16);
	e = phys_to_virt(r.requests);
	EXPECT_EQ(e->w[0], FIELD_PREP(LOG0_TYPE, PPR_FAULT) | DEV | PPR0_LAST |
				   FIELD_PREP(PPR0_TAG, 0x155) | PPR0_READ |
				   PPR0_WRITE | PPR0_USER);
	EXPECT_EQ(e->w[1], RIG_IOVA);
	EXPECT_EQ(model_unanswered(r.m), 1);
	answer(&r, 0x155, PPR_INVALID);
	EXPECT_EQ(model_unanswered(r.m), 0);
	EXPECT(r.answer.count == 1 && r.answer.devid == DEV &&
	       r.answer.tag == 0x155 && r.answer.status == PPR_INVALID);
	rig_close(&r);
}

TEST(model_log, pasid_of_a_request_is_in_two_parts,
     "20 bits of PASID lie in 31:16 and 45:42, only if GN says they count")
{
	struct model_ppr p = ask;
	struct log_entry *e;
	struct rig r;

	open_for_requests(&r);
	p.pasid = 0xabcde;
	p.last = false;
	EXPECT(model_page_request(r.m, &p));
	p.gn = true;
	EXPECT(model_page_request(r.m, &p));
	e = phys_to_virt(r.requests);
	EXPECT_EQ(FIELD_GET(PPR0_PASID_LOW, e[0].w[0]), 0);
	EXPECT_EQ(FIELD_GET(PPR0_PASID_LOW, e[1].w[0]), 0xbcde);
	EXPECT_EQ(FIELD_GET(GENMASK(45, 42), e[1].w[0]), 0xa);
	EXPECT_EQ(e[1].w[0] & PPR0_GN, PPR0_GN);
	EXPECT_EQ(model_unanswered(r.m), 0);
	rig_close(&r);
}

TEST(model_log, invented_answers_are_complained_of,
     "an answer to no request, to another tag or given twice is remembered")
{
	struct rig r;

	open_for_requests(&r);
	answer(&r, 1, PPR_SUCCESS);
	EXPECT(model_complaint(r.m));
	EXPECT(model_page_request(r.m, &ask));
	answer(&r, 0x154, PPR_SUCCESS);
	EXPECT(model_complaint(r.m));
	EXPECT_EQ(model_unanswered(r.m), 1);
	answer(&r, 0x155, PPR_SUCCESS);
	EXPECT_STR_NULL(model_complaint(r.m));
	answer(&r, 0x155, PPR_SUCCESS);
	EXPECT(model_complaint(r.m));
	rig_close(&r);
}

TEST(model_log, requests_need_the_dtes_leave,
     "without PPR in the DTE a request is an INVALID_PPR_REQUEST event")
{
	struct rig r;

	open_for_requests(&r);
	rig_dte(&r, DEV)->w[0] &= ~DTE0_PPR;
	EXPECT(!model_page_request(r.m, &ask));
	EXPECT_EQ(rig_event(&r).w[0] >> 60, INVALID_PPR_REQUEST);
	EXPECT_EQ(reg_read(&r.port, REG_PPR_TAIL), 0);
	rig_close(&r);
}

TEST(model_log, request_log_overflows_and_restarts,
     "a flood loses what found no room, wants no answer for it, and resumes")
{
	struct model_ppr p = ask;
	struct rig r;

	open_for_requests(&r);
	for (unsigned i = 0; i < CAPACITY + 5; i++) {
		p.tag = (uint16_t)i;
		EXPECT_EQ(model_page_request(r.m, &p), i < CAPACITY);
	}
	EXPECT_EQ(model_unanswered(r.m), CAPACITY);
	EXPECT_EQ(status(&r) & (STATUS_PPR_OVERFLOW | STATUS_PPR_RUN),
		  STATUS_PPR_OVERFLOW);
	EXPECT(r.interrupts & STATUS_PPR_OVERFLOW);
	rig_control(&r, RIG_ON & ~CONTROL_PPR_LOG_EN);
	reg_write(&r.port, REG_STATUS, STATUS_PPR_OVERFLOW);
	reg_write(&r.port, REG_PPR_HEAD, reg_read(&r.port, REG_PPR_TAIL));
	rig_control(&r, RIG_ON);
	EXPECT(model_page_request(r.m, &p));
	EXPECT_EQ(rig_stats(&r).pprs_lost, 5);
	rig_close(&r);
}

TEST(model_log, answers_of_a_whole_ring_all_arrive,
     "200 requests answered with one doorbell give the device 200 answers")
{
	struct model_ppr p = ask;
	struct rig r;

	open_for_requests(&r);
	model_set_mode(r.m, MODEL_STOPPED, 0);
	for (p.tag = 0; p.tag < 200; p.tag++) {
		EXPECT(model_page_request(r.m, &p));
		rig_send(&r, command_complete_ppr_request(DEV, PPR_NO_PASID,
							  p.tag, PPR_SUCCESS));
	}
	EXPECT_EQ(r.answer.count, 0);
	model_set_mode(r.m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(r.answer.count, 200);
	EXPECT_EQ(model_unanswered(r.m), 0);
	rig_close(&r);
}
