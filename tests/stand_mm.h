/* SPDX-License-Identifier: MIT */
/*
 * stand_mm.h - a device of the stand in the address space of a process
 *
 *	USER_TEST(users, same_memory, "CPU and device read what the other wrote")
 *	{
 *		struct mm *mm = stand_mm(s, 2);         pages 0 and 1 at VA
 *
 *		stand_bind(s, 0, mm);
 *		wr(mm, P(0), 'A');
 *		EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
 *	}
 *
 * makes four tests: the device walks the mm's own table (sva) or a mirror of it,
 * on QEMU and on the model.
 *
 * A real chip fetches its programs through the same translation: each mm has
 * two pages at OWN(dev), shared memory like any other, where the chip finds them.
 */
#pragma once

#include "iommu/mirror.h"
#include "iommu/sva.h"
#include "tests/stand.h"
#include "tests/world.h"

#define OWN(dev) (UINT64_C(0x0f000000) + (dev)*2 * DMA_STAGE)

/* world(n) with room for the devices' own pages; gone after the test. */
struct mm *stand_mm(struct stand *s, unsigned n);

/* mm_fork(), and gone after the test. */
struct mm *stand_fork(struct mm *mm);

/* Put it now. */
void stand_exit(struct mm *mm);

/* ---- devices ------------------------------------------------------------ */

enum user_kind {
	USER_SVA,
	USER_MIRROR,
};

/* What a device of the stand is bound by. */
struct user {
	enum user_kind kind;
	union {
		struct sva sva;
		struct mirror mirror;
	};
	struct dma_own own; /* what the chip used before                    */
	struct mm *mm;      /* NULL: not bound                              */
};

/* The test's kind. */
enum user_kind stand_kind(void);

/* Bind, as the test's kind says or as said; ends the test if it cannot. */
struct user *stand_bind(struct stand *s, unsigned dev, struct mm *mm);
struct sva *stand_bind_sva(struct stand *s, unsigned dev, struct mm *mm);
struct mirror *stand_bind_mirror(struct stand *s, unsigned dev, struct mm *mm);
void stand_unbind(struct stand *s, unsigned dev);

/* What names it at its probes. */
const struct admission *stand_door(unsigned dev);

/* The bare bind, as the test's kind says: its error. */
must_check int stand_try_bind(struct stand *s, unsigned dev, struct mm *mm);

/* From now on devices are bound with page requests, served by stand_ppr(). */
void stand_serve(struct stand *s);

/* Its fault by hand. */
must_check int stand_fault(unsigned dev, va_t va, enum prot access);

/* The device reads, and if it got nothing faults and tries once more: BLOCKED
 * if that is refused.  Writes, after a fault: its error. */
uint64_t stand_load(struct stand *s, unsigned dev, va_t va);
must_check int stand_store(struct stand *s, unsigned dev, va_t va, uint64_t v);

/* An mm of two pages: device 0 is bound, has read 'A' in page 0, and may write. */
struct mm *stand_warm(struct stand *s);

/* Expect that the page is out of device 0's reach, and that nothing cached names
 * it any more. */
void stand_expect_lost(struct stand *s, va_t va, struct page *page);

/*
 * Coherence, at a quiet point: every entry of the device's own table names the
 * frame that the CPU's names, with no more rights (B31).  NULL, or what is wrong
 * in words.  (A shared table is iommu_check()'s.)
 */
const char *mirror_check(struct mirror *m);

/* The same of device dev, if it is bound and has a table of its own. */
const char *stand_check(unsigned dev);

/* ---- for the macro and stand_release() ---------------------------------- */

void stand_user_test(enum user_kind user, const char *stand,
		     void (*fn)(struct stand *s));
void stand_mm_release(struct stand *s);

#define USER_TEST_IN(suite_, name_, user_, KIND_, stand_, claim_, limit_)  \
	static void suite_##_##name_##_##user_##_##stand_(void)            \
	{                                                                  \
		stand_user_test(KIND_, #stand_, suite_##_##name_);         \
	}                                                                  \
	static const struct                                                \
		test                                                       \
			test_##suite_##_##name_##_##user_##_##stand_ = {   \
				#suite_,                                   \
				#name_ "." #user_ "." #stand_,             \
				claim_,                                    \
				__FILE__,                                  \
				suite_##_##name_##_##user_##_##stand_,     \
				1,                                         \
				limit_                                     \
			};                                                 \
	static const struct test                                           \
		*const at_##suite_##_##name_##_##user_##_##stand_ in_order \
		__attribute__((section("vv_tests"), used)) =               \
			&test_##suite_##_##name_##_##user_##_##stand_

/* The same, in the usual time. */
#define USER_TEST_AS(suite, name, user, KIND, stand, claim) \
	USER_TEST_IN(suite, name, user, KIND, stand, claim, 0)

#define USER_TEST(suite, name, claim)                                 \
	static void suite##_##name(struct stand *s);                  \
	USER_TEST_AS(suite, name, sva, USER_SVA, qemu, claim);        \
	USER_TEST_AS(suite, name, sva, USER_SVA, model, claim);       \
	USER_TEST_AS(suite, name, mirror, USER_MIRROR, qemu, claim);  \
	USER_TEST_AS(suite, name, mirror, USER_MIRROR, model, claim); \
	static void suite##_##name(struct stand *s)

/* What the chips cannot say. */
#define MODEL_USER_TEST(suite, name, claim)                           \
	static void suite##_##name(struct stand *s);                  \
	USER_TEST_AS(suite, name, sva, USER_SVA, model, claim);       \
	USER_TEST_AS(suite, name, mirror, USER_MIRROR, model, claim); \
	static void suite##_##name(struct stand *s)
