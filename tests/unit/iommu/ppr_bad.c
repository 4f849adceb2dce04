/* SPDX-License-Identifier: MIT */
/*
 * ppr_bad.c - page requests of devices that are wrong, or ask too much
 *
 * A bad entry must not affect other devices, and each request that requires an
 * answer gets one; pri_close() checks this after every test.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/fixture/iommu/fault_server.h"

#define UNBOUND 0x7b /* a device without a binding                         */
#define PROCESS 0x54321u
#define RZ      BIT(55) /* a reserved bit was set in the tables            */

static struct fault_server p, q;
static struct endpoint e;

static uint64_t entry(uint16_t devid, uint16_t tag, bool last)
{
	return pri_word(&(struct model_ppr){
		.devid = devid, .tag = tag, .last = last, .read = true });
}

static uint64_t entry_of(uint32_t pasid, uint16_t tag, bool last)
{
	return pri_word(&(struct model_ppr){ .devid = p.devid,
					     .tag = tag,
					     .last = last,
					     .read = true,
					     .gn = true,
					     .pasid = pasid });
}

/* Check that the log moves and that p is served. */
static void check_served(void)
{
	unsigned n = fault_server_answered(&p),
		 ok = fault_server_answers(&p, PPR_SUCCESS);

	fault_server_send(&p, 500, IO(1), true);
	fault_server_await(&p, n + 1);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), ok + 1);
}

IOMMU_TEST(ppr, unbound_devices_get_invalid,
	   "an unbound device or PASID gets INVALID whether its group is "
	   "complete or not, and only where an answer is required (C108, C113)")
{
	fault_server_open(&p, s, 0);
	REQUIRE(pri_log(entry(UNBOUND, 1, false), IO(0)));
	REQUIRE(pri_log(entry(UNBOUND, 1, true), IO(0)));
	REQUIRE(pri_log(entry(UNBOUND, 2, true), IO(0)));
	REQUIRE(pri_log(entry(UNBOUND, 3, false), IO(0)));
	REQUIRE(pri_log(entry_of(PROCESS, 4, true), IO(0)));
	REQUIRE(pri_log(entry_of(0, 5, true), IO(0)));
	REQUIRE(pri_log(entry_of(PROCESS, 6, false), IO(0)));
	fault_server_await_all();
	for (uint16_t tag = 1; tag < 3; tag++)
		EXPECT_EQ(pri_tally(UNBOUND, tag).answered[PPR_INVALID], 1);
	for (uint16_t tag = 4; tag < 6; tag++)
		EXPECT_EQ(pri_tally(p.devid, tag).answered[PPR_INVALID], 1);
	EXPECT_EQ(p.calls, 0);
	check_served();
}

IOMMU_TEST(ppr, answer_names_the_process,
	   "a request with a PASID is served by that PASID's binding, and its "
	   "answer has the same PASID (B51)")
{
	fault_server_open(&p, s, 0);
	fault_server_unbind(&p);
	fault_server_bind(&p, PROCESS);
	REQUIRE(pri_log(entry_of(PROCESS, 1, true), IO(0)));
	REQUIRE(pri_log(entry(p.devid, 2, true), IO(1)));
	REQUIRE(pri_log(entry_of(PROCESS ^ BIT(19), 3, true), IO(1)));
	REQUIRE(pri_log(entry_of(PROCESS ^ BIT(0), 4, true), IO(1)));
	fault_server_await_all();
	EXPECT_EQ(pri_tally(p.devid, 1).answered[PPR_SUCCESS], 1);
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), 3);
	EXPECT_EQ(p.calls, 1);
}

IOMMU_TEST(ppr, mixed_group_is_invalid,
	   "a group whose requests have different PASIDs is INVALID, and no "
	   "fault function runs")
{
	struct ppr_binding *b = p.binding;

	fault_server_open(&p, s, 0);
	b = p.binding;
	fault_server_bind(&p, PROCESS);
	REQUIRE(pri_log(entry_of(PROCESS, 1, false), IO(0)));
	REQUIRE(pri_log(entry(p.devid, 1, true), IO(0)));
	REQUIRE(pri_log(entry(p.devid, 2, false), IO(0)));
	REQUIRE(pri_log(entry_of(PROCESS, 2, true), IO(0)));
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_INVALID), 2);
	EXPECT_EQ(p.calls, 0);
	ppr_unbind(&s->ppr, b);
}

IOMMU_TEST(
	ppr, malformed_requests_fail,
	"a request with a reserved-bit error fails its group at any place; an "
	"entry of unknown kind is ignored (C108)")
{
	fault_server_open(&p, s, 0);
	for (uint16_t bad = 0; bad < 3; bad++)
		for (unsigned i = 0; i < 3; i++)
			REQUIRE(pri_log(entry(p.devid, bad, i == 2) |
						(i == bad ? RZ : 0),
					IO(i)));
	for (uint64_t kind = 2; kind < 16; kind++)
		REQUIRE(pri_log((entry(p.devid, 9, true) & GENMASK(59, 0)) |
					kind << 60,
				IO(0)));
	REQUIRE(pri_log(entry(UNBOUND, 1, true) | RZ, IO(0)));
	/* A later request is bad too, but less so. */
	REQUIRE(pri_log(entry(p.devid, 10, false) | RZ, IO(0)));
	REQUIRE(pri_log(entry_of(PROCESS, 10, false), IO(0)));
	REQUIRE(pri_log(entry(p.devid, 10, true), IO(0)));
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_FAILURE), 4);
	EXPECT_EQ(p.calls, 0);
	EXPECT_EQ(pri_tally(UNBOUND, 1).answered[PPR_FAILURE], 1);
	EXPECT_EQ(ppr_stats(&s->ppr).malformed, 4 + 14);
	check_served();
}

IOMMU_TEST(ppr, unfinished_groups_take_no_room,
	   "unfinished groups, more than a device can have, take no room from "
	   "it, and a last request without its first is served")
{
	fault_server_open(&p, s, 0);
	for (uint16_t tag = 0; tag < 200; tag++)
		fault_server_send(&p, tag, IO(0), false);
	fault_server_settle(&p);
	EXPECT_EQ(p.calls, 0);
	EXPECT_EQ(ppr_stats(&s->ppr).dropped, 200 - PPR_DEVICE_MAX);
	check_served();
	EXPECT_EQ(p.calls, 1);
	/*
	 * The oldest of them is gone; of the youngest both pages are requested.
	 */
	fault_server_send(&p, 0, IO(1), true);
	fault_server_send(&p, 199, IO(1), true);
	fault_server_await_all();
	EXPECT_EQ(p.calls, 1 + 1 + 2);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), 3);
}

IOMMU_TEST(
	ppr, random_entries_are_served_or_refused,
	"of thousands of random entries each one that requires an answer gets "
	"one, and a correct device is served throughout")
{
	struct rng rng = rng_seed(test_seed());
	unsigned n = s->model ? 3840 : 19200;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	for (unsigned i = 0; i < n; i++) {
		static const uint16_t ids[] = { 0, UNBOUND, 0xffff };
		uint64_t w = rng_next(&rng) & GENMASK(59, 16);
		unsigned id = (unsigned)rng_below(&rng, 4);

		w |= rng_below(&rng, 8) ? UINT64_C(1) << 60 : BIT(62);
		/* A tag is reused only after its answer, so one a round. */
		w = (w & ~GENMASK(40, 32)) | (uint64_t)(i % 128) << 32;
		w |= id ? ids[id - 1] : p.devid;
		REQUIRE(pri_log(w, rng_next(&rng)));
		if (i % 128 != 127)
			continue;
		fault_server_await_all();
		fault_server_send(&q, 1, IO(i % FAULT_SERVER_PAGES), true);
		fault_server_await_all();
	}
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&q, PPR_SUCCESS), n / 128);
	EXPECT_EQ(fault_server_answers(&q, PPR_INVALID), 0);
}

/* ---- the ring is read once --------------------------------------------- */

/* Fill every slot with entries of another device once one has been taken. */
static void scribble(uint64_t a, uint64_t b, void *arg)
{
	const struct iommu_log *log = arg;
	uint64_t w = pri_word(&(struct model_ppr){
		.devid = UNBOUND, .tag = 77, .last = true, .read = true });

	(void)a, (void)b;
	for (unsigned i = 0; i < log->size / sizeof(struct log_entry); i++) {
		WRITE_ONCE(log->ring[i].w[0], w);
		WRITE_ONCE(log->ring[i].w[1], IO(1000));
	}
}

static void wipe(const struct iommu_log *log)
{
	for (unsigned i = 0; i < log->size / sizeof(struct log_entry); i++)
		log->ring[i] = (struct log_entry){ 0 };
}

IOMMU_TEST(ppr, ring_is_not_read_twice,
	   "a device that changes the ring after its entry was taken changes "
	   "nothing: the copy is served and answered")
{
	fault_server_open(&p, s, 0);
	hook("iommu_log", scribble, &s->iommu->requests);
	fault_server_send(&p, 1, IO(3), true);
	fault_server_await(&p, 1);
	fault_server_settle(&p);
	unhook("iommu_log");
	wipe(&s->iommu->requests);
	EXPECT_EQ(p.calls, 1);
	EXPECT_EQ(p.seen[0].va, IO(3));
	EXPECT_EQ(pri_tally(p.devid, 1).answered[PPR_SUCCESS], 1);
	check_served();
}

/* ---- too much ---------------------------------------------------------- */

#define STORM 20000u

static void storm(struct iommu_fixture *s, unsigned n)
{
	unsigned sent = 0, full = 0;

	fault_server_open(&p, s, 0);
	while (sent < n) {
		if (pri_log(entry(p.devid, sent % 251, true), IO(1))) {
			sent++;
		} else {
			full++;
			fault_server_pause();
		}
	}
	fault_server_await_all();
	EXPECT_EQ(fault_server_answered(&p), n);
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), n);
	EXPECT_EQ(ppr_stats(&s->ppr).requests, n);
	EXPECT(!full || s->iommu->requests.restarts);
	test_note("storm: %u found the log full, it was restarted %lu times, "
		  "%lu of %u were sent back unserved",
		  full, s->iommu->requests.restarts, ppr_stats(&s->ppr).shed,
		  n);
}

IOMMU_TEST(ppr, storm_for_one_page,
	   "20,000 requests for one page (the model: 2,000) get as many "
	   "answers and one page, and the log does not stay full")
{
	storm(s, s->model ? STORM / 10 : STORM);
}

/* One device floods, in bursts, from a thread. */
static _Atomic bool enough;

static void flood(void *arg)
{
	struct rng rng = rng_seed(test_seed());
	uint64_t *sent = arg, burst = 0;

	while (!atomic_load(&enough)) {
		struct model_ppr r = { .devid = q.devid,
				       .tag = *sent % 251,
				       .last = *sent % 3,
				       .read = true,
				       .iova = IO(*sent % 50) };
		bool logged = pri_log(pri_word(&r), r.iova);

		WRITE_ONCE(*sent, *sent + logged);
		if (logged && burst--)
			continue;
		burst = rng_below(&rng, 400);
		fault_server_pause();
	}
}

/* Groups of q that were taken to work before p's. */
static struct {
	_Atomic unsigned taken, at_ours;
} turn;

/* Context: ppr->lock held. */
static void count_turns(uint64_t devid, uint64_t tag, void *arg)
{
	(void)tag, (void)arg;
	if (devid == q.devid)
		atomic_fetch_add(&turn.taken, 1);
	else
		atomic_store(&turn.at_ours, atomic_load(&turn.taken));
}

#define LOG_HOLDS 255u
#define ASKED     50u

IOMMU_TEST(ppr, flood_of_one_device_delays_no_other,
	   "while one device floods the log each of 50 requests of another "
	   "waits for no more groups than log and queue held, and two")
{
	static uint64_t flooded;
	unsigned worst = 0, full = 0, asked = 0, before, waited;
	struct task t;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	flooded = 0;
	atomic_store(&enough, false);
	hook("ppr_take", count_turns, NULL);
	spawn(&t, flood, &flooded);
	for (; asked < ASKED || READ_ONCE(flooded) <= 500; asked++) {
		while (!pri_log(entry(p.devid, 1, true), IO(1))) {
			full++;
			fault_server_pause();
		}
		/* Too late rather than too early: it only weakens the check. */
		before = atomic_load(&turn.taken);
		fault_server_await(&p, asked + 1);
		waited = atomic_load(&turn.at_ours) - before;
		if ((int)waited > (int)worst)
			worst = waited;
	}
	atomic_store(&enough, true);
	join(&t);
	unhook("ppr_take");
	fault_server_await_all();
	EXPECT_EQ(fault_server_answers(&p, PPR_SUCCESS), asked);
	EXPECT(worst <= LOG_HOLDS + PPR_DEVICE_MAX + 2);
	test_note(
		"storm: %lu entries; a request of the other waited for at most "
		"%u groups of it, and found the log full %u times",
		flooded, worst, full);
}

/* ---- overflow ---------------------------------------------------------- */

/* Stop the log's reader in the middle of its first entry. */
static void stop_here(uint64_t a, uint64_t b, void *arg)
{
	(void)a, (void)b;
	sync_point_enter(arg);
}

static void stop_reader(struct sync_point *g)
{
	sync_point_set(g, NULL, NULL);
	hook("iommu_log", stop_here, g);
	fault_server_send(&p, 302, IO(3), true);
	sync_point_await(g);
	unhook("iommu_log");
}

/* Fill the log; returns the number of entries. */
static unsigned fill_log(void)
{
	struct model_ppr r = { .devid = p.devid, .last = true, .read = true };
	unsigned n = 0;

	for (;; n++) {
		r.tag = (uint16_t)n;
		if (!pri_log(pri_word(&r), IO(n % FAULT_SERVER_PAGES)))
			return n;
	}
}

IOMMU_TEST(
	ppr, overflow_drops_unfinished_groups,
	"a log that overflows while its reader is stopped runs again: "
	"unfinished groups are dropped, complete ones answered once, repeated "
	"ones served (B58, C110, H49)")
{
	uint64_t restarts = s->iommu->requests.restarts;
	struct endpoint_job job = { .va = IO(5) };
	struct sync_point g;

	fault_server_open(&p, s, 0);
	fault_server_open(&q, s, 1);
	endpoint_open(&e, s, 1, NULL);
	fault_server_send(&q, 300, IO(7), false);
	fault_server_settle(&q);
	stop_reader(&g);
	EXPECT_EQ(fill_log(), 255);
	endpoint_begin(&e, &job);
	while (!READ_ONCE(e.stats.repeats))
		fault_server_pause();
	EXPECT_EQ(fault_server_answered(&p), 0);
	sync_point_release(&g);
	EXPECT_EQ(endpoint_end(&e, &job), 0);
	EXPECT_EQ(job.word, q.word + 5);
	fault_server_await_all();
	EXPECT_EQ(s->iommu->requests.restarts, restarts + 1);
	EXPECT_EQ(fault_server_answered(&p), 256);
	EXPECT_EQ(ppr_stats(&s->ppr).dropped, 1);
	/* Of group 300 only later requests count. */
	q.calls = 0;
	fault_server_send(&q, 300, IO(8), true);
	fault_server_await_all();
	EXPECT_EQ(q.calls, 1);
	EXPECT_EQ(q.seen[0].va, IO(8));
}

/* ---- no memory --------------------------------------------------------- */

/*
 * Fail the next allocation for a request.  An event allocates nothing, and the thread
 * that reads it may not be the one that reads the request.
 */
static void starve(uint64_t w0, uint64_t w1, void *arg)
{
	(void)w1;
	if (FIELD_GET(LOG0_TYPE, w0) == PPR_FAULT &&
	    atomic_exchange((_Atomic bool *)arg, false))
		inject_arm(1);
}

IOMMU_TEST(ppr, no_memory_makes_it_ask_again,
	   "a group for which there is no memory is answered SUCCESS with "
	   "nothing mapped, and the device asks again")
{
	static _Atomic bool armed;
	uint32_t word;

	fault_server_open(&p, s, 0);
	endpoint_open(&e, s, 0, NULL);
	hook("iommu_log", starve, &armed);
	atomic_store(&armed, true);
	EXPECT_EQ(endpoint_read(&e, IO(1), &word), 0);
	unhook("iommu_log");
	EXPECT_EQ(word, p.word + 1);
	EXPECT_EQ(e.stats.faults, 2);
	EXPECT_EQ(e.stats.fruitless, 1);
	EXPECT_EQ(p.calls, 1);
	EXPECT_EQ(ppr_stats(&s->ppr).shed, 1);
}
