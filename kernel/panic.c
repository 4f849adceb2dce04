/* SPDX-License-Identifier: MIT */
/*
 * panic.c - the last words
 *
 * Nothing here waits for a lock or trusts a pointer: the other CPUs are stopped
 * first, frame pointers are followed only inside the kernel half and upwards,
 * and a panic in the panic ends the run at once.
 */
#include "kernel/panic.h"
#include "arch/smp.h"
#include "arch/layout.h"
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
static _Atomic int panicking; /* 1 + the CPU that speaks the last words    */

void panic_set_exit(void (*fn)(void))
{
	exit_hook = fn;
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

/* A frame is two words: the caller's frame and the return address. */
static void backtrace(uint64_t rip, uint64_t rbp)
{
	if (rip)
		print_address(rip);
	for (unsigned i = 0; i < BACKTRACE_MAX; i++) {
		uint64_t caller, ret;

		if (rbp < VMAP_BASE || rbp & 7 || kernel_load64(rbp, &caller) ||
		    kernel_load64(rbp + 8, &ret) || !ret)
			return;
		print_address(ret);
		if (caller <= rbp)
			return;
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

/* The thread asked for it (panic_catch): only it ends. */
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
	probe_dump(PROBES_SHOWN);
	if (exit_hook)
		exit_hook();
	cpu_halt();
}

/* panic() is in panic.asm, which keeps the caller's registers for us. */
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
	char cause[128];

	snprintk(cause, sizeof(cause), "%s at %lx, error %lx, cr2 %lx",
		 trap_name((unsigned)frame->vector), frame->rip, frame->error,
		 read_cr2());
	last_words(cause, frame);
}

void panic_init(void)
{
	trap_set_fatal(fatal_trap);
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
	c->caught = true; /* unless we come back */
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
