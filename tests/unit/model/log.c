/* SPDX-License-Identifier: MIT */
/*
 * log.c - the strict IOMMU's logs fill, overflow, stop and restart
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV      8
#define DOMAIN   7
#define CAPACITY (BARE_SLOTS - 1)

static uint64_t status(struct bare_model *r)
{
	return reg_read(&r->port, REG_STATUS);
}

static void log_events(struct bare_model *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		model_log_event(r->m, FIELD_PREP(LOG0_TYPE, IO_PAGE_FAULT), i);
}

static void take_all(struct bare_model *r)
{
	while (bare_events(r))
		bare_event(r);
}

/* ---- events ------------------------------------------------------------ */

TEST(model_log, ring_of_256_holds_255_and_wraps,
     "2000 events are read in order, 255 at a time, each once")
{
	struct bare_model r;

	bare_open(&r, NULL);
	for (unsigned round = 0; round < 8; round++) {
		log_events(&r, CAPACITY);
		EXPECT_EQ(bare_events(&r), CAPACITY);
		for (unsigned i = 0; i < CAPACITY; i++)
			EXPECT_EQ(bare_event(&r).w[1], i);
	}
	EXPECT_EQ(bare_stats(&r).events_lost, 0);
	EXPECT(!(status(&r) & STATUS_EVENT_OVERFLOW));
	bare_close(&r);
}

TEST(model_log, overflow_stops_the_log,
     "the 256th unread event and all later ones are lost, even after reads")
{
	struct bare_model r;

	bare_open(&r, NULL);
	log_events(&r, CAPACITY);
	EXPECT(status(&r) & STATUS_EVENT_RUN);
	log_events(&r, 1);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN),
		  STATUS_EVENT_OVERFLOW);
	EXPECT(r.interrupts & STATUS_EVENT_OVERFLOW);
	take_all(&r);
	log_events(&r, 3);
	EXPECT_EQ(bare_events(&r), 0);
	EXPECT_EQ(bare_stats(&r).events_lost, 4);
	bare_close(&r);
}

static void overflow(struct bare_model *r)
{
	bare_open(r, NULL);
	log_events(r, CAPACITY + 1);
	take_all(r);
}

TEST(model_log, restart_resumes,
     "the log runs again after off, overflow cleared and on, and after "
     "nothing less")
{
	struct bare_model r;

	overflow(&r);
	bare_control(&r, BARE_ON & ~CONTROL_EVENT_LOG_EN);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_OVERFLOW);
	EXPECT(!(status(&r) & STATUS_EVENT_RUN));
	bare_control(&r, BARE_ON);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN),
		  STATUS_EVENT_RUN);
	log_events(&r, 2);
	EXPECT_EQ(bare_events(&r), 2);
	bare_close(&r);
}

TEST(model_log, clearing_the_bit_alone_resumes_nothing,
     "the log stays stopped if only the overflow bit is cleared")
{
	struct bare_model r;

	overflow(&r);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_OVERFLOW);
	EXPECT_EQ(status(&r) & (STATUS_EVENT_OVERFLOW | STATUS_EVENT_RUN), 0);
	bare_control(&r, BARE_ON);
	log_events(&r, 1);
	EXPECT_EQ(bare_events(&r), 0);
	bare_close(&r);
}

TEST(model_log, enabling_while_overflowed_is_refused,
     "EventLogEn 0 and 1 with the overflow bit set is a fault and restarts "
     "nothing")
{
	struct bare_model r;

	overflow(&r);
	bare_control(&r, BARE_ON & ~CONTROL_EVENT_LOG_EN);
	EXPECT_STR_NULL(model_complaint(r.m));
	bare_control(&r, BARE_ON);
	EXPECT(model_complaint(r.m));
	log_events(&r, 1);
	EXPECT_EQ(bare_events(&r), 0);
	bare_close(&r);
}

TEST(model_log, interrupt_comes_once_until_cleared,
     "a second event interrupts only after the status bit was cleared")
{
	struct bare_model r;

	bare_open(&r, NULL);
	log_events(&r, 3);
	EXPECT(r.interrupt_count == 1 && r.interrupts == STATUS_EVENT_INT);
	reg_write(&r.port, REG_STATUS, STATUS_EVENT_INT);
	log_events(&r, 1);
	EXPECT_EQ(r.interrupt_count, 2);
	bare_close(&r);
}

TEST(model_log, enabling_interrupts_late_interrupts,
     "a pending event interrupts when EventIntEn becomes 1")
{
	struct bare_model r;

	bare_open(&r, NULL);
	bare_control(&r, BARE_ON & ~CONTROL_EVENT_INT_EN);
	log_events(&r, 1);
	EXPECT_EQ(r.interrupt_count, 0);
	EXPECT(status(&r) & STATUS_EVENT_INT);
	bare_control(&r, BARE_ON);
	EXPECT_EQ(r.interrupt_count, 1);
	bare_control(&r, BARE_ON);
	EXPECT_EQ(r.interrupt_count, 1);
	bare_close(&r);
}

TEST(model_log, record_may_come_after_its_interrupt,
     "a record delayed by 3 steps has type 0 although tail and interrupt have "
     "come")
{
	struct log_entry *slot;
	struct bare_model r;

	bare_open(&r, NULL);
	model_set_log_delay(r.m, 3);
	log_events(&r, 1);
	slot = phys_to_virt(r.events);
	EXPECT(bare_events(&r) == 1 && r.interrupt_count == 1);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(READ_ONCE(slot->w[0]), 0);
		status(&r);
	}
	EXPECT_EQ(READ_ONCE(slot->w[0]) >> 60, IO_PAGE_FAULT);
	bare_close(&r);
}

TEST(model_log, nothing_is_logged_while_off,
     "without EventLogEn or IommuEn an event is lost silently")
{
	struct bare_model r;

	bare_open(&r, NULL);
	bare_control(&r, BARE_ON & ~CONTROL_EVENT_LOG_EN);
	log_events(&r, 1);
	bare_control(&r, BARE_ON & ~CONTROL_IOMMU_EN);
	log_events(&r, 1);
	EXPECT_EQ(bare_events(&r), 0);
	EXPECT_EQ(status(&r), 0);
	EXPECT_EQ(bare_stats(&r).events_lost, 2);
	bare_close(&r);
}

/* ---- page requests ----------------------------------------------------- */

static const struct model_ppr ask = { .devid = DEV,
				      .tag = 0x155,
				      .last = true,
				      .read = true,
				      .write = true,
				      .user = true,
				      .iova = BARE_IOVA + 0x123 };

static void open_for_requests(struct bare_model *r)
{
	bare_open(r, NULL);
	bare_attach(r, DEV, DOMAIN);
	bare_dte(r, DEV)->w[0] |= DTE0_PPR;
}

static void answer(struct bare_model *r, uint16_t tag, enum ppr_status status)
{
	bare_send(r,
		  command_complete_ppr_request(DEV, PPR_NO_PASID, tag, status));
	bare_sync(r);
}

TEST(model_log, page_request_is_logged_and_answered,
     "a request's record has all its fields, and its answer arrives once")
{
	struct log_entry *e;
	struct bare_model r;

	open_for_requests(&r);
	EXPECT(model_page_request(r.m, &ask));
	EXPECT_EQ(r.interrupts, STATUS_PPR_INT);
	EXPECT_EQ(reg_read(&r.port, REG_PPR_TAIL), 16);
	e = phys_to_virt(r.requests);
	EXPECT_EQ(e->w[0], FIELD_PREP(LOG0_TYPE, PPR_FAULT) | DEV | PPR0_LAST |
				   FIELD_PREP(PPR0_TAG, 0x155) | PPR0_READ |
				   PPR0_WRITE | PPR0_USER);
	EXPECT_EQ(e->w[1], BARE_IOVA);
	EXPECT_EQ(model_unanswered(r.m), 1);
	answer(&r, 0x155, PPR_INVALID);
	EXPECT_EQ(model_unanswered(r.m), 0);
	EXPECT(r.answer.count == 1 && r.answer.devid == DEV &&
	       r.answer.tag == 0x155 && r.answer.status == PPR_INVALID);
	bare_close(&r);
}

TEST(model_log, pasid_of_a_request_is_in_two_parts,
     "the PASID's 20 bits are in 31:16 and 45:42, valid only if GN is set")
{
	struct model_ppr p = ask;
	struct log_entry *e;
	struct bare_model r;

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
	bare_close(&r);
}

TEST(model_log, invented_answers_are_complained_of,
     "an answer without a request, with another tag, or sent twice is a "
     "complaint")
{
	struct bare_model r;

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
	bare_close(&r);
}

TEST(model_log, requests_need_permission_in_the_dte,
     "a request without PPR in the DTE is an INVALID_PPR_REQUEST event")
{
	struct bare_model r;

	open_for_requests(&r);
	bare_dte(&r, DEV)->w[0] &= ~DTE0_PPR;
	EXPECT(!model_page_request(r.m, &ask));
	EXPECT_EQ(bare_event(&r).w[0] >> 60, INVALID_PPR_REQUEST);
	EXPECT_EQ(reg_read(&r.port, REG_PPR_TAIL), 0);
	bare_close(&r);
}

TEST(model_log, request_log_overflows_and_restarts,
     "a full request log loses requests, requires no answer to them, and "
     "restarts")
{
	struct model_ppr p = ask;
	struct bare_model r;

	open_for_requests(&r);
	for (unsigned i = 0; i < CAPACITY + 5; i++) {
		p.tag = (uint16_t)i;
		EXPECT_EQ(model_page_request(r.m, &p), i < CAPACITY);
	}
	EXPECT_EQ(model_unanswered(r.m), CAPACITY);
	EXPECT_EQ(status(&r) & (STATUS_PPR_OVERFLOW | STATUS_PPR_RUN),
		  STATUS_PPR_OVERFLOW);
	EXPECT(r.interrupts & STATUS_PPR_OVERFLOW);
	bare_control(&r, BARE_ON & ~CONTROL_PPR_LOG_EN);
	reg_write(&r.port, REG_STATUS, STATUS_PPR_OVERFLOW);
	reg_write(&r.port, REG_PPR_HEAD, reg_read(&r.port, REG_PPR_TAIL));
	bare_control(&r, BARE_ON);
	EXPECT(model_page_request(r.m, &p));
	EXPECT_EQ(bare_stats(&r).pprs_lost, 5);
	bare_close(&r);
}

TEST(model_log, answers_of_a_whole_ring_all_arrive,
     "200 answers sent with one doorbell all arrive at the device")
{
	struct model_ppr p = ask;
	struct bare_model r;

	open_for_requests(&r);
	model_set_mode(r.m, MODEL_STOPPED, 0);
	for (p.tag = 0; p.tag < 200; p.tag++) {
		EXPECT(model_page_request(r.m, &p));
		bare_send(&r, command_complete_ppr_request(DEV, PPR_NO_PASID,
							   p.tag, PPR_SUCCESS));
	}
	EXPECT_EQ(r.answer.count, 0);
	model_set_mode(r.m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(r.answer.count, 200);
	EXPECT_EQ(model_unanswered(r.m), 0);
	bare_close(&r);
}
