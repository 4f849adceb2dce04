/* SPDX-License-Identifier: MIT */
/*
 * copy.c - a page is replaced or shared while devices use it: races 4, 9, 12
 */
#include "tests/explore/scene.h"

/* ---- copy-on-write at two addresses (mmu_notifier.rst) ------------------ */

static void shared_with_a_child(const struct exploration *x)
{
	scene_begin(x, 2, 2);
	scene.child = fork_of(scene.mm);
	device_reads(&scene.client[0], A);
	device_reads(&scene.client[1], A);
}

static void break_a(const struct exploration *x)
{
	scene.error = mm_fault(scene.mm, A, PROT_W);
}

static void write_a_then_b(const struct exploration *x)
{
	cpu_writes(scene.mm, A, 21);
	cpu_writes(scene.mm, B, 21);
}

/* After a refusal the device's cache may hold that nothing is there. */
static uint64_t look(struct client *c, va_t va)
{
	uint64_t v = device_reads(c, va);

	if (v == BLOCKED)
		client_flush(c, va, va + PAGE_SIZE);
	return v;
}

static void read_b_then_a(const struct exploration *x)
{
	scene.saw[1] = look(&scene.client[1], B);
	scene.saw[0] = look(&scene.client[0], A);
}

static const char *b_not_before_a(const struct exploration *x)
{
	return scene.saw[1] == 21 && scene.saw[0] == 10
		       ? "devices read the new B and then the old A"
		       : NULL;
}

static struct exploration two_addresses = {
	.setup = shared_with_a_child,
	.teardown = scene_end,
	.verdict = b_not_before_a,
	.actors = { { "T0", break_a },
		    { "T1", write_a_then_b },
		    { "device", read_b_then_a } },
	.large = true,
};

MODEL_TEST(
	explore, late_flush_of_a_copy_is_found,
	"the explorer finds the order of mmu_notifier.rst: with a flush after "
	"the new entry, devices read the new B and then the old A")
{
	scene_explore(s, &two_addresses, &only_end, true);
}

QEMU_TEST(
	explore, copies_beside_reading_devices,
	"in every order of two copies and a device that reads both addresses, "
	"it reads the new B only together with the new A")
{
	scene_explore(s, &two_addresses, SVA, false);
}

/* ---- fork --------------------------------------------------------------- */

static void written(const struct exploration *x)
{
	scene_begin(x, 1, 1);
	device_writes(&scene.client[0], A, 10);
}

static void fork_and_look(const struct exploration *x)
{
	scene.error = mm_fork(scene.mm, &scene.child);
	if (!scene.error)
		scene.saw[0] = cpu_reads(scene.child, A);
}

static void device_writes_a(const struct exploration *x)
{
	device_writes(&scene.client[0], A, 66);
}

static const char *child_keeps_its_copy(const struct exploration *x)
{
	return scene.error || rd(scene.child, A) == scene.saw[0]
		       ? NULL
		       : "a device of the parent writes to the child's memory";
}

static struct exploration fork_write = {
	.setup = written,
	.teardown = scene_end,
	.verdict = child_keeps_its_copy,
	.actors = { { "T0", fork_and_look }, { "device", device_writes_a } },
};

QEMU_TEST(
	explore, fork_without_a_flush_is_found,
	"the explorer finds that a device with a stale right writes to memory "
	"which a fork has shared")
{
	scene_explore(s, &fork_write, &no_flush, true);
}

QEMU_TEST(explore, fork_beside_dma_writes,
	  "in every order a child keeps what the page held when the fork "
	  "returned")
{
	scene_explore(s, &fork_write, SVA, false);
}

/* ---- protect ------------------------------------------------------------ */

static void protect_and_look(const struct exploration *x)
{
	scene.error = mm_protect(scene.mm, A, B, PROT_R);
	scene.saw[0] = cpu_reads(scene.mm, A);
	scene.saw[1] = cpu_reads(scene.mm, A);
}

static const char *read_only_stays(const struct exploration *x)
{
	return scene.error || rd(scene.mm, A) == scene.saw[0]
		       ? NULL
		       : "a device writes to memory that is read-only";
}

static struct exploration protect = {
	.setup = written,
	.teardown = scene_end,
	.verdict = read_only_stays,
	.actors = { { "T0", protect_and_look }, { "device", device_writes_a } },
};

QEMU_TEST(explore, protect_flushed_in_start_is_found,
	  "the explorer finds that a client which flushes in "
	  "invalidate_range_start lets a device write after mprotect")
{
	static struct exploration reads_first;

	reads_first = protect;
	reads_first.actors[1].fn = device_uses_a;
	scene_explore(s, &reads_first, &only_start, true);
}

/* Down and up again: what the device had cached in between must go, too. */
static void protect_twice(const struct exploration *x)
{
	protect_and_look(x);
	if (!scene.error)
		scene.error = mm_protect(scene.mm, A, B, RW);
}

static const char *right_comes_back(const struct exploration *x)
{
	if (scene.error || scene.saw[0] != scene.saw[1])
		return "a device writes to memory that is read-only";
	device_writes(&scene.client[0], A, 70);
	return rd(scene.mm, A) == 70
		       ? NULL
		       : "a device lacks a right that was given back";
}

static struct exploration protect_up = {
	.setup = written,
	.teardown = scene_end,
	.verdict = right_comes_back,
	.actors = { { "T0", protect_twice }, { "device", device_uses_a } },
};

STRICT_TEST(explore, protect_down_and_up_beside_dma,
	    "in every order a device loses the right to write with mprotect, "
	    "and has it again when mprotect has given it back")
{
	scene_explore(s, &protect_up, SVA, false);
}

QEMU_TEST(
	explore, protect_beside_dma_writes,
	"in every order no device writes to a page after mprotect has made it "
	"read-only")
{
	scene_explore(s, &protect, SVA, false);
}
