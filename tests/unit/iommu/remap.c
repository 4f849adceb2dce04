/* SPDX-License-Identifier: MIT */
/*
 * remap.c - grants of interrupts on the strict model, with both entry formats
 */
#include "iommu/hw/irte.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/driver_fixture.h"

#define DEV          8
#define OTHER        9
#define IOAPIC       0x00a0
#define BRIDGE       0x0200
#define ONE          0x0208
#define TWO          0x0210
#define V            0x51u
#define W            0x52u
#define APIC         3u
#define MESSAGE_BASE UINT64_C(0xfee00000)
#define NMI          0x400u
#define VECTORS      512u

static const struct iommu_alias bridge[] = { { ONE, 0x02ff, BRIDGE } };
static const struct iommu_config config = {
	.remaps = true,
	.ioapic = IOAPIC,
	.aliases = bridge,
	.n_aliases = 1,
};

/* Late and out of order, and absent entries are cached. */
static struct driver *open_form(bool wide)
{
	struct driver *v = driver_open_off(&(struct model_config){
		.mode = MODEL_SHUFFLED,
		.delay = 1,
		.negative = true,
		.efr = MODEL_EFR | (wide ? EFR_GA : 0) });

	REQUIRE(!driver_start_as(v, &config));
	return v;
}

static struct irq_grant grant_of(uint32_t source, unsigned vector)
{
	return (struct irq_grant){ source, vector, APIC };
}

static int grant(struct driver *v, uint32_t source, unsigned vector)
{
	struct irq_grant g = grant_of(source, vector);

	return iommu_grant(&v->iommu, &g);
}

static int revoke(struct driver *v, uint32_t source, unsigned vector)
{
	struct irq_grant g = grant_of(source, vector);

	return iommu_revoke(&v->iommu, &g);
}

/* Send the message; returns whether it arrives, as it must. */
static bool arrives(struct driver *v, uint16_t devid, uint32_t data)
{
	struct model_interrupt got;
	struct model_message m = { MESSAGE_BASE, data };

	if (model_message(v->m, devid, m, &got) != MODEL_DONE)
		return false;
	EXPECT_EQ(got.vector, data);
	EXPECT_EQ(got.dest, APIC);
	EXPECT(!got.type && !got.logical);
	return true;
}

/* Count the messages that arrive of all that can be named. */
static unsigned arriving(struct driver *v, uint16_t devid)
{
	unsigned n = 0;

	for (unsigned data = 0; data < 8 * 256; data++)
		n += arrives(v, devid, data);
	return n;
}

static void check(struct driver *v)
{
	EXPECT_STR_NULL(iommu_check(&v->iommu));
}

TEST(remap, no_device_interrupts_at_first,
     "none of 65,536 devices sends any message at first, and no memory is "
     "spent on them")
{
	struct driver *v = open_form(true);
	struct rng rng = rng_seed(test_seed());
	struct model_stats stats;

	for (unsigned i = 0; i < 2000; i++)
		EXPECT(!arrives(v, (uint16_t)rng_next(&rng),
				(uint32_t)rng_below(&rng, 8 * 256)));
	model_stats(v->m, &stats);
	EXPECT_EQ(stats.messages, 0);
	EXPECT_EQ(stats.messages_refused, 2000);
	check(v);
	driver_close(v);
}

TEST(remap, each_vector_comes_and_goes,
     "a device sends exactly the vectors it has been granted, each to its "
     "CPU, in both entry formats")
{
	for (unsigned wide = 0; wide < 2; wide++) {
		struct driver *v = open_form(wide);

		EXPECT(!arrives(v, DEV, V));
		EXPECT_EQ(grant(v, DEV, V), 0);
		EXPECT_EQ(arriving(v, DEV), 1);
		EXPECT(arrives(v, DEV, V) && !arrives(v, OTHER, V));
		EXPECT_EQ(grant(v, DEV, W), 0);
		EXPECT(arrives(v, DEV, V) && arrives(v, DEV, W));
		EXPECT_EQ(arriving(v, DEV), 2);
		check(v);
		EXPECT_EQ(revoke(v, DEV, V), 0);
		EXPECT(!arrives(v, DEV, V) && arrives(v, DEV, W));
		check(v);
		EXPECT_EQ(revoke(v, DEV, W), 0);
		EXPECT_EQ(arriving(v, DEV), 0);
		check(v);
		driver_close(v);
	}
}

TEST(remap, cached_refusal_is_flushed,
     "a vector whose refusal is cached arrives from the grant on")
{
	struct driver *v = open_form(true);

	EXPECT_EQ(grant(v, DEV, V), 0);
	EXPECT(!arrives(v, DEV, W));
	EXPECT_EQ(grant(v, DEV, W), 0);
	EXPECT(arrives(v, DEV, W));
	EXPECT_EQ(revoke(v, DEV, W), 0);
	EXPECT_EQ(revoke(v, DEV, V), 0);
	driver_close(v);
}

TEST(remap, ioapic_has_a_number,
     "a grant to the IOAPIC arrives under the number that firmware gives it")
{
	struct driver *v = open_form(true);

	EXPECT_EQ(grant(v, IRQ_OF_IOAPIC, V), 0);
	EXPECT_EQ(arriving(v, IOAPIC), 1);
	EXPECT_EQ(arriving(v, 0), 0);
	check(v);
	EXPECT_EQ(revoke(v, IRQ_OF_IOAPIC, V), 0);
	EXPECT_EQ(arriving(v, IOAPIC), 0);
	driver_close(v);
}

TEST(remap, alias_sends_for_all_behind_it,
     "the bridge's number sends what each device behind it was granted, and "
     "the last revoke also clears the bridge's entry")
{
	struct driver *v = open_form(true);

	EXPECT_EQ(grant(v, ONE, V), 0);
	EXPECT_EQ(grant(v, TWO, W), 0);
	EXPECT(arrives(v, BRIDGE, V) && arrives(v, BRIDGE, W));
	EXPECT(arrives(v, ONE, V) && arrives(v, TWO, W));
	EXPECT_EQ(arriving(v, BRIDGE), 2);
	EXPECT_EQ(grant(v, ONE, W), -EBUSY);
	check(v);
	EXPECT_EQ(revoke(v, ONE, V), 0);
	EXPECT(!arrives(v, BRIDGE, V) && arrives(v, BRIDGE, W));
	EXPECT_EQ(arriving(v, ONE), 0);
	check(v);
	EXPECT_EQ(revoke(v, TWO, W), 0);
	EXPECT_EQ(arriving(v, BRIDGE), 0);
	EXPECT_EQ(arriving(v, TWO), 0);
	check(v);
	driver_close(v);
}

TEST(remap, revoke_flushes_all_sharers,
     "a revoke flushes the vector for each device that shares the table, so "
     "that none sends it later")
{
	struct driver *v = open_form(true);

	EXPECT_EQ(grant(v, ONE, V), 0);
	EXPECT_EQ(grant(v, TWO, W), 0);
	EXPECT(arrives(v, TWO, V)); /* cached for TWO, which shares the table */
	EXPECT_EQ(revoke(v, ONE, V), 0);
	EXPECT(!arrives(v, TWO, V) && arrives(v, TWO, W));
	check(v);
	EXPECT_EQ(revoke(v, TWO, W), 0);
	driver_close(v);
}

TEST(remap, domain_and_interrupts_are_independent,
     "attach and detach do not change a device's interrupts, and grant and "
     "revoke do not change its memory")
{
	struct driver *v = open_form(true);
	struct page *page = driver_page(v, 'A');
	struct domain *d = domain_create(&v->iommu);

	REQUIRE(d);
	REQUIRE(!domain_map(d, PAGE_SIZE, page_pa(page), PAGE_SIZE, PROT_R));
	EXPECT_EQ(grant(v, DEV, V), 0);
	REQUIRE(!domain_attach(d, DEV, 0));
	EXPECT(arrives(v, DEV, V) && !arrives(v, DEV, W));
	EXPECT_EQ(driver_read(v, DEV, PAGE_SIZE), 'A');
	check(v);
	EXPECT_EQ(revoke(v, DEV, V), 0);
	EXPECT(!arrives(v, DEV, V));
	EXPECT_EQ(driver_read(v, DEV, PAGE_SIZE), 'A');
	EXPECT_EQ(grant(v, DEV, W), 0);
	REQUIRE(!domain_detach(d, DEV));
	EXPECT(arrives(v, DEV, W));
	EXPECT_EQ(driver_read(v, DEV, PAGE_SIZE), 0);
	check(v);
	EXPECT_EQ(revoke(v, DEV, W), 0);
	domain_destroy(d);
	driver_close(v);
}

/* ---- at each moment of a start ----------------------------------------- */

static const struct irq_grant before[] = {
	{ DEV, V, APIC },
	{ 0, 0, 0 }, /* a free slot of the list */
	{ IRQ_OF_IOAPIC, W, APIC },
};

static struct {
	struct thread *starter;
	unsigned on, granted, others;
} met;

static void look(struct driver *v)
{
	/* The worker created by the start reads registers too. */
	if (current() != met.starter ||
	    !(reg_read(&v->port, REG_CONTROL) & CONTROL_IOMMU_EN))
		return;
	met.on++;
	met.granted += arrives(v, DEV, V) && arrives(v, IOAPIC, W);
	met.others += arrives(v, DEV, W) + arrives(v, IOAPIC, V) +
		      arrives(v, OTHER, V) + arrives(v, DEV, NMI);
}

TEST(remap, no_message_passes_during_a_start,
     "during a start earlier grants arrive as soon as the IOMMU is on, and no "
     "other message does")
{
	struct iommu_config c = config;
	struct driver *v = driver_open_off(
		&(struct model_config){ .efr = MODEL_EFR | EFR_GA });

	c.grants = before;
	c.n_grants = ARRAY_SIZE(before);
	met.on = met.granted = met.others = 0;
	met.starter = current();
	v->between = look;
	REQUIRE(!driver_start_as(v, &c));
	v->between = NULL;
	EXPECT(met.on >= 3);
	EXPECT_EQ(met.granted, met.on);
	EXPECT_EQ(met.others, 0);
	check(v);
	EXPECT_EQ(revoke(v, DEV, V), 0);
	EXPECT(!arrives(v, DEV, V) && arrives(v, IOAPIC, W));
	driver_close(v); /* frees the other table */
}

TEST(remap, without_remapping_nothing_is_touched,
     "an IOMMU without remapping passes all messages, and grants cost nothing")
{
	struct driver *v = driver_open_off(NULL);
	struct model_message m = { MESSAGE_BASE, W };

	REQUIRE(!driver_start_as(v, &(struct iommu_config){ 0 }));
	EXPECT_EQ(grant(v, DEV, V), 0);
	EXPECT_EQ(v->iommu.table[DEV].w[2], 0);
	EXPECT_EQ(model_message(v->m, DEV, m, NULL), MODEL_DONE);
	EXPECT_EQ(revoke(v, DEV, V), 0);
	check(v);
	driver_close(v);
}

/* ---- what fails -------------------------------------------------------- */

TEST(remap, failed_grant_changes_nothing,
     "a grant without memory or room, a second grant of a vector, and a "
     "revoke without a grant are errors without effect")
{
	struct driver *v = open_form(true);
	uint64_t was = v->iommu.table[DEV].w[2];
	unsigned n;

	inject_arm(1);
	EXPECT_EQ(grant(v, DEV, V), -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(v->iommu.table[DEV].w[2], was);
	EXPECT_EQ(revoke(v, DEV, V), -ENOENT);
	check(v);

	for (n = 0; n < IRQ_GRANTS; n++)
		EXPECT_EQ(grant(v, DEV, 0x40 + n), 0);
	EXPECT_EQ(grant(v, DEV, 0x40 + n), -ENOMEM);
	EXPECT_EQ(arriving(v, DEV), IRQ_GRANTS);
	check(v);
	while (n--)
		EXPECT_EQ(revoke(v, DEV, 0x40 + n), 0);
	EXPECT_EQ(grant(v, DEV, V), 0);
	EXPECT_EQ(grant(v, DEV, V), -EBUSY);
	EXPECT(arrives(v, DEV, V));
	EXPECT_EQ(revoke(v, DEV, V), 0);
	EXPECT_EQ(v->iommu.table[DEV].w[2], was);
	driver_close(v);
}

TEST(remap, failed_start_leaves_nothing,
     "a start with grants fails cleanly at each of its allocations")
{
	struct iommu_config c = config;
	unsigned failures = 0;

	c.grants = before;
	c.n_grants = ARRAY_SIZE(before);
	for (unsigned n = 1; n < 32; n++) {
		struct driver *v = driver_open_off(NULL);
		bool delivered;
		int error;

		inject_arm(n);
		error = driver_start_as(v, &c);
		delivered = inject_disarm();
		EXPECT(error == 0 || error == -ENOMEM);
		failures += error != 0;
		if (error)
			driver_close_off(v);
		else
			driver_close(v);
		if (!delivered)
			break;
	}
	EXPECT(failures >= 8);
}

TEST(remap, table_is_kept_while_it_may_be_read,
     "a table whose revoke the IOMMU did not confirm is kept with its entry "
     "off, and its page is not reused")
{
	struct driver *v = open_form(true);
	struct page *table;

	EXPECT_EQ(grant(v, DEV, V), 0);
	table = v->iommu.grants[0].table;
	EXPECT(arrives(v, DEV, V));
	model_set_mode(v->m, MODEL_STOPPED, 0);
	driver_capture_hung(v);
	EXPECT_EQ(revoke(v, DEV, V), -ETIMEDOUT);
	driver_capture_end();
	EXPECT(page_kind(table) == PAGE_IOMMU);
	EXPECT(arrives(v, DEV, V)); /* still cached: not flushed */
	model_set_mode(v->m, MODEL_IMMEDIATE, 0);
	EXPECT(!arrives(v, DEV, V));
	check(v);
	page_put(table); /* the deliberate leak */
	driver_close(v);
}

TEST(remap, checker_sees_what_is_wrong,
     "the checker reports an entry without a grant, one to another CPU, one "
     "that is granted and off, and a wrong DTE word")
{
	struct driver *v = open_form(true);
	struct irte_128 *table, was;
	uint64_t *word = &v->iommu.table[DEV].w[2];

	EXPECT_EQ(grant(v, DEV, V), 0);
	table = page_va(v->iommu.grants[0].table);
	table[W] = table[V];
	EXPECT(glob_match("*52 was not granted*", iommu_check(&v->iommu)));
	table[W] = (struct irte_128){ { 0, 0 } };
	was = table[V];
	table[V] = irte_128_fixed(V, APIC + 1);
	EXPECT(glob_match("*51 was not granted so*", iommu_check(&v->iommu)));
	table[V] = (struct irte_128){ { 0, 0 } };
	EXPECT(glob_match("*51 is granted and refused*",
			  iommu_check(&v->iommu)));
	table[V] = was;
	*word += BIT(6);
	EXPECT(glob_match("*with its interrupts*", iommu_check(&v->iommu)));
	*word -= BIT(6);
	check(v);
	EXPECT_EQ(revoke(v, DEV, V), 0);
	driver_close(v);
}
