/* SPDX-License-Identifier: MIT */
/*
 * pager.c - the fault function of tests
 */
#include "tests/pager.h"
#include "kernel/err.h"

static void came_in(struct pager *p, va_t va, enum prot access)
{
	unsigned n = atomic_fetch_add(&p->calls, 1);
	unsigned now = atomic_fetch_add(&p->inside, 1) + 1;
	unsigned most = atomic_load(&p->most);

	while (now > most &&
	       !atomic_compare_exchange_weak(&p->most, &most, now))
		;
	if (n < PAGER_PAGES)
		p->seen[n] = (struct endpoint_job){ .va = va,
						    .write = access & PROT_W,
						    .n = access };
}

static enum ppr_status give(struct pager *p, va_t va, enum prot access)
{
	uint64_t i = (va - IOVA) / PAGE_SIZE;
	unsigned vain = atomic_load(&p->in_vain);
	int error;

	if (p->status != PPR_SUCCESS)
		return p->status;
	if (vain) {
		atomic_store(&p->in_vain, vain - 1);
		return PPR_SUCCESS;
	}
	if (va < IOVA || i >= PAGER_PAGES || (access & ~p->prot))
		return p->outside;
	error = domain_map(p->d, va, page_pa(p->page[i]), PAGE_SIZE, p->prot);
	if (error == -EEXIST)
		error = domain_protect(p->d, va, va + PAGE_SIZE, p->prot);
	return error ? PPR_FAILURE : PPR_SUCCESS;
}

static enum ppr_status fault(void *arg, va_t va, enum prot access)
{
	struct pager *p = arg;
	enum ppr_status status;

	came_in(p, va, access);
	wake_all(&pri_news);
	wait_event(&pri_news, !atomic_load(&p->hold));
	status = give(p, va, access);
	atomic_fetch_sub(&p->inside, 1);
	return status;
}

void pager_bind(struct pager *p, uint32_t pasid)
{
	REQUIRE(!ppr_bind(stand_ppr(p->s), p->devid, pasid, fault, p,
			  &p->binding));
}

void pager_unbind(struct pager *p)
{
	ppr_unbind(&p->s->ppr, p->binding);
}

void pager_open(struct pager *p, struct stand *s, unsigned dev)
{
	*p = (struct pager){ .s = s,
			     .dev = dev,
			     .devid = s->devid[dev],
			     .word = dev ? 'a' : 'A',
			     .prot = IO_RW,
			     .outside = PPR_INVALID };
	pri_open(s);
	p->d = stand_domain(s);
	for (unsigned i = 0; i < PAGER_PAGES; i++)
		p->page[i] = stand_page(s, p->word + i);
	if (s->model)
		model_set_ats(s->model, p->devid, MODEL_ATS_ON);
	stand_attach_as(s, dev, p->d, ATTACH_PPR | ATTACH_ATS);
	pager_bind(p, PPR_NO_PASID);
}

void pager_send(struct pager *p, uint16_t tag, iova_t va, bool last)
{
	struct model_ppr request = { .devid = p->devid,
				     .tag = tag,
				     .last = last,
				     .read = true,
				     .iova = va };

	REQUIRE(pri_log(pri_word(&request), va));
}

void pager_pause(void)
{
	/* Outside of any lock, or the one who has news never gets it. */
	cpu_pause();
	yield();
}

void pager_await_all(void)
{
	wait_event(&pri_news, !pri_unanswered());
}

unsigned pager_answers(struct pager *p, enum ppr_status status)
{
	return pri_total(p->devid).answered[status];
}

unsigned pager_answered(struct pager *p)
{
	struct pri_tally t = pri_total(p->devid);
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(t.answered); i++)
		n += t.answered[i];
	return n;
}

void pager_await(struct pager *p, unsigned n)
{
	wait_event(&pri_news, pager_answered(p) >= n);
}

void pager_await_calls(struct pager *p, unsigned n)
{
	wait_event(&pri_news, atomic_load(&p->calls) >= n);
}

void pager_release(struct pager *p)
{
	atomic_store(&p->hold, false);
	wake_all(&pri_news);
}

void pager_settle(struct pager *p)
{
	iommu_settle(p->s->iommu);
}
