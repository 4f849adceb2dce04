/* SPDX-License-Identifier: MIT */
/*
 * vmcb.h - the virtual machine control block: one page for each virtual CPU
 *
 * AMD APM vol. 2 (24593), appendix B.  The first KiB says what the guest must not
 * do by itself and why it stopped, the rest is the guest's state.  VMRUN reads
 * both, #VMEXIT writes them; between the two only the CPU uses the page.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

struct vmcb_segment {
	uint16_t selector,
		attributes; /* bits 55-52 and 47-40 of a descriptor */
	uint32_t limit;     /* in bytes                          */
	uint64_t base;
};

struct vmcb {
	/* Control area. */
	uint32_t intercept_cr; /* bit n: reads of CRn; 16 + n: writes       */
	uint32_t intercept_dr;
	uint32_t intercept_exceptions; /* bit n: vector n                   */
	uint64_t intercept __attribute__((packed)); /* INTERCEPT_*          */
	uint8_t reserved_014[0x40 - 0x14];
	uint64_t io_permissions;  /* pa of 12 KiB: a bit for each port      */
	uint64_t msr_permissions; /* pa of 8 KiB: two bits for each MSR     */
	uint64_t tsc_offset;
	uint32_t asid; /* not 0                                           */
	uint32_t tlb_control;
	uint64_t interrupt_control; /* V_*                                  */
	uint64_t interrupt_shadow;
	uint64_t exit_code; /* enum vmcb_exit                              */
	uint64_t exit_info1, exit_info2;
	uint64_t exit_int_info; /* the event whose delivery was cut short    */
	uint64_t nested_enable;
	uint8_t reserved_098[0xa8 - 0x98];
	uint64_t event; /* to deliver at VMRUN: EVENT_*                    */
	uint64_t nested_root; /* nCR3                                      */
	uint64_t lbr_enable;
	uint64_t clean;    /* 0: VMRUN reads everything anew                  */
	uint64_t next_rip; /* QEMU leaves it 0                             */
	uint8_t reserved_0d0[0x400 - 0xd0];

	/* State save area. */
	struct vmcb_segment es, cs, ss, ds;
	struct vmcb_segment fs, gs; /* VMLOAD and VMSAVE, not VMRUN          */
	struct vmcb_segment gdtr, ldtr, idtr, tr;
	uint8_t reserved_4a0[0x4cb - 0x4a0];
	uint8_t cpl;
	uint8_t reserved_4cc[4];
	uint64_t efer;
	uint8_t reserved_4d8[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved_580[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t reserved_5e0[0x5f8 - 0x5e0];
	uint64_t rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base; /* as fs        */
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;    /* as fs        */
	uint64_t cr2;
	uint8_t reserved_648[0x668 - 0x648];
	uint64_t pat;
	uint8_t reserved_670[0x1000 - 0x670];
};
#define VMCB_AT(field, offset)                                   \
	_Static_assert(offsetof(struct vmcb, field) == (offset), \
		       "24593, appendix B: " #field)
VMCB_AT(intercept, 0x00c);
VMCB_AT(io_permissions, 0x040);
VMCB_AT(asid, 0x058);
VMCB_AT(exit_code, 0x070);
VMCB_AT(nested_enable, 0x090);
VMCB_AT(event, 0x0a8);
VMCB_AT(nested_root, 0x0b0);
VMCB_AT(next_rip, 0x0c8);
VMCB_AT(es, 0x400);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(cr2, 0x640);
VMCB_AT(pat, 0x668);
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "24593: a VMCB is a page");

/* What stops a guest: vectors 3 and 4 of appendix B, the first in the low half. */
#define INTERCEPT_INTR     BIT(0)
#define INTERCEPT_NMI      BIT(1)
#define INTERCEPT_SMI      BIT(2)
#define INTERCEPT_INIT     BIT(3)
#define INTERCEPT_INVD     BIT(22)
#define INTERCEPT_HLT      BIT(24)
#define INTERCEPT_INVLPGA  BIT(26)
#define INTERCEPT_IO       BIT(27) /* where io_permissions has a 1       */
#define INTERCEPT_MSR      BIT(28) /* where msr_permissions has a 1      */
#define INTERCEPT_TASK     BIT(29)
#define INTERCEPT_FERR     BIT(30)
#define INTERCEPT_SHUTDOWN BIT(31)
#define INTERCEPT_VMRUN    BIT(32) /* without it VMRUN refuses the VMCB  */
#define INTERCEPT_VMMCALL  BIT(33)
#define INTERCEPT_VMLOAD   BIT(34)
#define INTERCEPT_VMSAVE   BIT(35)
#define INTERCEPT_STGI     BIT(36)
#define INTERCEPT_CLGI     BIT(37)
#define INTERCEPT_SKINIT   BIT(38)
#define INTERCEPT_WBINVD   BIT(41)
#define INTERCEPT_MONITOR  BIT(42)
#define INTERCEPT_MWAIT    BIT(43)
#define INTERCEPT_XSETBV   BIT(45)

/* Write of CRn or DRn in intercept_cr and intercept_dr. */
#define INTERCEPT_WRITE(n) (1u << (16 + (n)))

#define TLB_CONTROL_NONE  0u
#define TLB_CONTROL_FLUSH 1u /* at VMRUN, all ASIDs                       */

/* interrupt_control: a virtual interrupt waits until the guest's IF is 1; the CPU
 * clears V_IRQ when it is taken. */
#define V_IRQ          BIT(8)
#define V_INTR_PRIO    GENMASK(19, 16)
#define V_IGN_TPR      BIT(20)
#define V_INTR_MASKING BIT(24) /* the host's IF decides on its interrupts   */
#define V_INTR_VECTOR  GENMASK(39, 32)

/* event and exit_int_info */
#define EVENT_VECTOR    GENMASK(7, 0)
#define EVENT_TYPE      GENMASK(10, 8)
#define EVENT_HAS_ERROR BIT(11)
#define EVENT_VALID     BIT(31)
#define EVENT_ERROR     GENMASK(63, 32)
#define EVENT_EXTERNAL  0u /* an interrupt                               */
#define EVENT_EXCEPTION 3u
#define EVENT_SOFTWARE  4u /* INT n                                      */

enum vmcb_exit {
	EXIT_CR0_READ = 0x00,
	EXIT_CR0_WRITE = 0x10, /* + n                                      */
	EXIT_DR0_READ = 0x20,
	EXIT_DR0_WRITE = 0x30,
	EXIT_EXCEPTION = 0x40, /* + vector; info1: error code, info2: CR2     */
	EXIT_INTR = 0x60, /* an interrupt of the host                      */
	EXIT_NMI = 0x61,
	EXIT_SMI = 0x62,
	EXIT_INIT = 0x63,
	EXIT_HLT = 0x78,
	EXIT_IO = 0x7b,  /* info1: IO_*; info2: RIP of the next instruction */
	EXIT_MSR = 0x7c, /* info1: 1 for WRMSR                             */
	EXIT_SHUTDOWN = 0x7f,
	EXIT_VMMCALL = 0x81,
	EXIT_NPF = 0x400, /* info1: NPF_*; info2: the guest-physical address */
};
/* VMRUN refused the VMCB: -1, of which QEMU stores 32 bits; no code has more. */
#define EXIT_INVALID UINT32_MAX

/* exit_info1 of EXIT_IO */
#define IO_IN     BIT(0)
#define IO_STRING BIT(2)
#define IO_SIZE   GENMASK(6, 4) /* in bytes: 1, 2 or 4                       */
#define IO_PORT   GENMASK(31, 16)

/* exit_info1 of EXIT_NPF, as the error code of #PF, and where it occurred */
#define NPF_PRESENT  BIT(0)
#define NPF_WRITE    BIT(1)
#define NPF_RESERVED BIT(3) /* a reserved bit of the nested table is set   */
#define NPF_FETCH    BIT(4)
#define NPF_FINAL    BIT(32) /* at the translated address                  */
#define NPF_TABLE    BIT(33) /* at an entry of the guest's own tables      */
