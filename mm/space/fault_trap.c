/* SPDX-License-Identifier: MIT */
/*
 * fault_trap.c - #PF: a CPU's way to mm_fault()
 */
#include "arch/trap.h"
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "kernel/san/san.h"
#include "kernel/thread.h"
#include "mm/space/fault.h"

/*
 * Handle #PF.  A fault of the two instructions of arch/uaccess.asm that may touch
 * user memory is served, in a thread that has an mm and may sleep.  Otherwise the
 * exception table has the address at which to continue, or the fault is a bug.
 */
static void page_fault(struct trap_frame *frame)
{
	va_t va = read_cr2();
	struct thread *t = current();
	struct mm *mm = t ? t->mm : NULL;
	enum prot access = frame->error & PF_WRITE ? PROT_W : PROT_R;
	int ret = -EFAULT;

	if (unlikely(frame->error == PF_NO_CODE)) {
		trap_unserved(frame);
		return;
	}
	if (mm && user_access_at(frame->rip) && cpu_in_thread() &&
	    (frame->rflags & RFLAGS_IF)) {
		irq_enable();
		ret = mm_fault(mm, va, access);
		san_unseen(); /* the access is repeated */
		irq_disable();
	}
	if (ret && !trap_fixup(frame))
		trap_fatal(frame);
}

void fault_init(void)
{
	trap_set_handler(TRAP_PF, page_fault);
}
