/* SPDX-License-Identifier: MIT */
/*
 * irq_grant.c - the list of granted interrupts
 *
 * Locks: grants_lock protects the list.  The guard sleeps, so it is called without
 * the lock, while the entry is on the list: two threads that grant at once never
 * use the same entry.
 */
#include "drivers/irq_grant.h"
#include "arch/cpu.h"
#include "kernel/lock.h"
#include "kernel/panic.h"

static struct irq_grant grants[IRQ_GRANTS];
static struct spinlock grants_lock = SPINLOCK_INIT(RANK_PCI, "grants");
static const struct irq_guard *guard;

static struct irq_grant *find(uint32_t source, unsigned vector)
{
	for (unsigned i = 0; i < IRQ_GRANTS; i++)
		if (grants[i].source == source && grants[i].vector == vector)
			return &grants[i];
	return NULL;
}

/* Into the first free place; NULL: there is none. */
static struct irq_grant *put(struct irq_grant g)
{
	uint64_t flags = spin_lock_irq(&grants_lock);
	struct irq_grant *at = NULL;

	for (unsigned i = 0; i < IRQ_GRANTS && !at; i++)
		if (!grants[i].vector)
			at = &grants[i];
	if (at)
		*at = g;
	spin_unlock_irq(&grants_lock, flags);
	return at;
}

static void take(struct irq_grant *at)
{
	uint64_t flags = spin_lock_irq(&grants_lock);

	*at = (struct irq_grant){ 0 };
	spin_unlock_irq(&grants_lock, flags);
}

const char *irq_grant(uint32_t source, unsigned vector, unsigned cpu)
{
	struct irq_grant g = { source, vector, cpus[cpu].lapic_id }, *at;
	const char *why;

	assert(vector && cpu < MAX_CPUS);
	at = put(g);
	if (!at)
		return "too many devices interrupt";
	why = guard ? guard->grant(&g) : NULL;
	if (why)
		take(at);
	return why;
}

void irq_revoke(uint32_t source, unsigned vector)
{
	struct irq_grant *at = find(source, vector), g;

	assert(at);
	g = *at;
	if (guard)
		guard->revoke(&g);
	take(at);
}

void irq_set_guard(const struct irq_guard *new_guard)
{
	guard = new_guard;
}

const struct irq_grant *irq_grants(void)
{
	return grants;
}
