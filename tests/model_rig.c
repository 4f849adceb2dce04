/* SPDX-License-Identifier: MIT */
/*
 * model_rig.c - drives a strict IOMMU by hand
 */
#include "tests/model_rig.h"
#include "mm/pmm.h"

#define PATIENCE 100000u /* status reads until a wait counts as lost       */

pa_t rig_page(struct rig *r)
{
	struct page *page = page_alloc_zeroed();

	REQUIRE(page && r->n < RIG_PAGES);
	r->pages[r->n++] = page;
	return page_pa(page);
}

pa_t rig_data(struct rig *r)
{
	pa_t pa = rig_page(r);

	for (unsigned i = 0; i < PAGE_SIZE; i += 8)
		*rig_word(pa + i) = pa + i;
	return pa;
}

static void interrupted(void *ctx, uint64_t status_bit)
{
	struct rig *r = ctx;

	r->interrupts |= status_bit;
	r->interrupt_count++;
}

static void answered(void *ctx, uint16_t devid, uint16_t tag, unsigned status)
{
	struct rig *r = ctx;

	r->answer.devid = devid;
	r->answer.tag = tag;
	r->answer.status = status;
	r->answer.count++;
}

static uint64_t ring_base(pa_t pa)
{
	return pa | FIELD_PREP(RING_LENGTH, 8);
}

void rig_control(struct rig *r, uint64_t control)
{
	if (!(reg_read(&r->port, REG_EFR) & EFR_PPR))
		control &= ~(CONTROL_PPR_EN | CONTROL_PPR_LOG_EN |
			     CONTROL_PPR_INT_EN);
	reg_write(&r->port, REG_CONTROL, control);
}

void rig_open(struct rig *r, const struct model_config *config)
{
	struct model_config c = { 0 };

	*r = (struct rig){ 0 };
	if (config)
		c = *config;
	c.name = "rig";
	c.interrupt = interrupted;
	c.answer = answered;
	c.ctx = r;
	r->m = model_create(&c);
	REQUIRE(r->m);
	r->port = model_port(r->m);
	r->device_table = rig_page(r);
	r->commands = rig_page(r);
	r->events = rig_page(r);
	r->requests = rig_page(r);
	r->word = rig_page(r);
	for (uint16_t i = 0; i < 128; i++)
		*rig_dte(r, i) = dte_deny(r->word);
	reg_write(&r->port, REG_DEV_TABLE_BASE, r->device_table);
	reg_write(&r->port, REG_CMD_BASE, ring_base(r->commands));
	reg_write(&r->port, REG_EVENT_BASE, ring_base(r->events));
	reg_write(&r->port, REG_PPR_BASE, ring_base(r->requests));
	rig_control(r, RIG_ON);
}

void rig_close(struct rig *r)
{
	const char *why = model_complaint(r->m);

	if (!r->complaints_expected)
		EXPECT_STR_NULL(why);
	model_destroy(r->m);
	while (r->n)
		page_put(r->pages[--r->n]);
}

/* ---- tables ------------------------------------------------------------ */

struct dte *rig_dte(struct rig *r, uint16_t devid)
{
	return (struct dte *)phys_to_virt(r->device_table) + devid;
}

pa_t rig_attach(struct rig *r, uint16_t devid, uint16_t domain)
{
	pa_t root = rig_page(r);

	*rig_dte(r, devid) = dte_translate(root, LEVELS, domain);
	return root;
}

uint64_t *rig_slot(struct rig *r, pa_t root, iova_t iova, unsigned level)
{
	pa_t table = root;

	for (unsigned n = LEVELS;; n--) {
		uint64_t *slot =
			rig_word(table + (iova >> (3 + 9 * n)) % 512 * 8);

		if (n == level)
			return slot;
		if (!*slot)
			*slot = rig_page(r) | PRESENT | NEXT(n - 1) | RIG_RW;
		table = *slot & GENMASK(51, 12);
	}
}

void rig_map(struct rig *r, pa_t root, iova_t iova, pa_t pa, uint64_t rights)
{
	*rig_slot(r, root, iova, 1) = pa | PRESENT | rights;
}

/* ---- commands ---------------------------------------------------------- */

void rig_send(struct rig *r, struct command c)
{
	uint64_t *slot = rig_word(r->commands + r->tail);

	slot[0] = c.w[0];
	slot[1] = c.w[1];
	r->tail = (r->tail + 16) % (RIG_SLOTS * 16);
	reg_write(&r->port, REG_CMD_TAIL, r->tail);
}

uint64_t rig_send_wait(struct rig *r)
{
	rig_send(r, command_completion_wait(r->word, ++r->waits));
	return r->waits;
}

bool rig_done(struct rig *r, uint64_t ticket)
{
	return READ_ONCE(*rig_word(r->word)) >= ticket;
}

void rig_sync(struct rig *r)
{
	uint64_t ticket = rig_send_wait(r);
	unsigned n = 0;

	while (!rig_done(r, ticket) && n++ < PATIENCE)
		reg_read(&r->port, REG_STATUS);
	EXPECT(rig_done(r, ticket));
}

void rig_flush(struct rig *r, uint16_t domain, iova_t iova, uint64_t len,
	       bool tables)
{
	rig_send(r, command_invalidate_iommu_pages(
			    domain, command_range(iova, iova + len), tables));
	rig_sync(r);
}

/* ---- devices ----------------------------------------------------------- */

uint64_t rig_read(struct rig *r, uint16_t devid, iova_t iova)
{
	uint64_t v = 0;

	if (model_dma(r->m, devid, iova, &v, sizeof(v), false, NULL) < 8)
		return NOTHING;
	return v;
}

bool rig_write(struct rig *r, uint16_t devid, iova_t iova, uint64_t v)
{
	return model_dma(r->m, devid, iova, &v, sizeof(v), true, NULL) == 8;
}

unsigned rig_events(struct rig *r)
{
	uint64_t head = reg_read(&r->port, REG_EVENT_HEAD);
	uint64_t tail = reg_read(&r->port, REG_EVENT_TAIL);

	return (unsigned)((tail - head) / 16 % RIG_SLOTS);
}

struct log_entry rig_event(struct rig *r)
{
	uint64_t head = reg_read(&r->port, REG_EVENT_HEAD);
	struct log_entry e = { 0 }, *slot;

	if (!rig_events(r)) {
		EXPECT(!"an event");
		return e;
	}
	slot = phys_to_virt(r->events + head);
	e = *slot;
	*slot = (struct log_entry){ 0 };
	reg_write(&r->port, REG_EVENT_HEAD, (head + 16) % (RIG_SLOTS * 16));
	return e;
}

void rig_forget(struct rig *r)
{
	rig_send(r, command_invalidate_iommu_all());
	rig_sync(r);
}

uint64_t rig_event_of_read(struct rig *r, uint16_t devid, iova_t iova)
{
	struct log_entry e;

	rig_forget(r);
	rig_read(r, devid, iova);
	if (!rig_events(r))
		return 0;
	e = rig_event(r);
	EXPECT_EQ(FIELD_GET(EVENT0_DEVID, e.w[0]), devid);
	return e.w[0] & GENMASK(63, 48);
}

struct model_stats rig_stats(struct rig *r)
{
	struct model_stats s;

	model_stats(r->m, &s);
	return s;
}
