/* SPDX-License-Identifier: MIT */
/*
 * panic.c - print the state of all CPUs and end the run
 *
 * Nothing here waits for a lock or trusts a pointer: the other CPUs are stopped
 * first, frame pointers are followed only inside the kernel half and upwards,
 * and a panic in the panic ends the run at once.
 */
#include "kernel/panic.h"
#include "arch/layout.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "arch/uaccess.h"
#include "kernel/ksym.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/thread.h"

#define BACKTRACE_MAX 24
#define PROBES_SHOWN  24

static void (*exit_hook)(void);
static void (*report_hook)(const char *cause);
static const char *(*request)(void);
static _Atomic int panicking; /* 1 + the CPU that prints                   */

void panic_set_exit(void (*fn)(void))
{
	exit_hook = fn;
}

void panic_set_request(const char *(*fn)(void))
{
	request = fn;
}

void panic_set_report(void (*fn)(const char *cause))
{
	report_hook = fn;
}

static void print_address(uint64_t address)
{
	uint64_t offset, size;
	const char *name = ksym_find(address, &offset, &size);

	printk("  [<%016lx>] %s+0x%lx/0x%lx\n", address, name, offset, size);
}

/* A stack frame: the caller's frame and the return address. */
static bool read_frame(uint64_t rbp, uint64_t *caller, uint64_t *ret)
{
	return rbp >= VMAP_BASE && !(rbp & 7) && !kernel_load64(rbp, caller) &&
	       !kernel_load64(rbp + 8, ret) && *ret;
}

/* Returns what a trap interrupted: the instruction, and the frame to continue from. */
static bool print_trap(uint64_t frame, uint64_t *rbp)
{
	uint64_t vector, rip, rsp;

	if (kernel_load64(frame + offsetof(struct trap_frame, vector),
			  &vector) ||
	    kernel_load64(frame + offsetof(struct trap_frame, rip), &rip) ||
	    kernel_load64(frame + offsetof(struct trap_frame, rbp), rbp))
		return false;
	printk("  trap %#lx, at:\n", vector);
	print_address(rip);
	/* A leaf without a frame: its caller is on top of the stack. */
	if (user_access_at(rip) &&
	    !kernel_load64(frame + offsetof(struct trap_frame, rsp), &rsp) &&
	    !kernel_load64(rsp, &rip))
		print_address(rip - 1);
	return true;
}

/*
 * The byte before a return address is inside the call: it has the right line,
 * and the right function if the call does not return.  That byte is printed.
 */
static void backtrace(uint64_t rip, uint64_t rbp)
{
	uint64_t caller, ret;

	if (rip)
		print_address(rip);
	for (unsigned i = 0; i < BACKTRACE_MAX; i++) {
		if (!read_frame(rbp, &caller, &ret))
			return;
		print_address(ret - 1);
		if (ret == (uint64_t)trap_return) {
			if (!print_trap(rbp + TRAP_FRAME_ABOVE, &caller))
				return;
		} else if (caller <= rbp) {
			return;
		}
		rbp = caller;
	}
}

static void print_registers(const struct trap_frame *f)
{
	printk("  rip %016lx rsp %016lx rflags %lx\n", f->rip, f->rsp,
	       f->rflags);
	printk("  rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax,
	       f->rbx, f->rcx, f->rdx);
	printk("  rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", f->rsi,
	       f->rdi, f->rbp, f->r8);
	printk("  r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", f->r9, f->r10,
	       f->r11, f->r12);
	printk("  r13 %016lx r14 %016lx r15 %016lx\n", f->r13, f->r14, f->r15);
}

static void print_strays(void)
{
	for (unsigned v = 0; v < TRAP_VECTORS; v++)
		if (trap_stray_count(v))
			printk("stray interrupts: vector %#x, %lu times\n", v,
			       trap_stray_count(v));
}

static void print_cpu(const struct cpu *cpu, const struct trap_frame *frame)
{
	const struct thread *t = cpu->current;

	printk("cpu%u: thread %u %s, preempt_count %u, irq_depth %u\n", cpu->id,
	       t ? t->id : 0, t ? t->name : "boot", cpu->preempt_count,
	       cpu->irq_depth);
	for (unsigned i = 0; t && i < t->n_held; i++)
		printk("  holds %s (rank %d) at %p\n", t->held[i].name,
		       (int)t->held[i].rank, (void *)t->held[i].lock);
	print_registers(frame);
	backtrace(frame->rip, frame->rbp);
}

/* Ends only the thread, which runs in panic_catch(). */
static void end_thread(struct thread *t, const char *cause)
{
	snprintk(t->catch, t->catch_len, "%s", cause);
	t->caught = true;
	t->catch = NULL; /* a panic on the way out is a real one */
	while (t->n_held) {
		struct held_lock *h = &t->held[t->n_held - 1];

		if (h->spinning)
			spin_drop((struct spinlock *)h->lock);
		else
			t->n_held--;
	}
	/* Not on one CPU's count and, preempted in between, on another CPU. */
	irq_disable();
	this_cpu()->preempt_count = 0;
	irq_enable();
	thread_exit();
}

noreturn static void last_words(const char *cause,
				const struct trap_frame *frame)
{
	struct thread *t = cpu_current();
	int speaker = 0, self;

	if (t && t->catch && !cpu_irq_depth())
		end_thread(t, cause);
	irq_disable();
	self = (int)cpu_id() + 1;
	if (!atomic_compare_exchange_strong(&panicking, &speaker, self)) {
		/* A panic in the panic; another CPU's waits to be stopped. */
		if (exit_hook && speaker == self)
			exit_hook();
		cpu_halt();
	}
	smp_stop_others();
	printk_break_lock();
	probe_on = false;
	if (report_hook)
		report_hook(cause);
	printk("panic: %s\n", cause);
	printk("cr2 %lx cr3 %lx\n", read_cr2(), read_cr3());
	print_cpu(this_cpu(), frame);
	for (unsigned i = 0; i < cpu_count(); i++)
		if (i != cpu_id() && cpus[i].stopped)
			print_cpu(&cpus[i], cpus[i].stop_frame);
		else if (i != cpu_id())
			printk("cpu%u: does not answer\n", i);
	print_strays();
	probe_dump(PROBES_SHOWN);
	if (exit_hook)
		exit_hook();
	cpu_halt();
}

/* Called by panic() in panic.asm, which has saved the caller's registers. */
noreturn void panic_speak(const char *fmt, ...);
void panic_speak(const char *fmt, ...)
{
	char cause[256];
	va_list args;

	va_start(args, fmt);
	vsnprintk(cause, sizeof(cause), fmt, args);
	va_end(args);
	last_words(cause, &this_cpu()->panic_frame);
}

static void fatal_trap(struct trap_frame *frame)
{
	uint64_t offset, size, cr2 = read_cr2();
	bool user = frame->vector == TRAP_PF && cr2 >= PAGE_SIZE &&
		    cr2 < UACCESS_END;
	const char *name = ksym_find(frame->rip, &offset, &size);
	char cause[256];

	snprintk(cause, sizeof(cause),
		 "%s at %lx (%s+%#lx), error %lx, cr2 %lx%s",
		 trap_name((unsigned)frame->vector), frame->rip, name, offset,
		 frame->error, cr2,
		 user ? ": user memory, outside of arch/uaccess.asm" : "");
	last_words(cause, frame);
}

noreturn static void cpu_lost(unsigned cpu)
{
	panic("CPU %u does not answer a call", cpu);
}

/* Runs on the NMI's own stack, in any context: no thread may catch it. */
static bool nmi(struct trap_frame *frame)
{
	const char *cause = request ? request() : NULL;

	if (!cause)
		return false;
	this_cpu()->irq_depth++;
	last_words(cause, frame);
}

void panic_init(void)
{
	trap_set_fatal(fatal_trap);
	smp_set_lost(cpu_lost);
	smp_set_nmi(nmi);
}

struct catcher {
	void (*fn)(void *arg);
	void *arg;
	char *buf;
	size_t len;
	bool caught;
};

static void catch_main(void *arg)
{
	struct catcher *c = arg;
	struct thread *t = current();

	t->catch_len = c->len;
	t->catch = c->buf;
	c->caught = true; /* unless fn() returns */
	c->fn(c->arg);
	t->catch = NULL;
	c->caught = false;
}

bool panic_catch(void (*fn)(void *arg), void *arg, char *buf, size_t len)
{
	struct catcher c = { fn, arg, buf, len, false };
	struct thread *t = thread_create("panic_catch", catch_main, &c);

	if (!t) {
		snprintk(buf, len, "no thread");
		return false;
	}
	thread_join(t);
	return c.caught;
}
