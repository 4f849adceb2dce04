/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c - attempt, page request, answer, attempt
 *
 * An attempt on QEMU is one SCRIPTS program.  QEMU runs it within one register
 * write, as it runs the commands of a doorbell: either all of a program comes
 * before an invalidation or all of it after.
 */
#include "tests/endpoint.h"
#include "drivers/lsi.h"
#include "kernel/err.h"

#define GROUP_MAX 16u
#define LOOKS     16u /* at a word of 0 while doorbells ring                */
#define STAGE     (DMA_STAGE + DMA_STAGE / 2) /* dma_read() has the rest    */

/* The queue of each, and its answer; and which there are. */
static struct spinlock lock = SPINLOCK_INIT(RANK_MODEL, "endpoints");
static LIST_HEAD(, endpoint) endpoints = LIST_HEAD_INITIALIZER(endpoints);

/* ---- what the tables say -------------------------------------------------- */

#define MAY_R BIT(0)
#define MAY_W BIT(1)

static unsigned rights_of(uint64_t w)
{
	return (w & BIT(61) ? MAY_R : 0) | (w & BIT(62) ? MAY_W : 0);
}

/*
 * As the IOMMU would answer a translation request, from memory as it is now.
 * Nothing is locked: tables may go meanwhile, which the caller finds out by
 * pri_doorbells(); here only memory that is there must be touched.
 */
static unsigned rights_at(struct endpoint *e, iova_t va)
{
	struct dte dte = iommu_get_dte(e->s->iommu, e->devid);
	unsigned rights = rights_of(dte.w[0]);
	unsigned level = dte.w[0] >> 9 & 7;
	pa_t table = dte.w[0] & GENMASK(51, 12);

	if (level < 1 || level > 6 || va >> (12 + 9 * level))
		return 0;
	for (;;) {
		uint64_t w, next;

		if (table >> PAGE_SHIFT >= frames_end)
			return 0;
		w = READ_ONCE(((uint64_t *)phys_to_virt(
			table))[va >> (3 + 9 * level) & 511]);
		next = w >> 9 & 7;
		if (!(w & BIT(0)))
			return 0;
		rights &= rights_of(w);
		if (!next || next == 7)
			return rights;
		if (next >= level)
			return 0;
		table = w & GENMASK(51, 12);
		level = (unsigned)next;
	}
}

/* ---- attempts ------------------------------------------------------------ */

/* The chip's program reads before, writes, and reads after. */
struct stage {
	uint32_t before, new, after;
};

/* Did it run?  Not if the chip does not even reach its own memory. */
static bool run(struct endpoint *e, iova_t va, struct stage *stage, bool write)
{
	struct lsi *lsi = lsi_at(e->dev);
	struct dma_own *own = &lsi->engine.own;
	volatile struct stage *there = (void *)(own->va + STAGE);
	uint64_t bus = own->bus + STAGE;
	const struct lsi_insn program[] = {
		lsi_move(bus + offsetof(struct stage, before), va, 4),
		lsi_move(va, bus + offsetof(struct stage, new), 4),
		lsi_move(bus + offsetof(struct stage, after), va, 4),
		lsi_interrupt(1),
	};
	const struct lsi_insn reads[] = { program[0], lsi_interrupt(1) };
	uint32_t tag;
	int error;

	if (!rights_at(e, own->bus) || !rights_at(e, bus))
		return false;
	*there = (struct stage){ .new = stage->new };
	error = lsi_run(lsi, LSI_IN_MEMORY, write ? program : reads,
			write ? ARRAY_SIZE(program) : ARRAY_SIZE(reads), &tag);
	*stage = *there;
	return !error;
}

static bool chip_reads(struct endpoint *e, iova_t va, uint32_t *word)
{
	struct stage stage = { 0 };

	for (unsigned i = 0; i < LOOKS; i++) {
		uint64_t rung = pri_doorbells();
		unsigned before = rights_at(e, va);

		if (!run(e, va, &stage, false))
			return false;
		*word = stage.before;
		if (*word)
			return true;
		if (!(before & rights_at(e, va) & MAY_R))
			return false;
		/* It is a 0, unless what was looked at was on its way out. */
		if (!(rung & 1) && rung == pri_doorbells())
			return true;
	}
	return false;
}

/*
 * Where another word stands than was written: it was refused; or a CPU has stored
 * since.  Only that if it might be written all the time: a page may come between
 * two moves of the program (a shared table needs no doorbell for that), and with
 * it a word that is none of ours.
 */
static bool chip_writes(struct endpoint *e, iova_t va, uint32_t word)
{
	struct stage stage = { .new = word };
	uint64_t rung = pri_doorbells();
	unsigned before = rights_at(e, va);

	if (!run(e, va, &stage, true))
		return false;
	if (stage.after == word)
		return true;
	return stage.before && stage.after && stage.after != stage.before &&
	       before & rights_at(e, va) & MAY_W && !(rung & 1) &&
	       rung == pri_doorbells();
}

static bool model_moves(struct endpoint *e, iova_t va, uint32_t *word,
			bool write)
{
	return model_dma(e->s->model, e->devid, va, word, sizeof(*word), write,
			 NULL) == sizeof(*word);
}

bool endpoint_reaches(struct endpoint *e, iova_t va, uint32_t *word, bool write)
{
	if (e->s->model)
		return model_moves(e, va, word, write);
	return write ? chip_writes(e, va, *word) : chip_reads(e, va, word);
}

/* ---- page requests -------------------------------------------------------- */

static bool closing(struct endpoint *e)
{
	return READ_ONCE(e->closing);
}

static void on_answer(void *arg, uint16_t devid, uint16_t tag, unsigned status)
{
	uint64_t flags = spin_lock_irq(&lock);
	struct endpoint *e;

	(void)arg;
	LIST_FOREACH (e, &endpoints, link) {
		if (e->devid != devid || e->waits_for != tag)
			continue;
		e->status = status;
		WRITE_ONCE(e->waits_for, -1);
		wake_all(&e->answer);
	}
	spin_unlock_irq(&lock, flags);
}

static void expect_answer(struct endpoint *e, int tag)
{
	uint64_t flags = spin_lock_irq(&lock);

	e->waits_for = tag;
	spin_unlock_irq(&lock, flags);
}

/* All requests of a group; the first that is not logged ends it. */
static enum pri_verdict send(struct endpoint *e, const struct endpoint_job *j)
{
	unsigned n = j->n ? j->n : 1;
	enum pri_verdict v = PRI_LOGGED;

	for (unsigned i = 0; i < n && v == PRI_LOGGED; i++) {
		v = pri_send(&(struct model_ppr){
			.devid = e->devid,
			.tag = e->tag,
			.last = i == n - 1,
			.read = true,
			.write = j->write,
			.iova = (j->va & PAGE_MASK) + i * PAGE_SIZE,
		});
		e->stats.requests += v == PRI_LOGGED;
	}
	return v;
}

/* Which device, and where: of a probe (explain.c). */
static uint64_t at_device(const struct endpoint *e, iova_t va)
{
	return (uint64_t)e->devid << 48 | va;
}

/* One group, until somebody has taken all of it; then its answer. */
static int ask(struct endpoint *e, const struct endpoint_job *j)
{
	enum pri_verdict v;

	PROBE(device_asks, at_device(e, j->va), j->write);
	e->tag = (e->tag + 1) % 512;
	expect_answer(e, e->tag);
	while ((v = send(e, j)) == PRI_LOST && !closing(e)) {
		e->stats.repeats++;
		cpu_pause();
		yield();
	}
	if (v == PRI_LOGGED) {
		e->stats.faults++;
		wait_event(&e->answer,
			   READ_ONCE(e->waits_for) < 0 || closing(e));
	}
	if (closing(e))
		return -EAGAIN;
	if (v == PRI_LOGGED && e->status == PPR_SUCCESS)
		return 0;
	if (v == PRI_REFUSED || e->status == PPR_INVALID) {
		e->stats.invalid++;
		return -EFAULT;
	}
	e->state = ENDPOINT_STOPPED;
	return -EIO;
}

/* ---- the thread ------------------------------------------------------------ */

static bool moves(struct endpoint *e, struct endpoint_job *j)
{
	bool moved = endpoint_reaches(e, j->va, &j->word, j->write);

	e->stats.tries++;
	e->stats.dmas += moved;
	if (j->write)
		PROBE(endpoint_write, at_device(e, j->va), moved ? j->word : 0);
	else
		PROBE(device_read, at_device(e, j->va), moved ? j->word : 0);
	return moved;
}

/*
 * A chip that has its programs in the memory of a process may find them gone,
 * and asks for them first.
 */
static bool programs_gone(struct endpoint *e, struct endpoint_job *own)
{
	iova_t va;

	if (e->s->model)
		return false;
	va = lsi_at(e->dev)->engine.own.bus;
	*own = (struct endpoint_job){ .va = va, .n = 2, .write = true };
	return !(rights_at(e, va) & rights_at(e, va + STAGE) & MAY_W);
}

static int access(struct endpoint *e, struct endpoint_job *j)
{
	struct endpoint_job own;
	unsigned in_vain = 0;

	if (e->state != ENDPOINT_RUNS)
		return -EIO;
	if (j->n)
		return ask(e, j);
	if (moves(e, j))
		return 0;
	while (in_vain < e->limit) {
		bool gone = programs_gone(e, &own);
		int error = ask(e, gone ? &own : j);

		if (error)
			return error;
		if (moves(e, j))
			return 0;
		if (gone && !programs_gone(e, &own))
			continue; /* that much was gained */
		e->stats.fruitless++;
		in_vain++;
	}
	e->state = ENDPOINT_FAILED;
	PROBE(device_fails, at_device(e, j->va), e->limit);
	return -EIO;
}

static struct endpoint_job *job_take(struct endpoint *e)
{
	uint64_t flags = spin_lock_irq(&lock);
	struct endpoint_job *j = TAILQ_FIRST(&e->jobs);

	if (j)
		TAILQ_REMOVE(&e->jobs, j, link);
	spin_unlock_irq(&lock, flags);
	return j;
}

static void main_loop(void *arg)
{
	struct endpoint *e = arg;
	struct endpoint_job *j;

	for (;;) {
		wait_event(&e->work, (j = job_take(e)) || closing(e));
		if (!j)
			return;
		j->error = closing(e) ? -EAGAIN : access(e, j);
		atomic_store(&j->done, true);
		wake_all(&e->done);
		cpu_pause(); /* icount: a turn for the other CPUs */
	}
}

/* ---- interface -------------------------------------------------------------- */

void endpoint_begin(struct endpoint *e, struct endpoint_job *j)
{
	uint64_t flags = spin_lock_irq(&lock);

	atomic_store(&j->done, false);
	TAILQ_INSERT_TAIL(&e->jobs, j, link);
	spin_unlock_irq(&lock, flags);
	wake_all(&e->work);
}

int endpoint_end(struct endpoint *e, struct endpoint_job *j)
{
	wait_event(&e->done, atomic_load(&j->done));
	return j->error;
}

static int do_job(struct endpoint *e, struct endpoint_job *j)
{
	endpoint_begin(e, j);
	return endpoint_end(e, j);
}

int endpoint_read(struct endpoint *e, iova_t va, uint32_t *word)
{
	struct endpoint_job j = { .va = va };
	int error = do_job(e, &j);

	*word = j.word;
	return error;
}

int endpoint_write(struct endpoint *e, iova_t va, uint32_t word)
{
	struct endpoint_job j = { .va = va, .word = word, .write = true };

	return do_job(e, &j);
}

int endpoint_ask(struct endpoint *e, iova_t va, unsigned n, bool write)
{
	struct endpoint_job j = { .va = va, .n = n, .write = write };

	REQUIRE(n && n <= GROUP_MAX);
	return do_job(e, &j);
}

void endpoint_open(struct endpoint *e, struct stand *s, unsigned dev,
		   const struct endpoint_config *config)
{
	struct endpoint_config c = { 0 };
	uint64_t flags;

	if (config)
		c = *config;
	pri_open(s);
	pri_listen(on_answer, NULL);
	if (s->model && !c.plain)
		model_set_ats(s->model, s->devid[dev], MODEL_ATS_ON);
	*e = (struct endpoint){ .s = s,
				.dev = dev,
				.devid = s->devid[dev],
				.limit = c.limit ? c.limit : ENDPOINT_LIMIT,
				.waits_for = -1 };
	TAILQ_INIT(&e->jobs);
	waitq_init(&e->work);
	waitq_init(&e->done);
	waitq_init(&e->answer);
	e->thread = thread_create_on(c.cpus ? c.cpus : ~UINT64_C(0), "endpoint",
				     main_loop, e);
	REQUIRE(e->thread);
	flags = spin_lock_irq(&lock);
	LIST_INSERT_HEAD(&endpoints, e, link);
	spin_unlock_irq(&lock, flags);
}

void endpoint_close(struct endpoint *e)
{
	uint64_t flags;

	WRITE_ONCE(e->closing, true);
	wake_all(&e->work);
	wake_all(&e->answer);
	thread_join(e->thread);
	flags = spin_lock_irq(&lock);
	LIST_REMOVE(e, link);
	spin_unlock_irq(&lock, flags);
}

void endpoints_release(void)
{
	struct endpoint *e;

	while ((e = LIST_FIRST(&endpoints)))
		endpoint_close(e);
}
