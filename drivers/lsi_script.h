/* SPDX-License-Identifier: MIT */
/*
 * lsi_script.h - programs for the SCRIPTS processor of an LSI 53C8xx
 *
 * LSI53C895A technical manual, "SCSI SCRIPTS Instruction Set".  A program is an
 * array; each instruction has one constructor, and no other code encodes bits:
 *
 *	enum { AGAIN = 1 };
 *	const struct lsi_insn program[] = {
 *		lsi_label(AGAIN),
 *		lsi_load(LSI_SCRATCHA, flag, 1),     wait until *flag == 1
 *		lsi_fetch(LSI_SCRATCHA),
 *		lsi_jump_unless(1, 0xff, AGAIN),
 *		lsi_move(to, from, PAGE_SIZE),       then copy the page
 *		lsi_interrupt(7),                    and say that it is done
 *	};
 *
 * Jumps are relative, so that a program runs wherever it is put.  Addresses are
 * those that the device says on the bus, 32 bits.
 */
#pragma once

#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/types.h"

/* Registers that a program computes with. */
enum lsi_scratch {
	LSI_SFBR = 0x08,     /* what lsi_fetch() loads and jumps compare    */
	LSI_SCRATCHA = 0x34, /* 4 bytes                                     */
	LSI_SCRATCHB = 0x5c, /* 4 bytes, then 16 more such registers: C .. R */
	LSI_SCRATCHC = 0x60,
};

#define LSI_MOVE_MAX ((UINT64_C(1) << 24) - 1) /* bytes of one lsi_move() */
#define LSI_LABELS   32                        /* labels are 0 .. 31      */

/* One instruction, or a label, which takes no room. */
struct lsi_insn {
	uint32_t w[3];
	uint8_t words; /* 0: a label                                      */
	int8_t label;  /* a label's number, a jump's target; -1: neither  */
	bool bad;      /* the chip has no such instruction                */
};

#define INSN_MOVE       UINT64_C(0xc0000000) /* memory to memory           */
#define INSN_LOAD_STORE UINT64_C(0xe0000000)
#define INSN_LOAD       BIT(24)
#define INSN_COUNT      GENMASK(23, 0) /* of a move                       */
#define INSN_BYTES      GENMASK(2, 0)  /* of a load or store              */
#define INSN_REG        GENMASK(23, 16)

#define INSN_REGISTER  UINT64_C(0x40000000) /* read, write, modify      */
#define INSN_OPCODE    GENMASK(29, 27)
#define OPCODE_TO_SFBR 6
#define OPCODE_MODIFY  7
#define INSN_OPERATOR  GENMASK(26, 24)
#define OPERATOR_SET   0
#define OPERATOR_OR    2
#define OPERATOR_ADD   6
#define INSN_REG_LOW   GENMASK(22, 16) /* address bits 6:0              */
#define INSN_REG_HIGH  BIT(7)          /* address bit 7                 */
#define INSN_DATA      GENMASK(15, 8)

#define INSN_CONTROL     UINT64_C(0x80000000)
#define OPCODE_JUMP      0
#define OPCODE_INTERRUPT 3
#define INSN_RELATIVE    BIT(23)
#define INSN_IF_TRUE     BIT(19)
#define INSN_COMPARE     BIT(18) /* SFBR with the value; neither: always   */
#define INSN_MASK        GENMASK(15, 8) /* bits that are not compared      */
#define INSN_VALUE       GENMASK(7, 0)

/* ------------------------------------------------------- constructors */

static inline struct lsi_insn lsi_words(unsigned words, uint64_t w0,
					uint64_t w1, uint64_t w2)
{
	return (struct lsi_insn){ .w = { (uint32_t)w0, (uint32_t)w1,
					 (uint32_t)w2 },
				  .words = (uint8_t)words,
				  .label = -1,
				  .bad = (w1 | w2) >> 32 };
}

/* Jumps to this number land here. */
static inline struct lsi_insn lsi_label(int label)
{
	return (struct lsi_insn){ .label = (int8_t)label };
}

/* Copy bytes, at most LSI_MOVE_MAX, from one address to another. */
static inline struct lsi_insn lsi_move(uint64_t dst, uint64_t src,
				       uint64_t bytes)
{
	struct lsi_insn i = lsi_words(
		3, INSN_MOVE | FIELD_PREP(INSN_COUNT, bytes), src, dst);

	i.bad |= !bytes || bytes > LSI_MOVE_MAX;
	return i;
}

/* 1 to 4 bytes that lie in one dword, at the same place in it on both sides. */
static inline struct lsi_insn lsi_load_store(uint64_t op, unsigned reg,
					     uint64_t at, unsigned bytes)
{
	struct lsi_insn i =
		lsi_words(2,
			  INSN_LOAD_STORE | op | FIELD_PREP(INSN_REG, reg) |
				  FIELD_PREP(INSN_BYTES, bytes),
			  at, 0);

	i.bad |= !bytes || reg % 4 + bytes > 4 || reg % 4 != at % 4;
	return i;
}

/* Registers from reg on = bytes at an address. */
static inline struct lsi_insn lsi_load(unsigned reg, uint64_t src,
				       unsigned bytes)
{
	return lsi_load_store(INSN_LOAD, reg, src, bytes);
}

/* Bytes at an address = registers from reg on. */
static inline struct lsi_insn lsi_store(unsigned reg, uint64_t dst,
					unsigned bytes)
{
	return lsi_load_store(0, reg, dst, bytes);
}

static inline struct lsi_insn lsi_register(unsigned opcode, unsigned operator,
					   unsigned reg, uint8_t data)
{
	return lsi_words(2,
			 INSN_REGISTER | FIELD_PREP(INSN_OPCODE, opcode) |
				 FIELD_PREP(INSN_OPERATOR, operator) |
				 FIELD_PREP(INSN_REG_LOW, reg) |
				 (reg & 0x80 ? INSN_REG_HIGH : 0) |
				 FIELD_PREP(INSN_DATA, data),
			 0, 0);
}

/* A register of one byte: = data, += data; SFBR = the register. */
static inline struct lsi_insn lsi_set(unsigned reg, uint8_t data)
{
	return lsi_register(OPCODE_MODIFY, OPERATOR_SET, reg, data);
}

static inline struct lsi_insn lsi_add(unsigned reg, uint8_t data)
{
	return lsi_register(OPCODE_MODIFY, OPERATOR_ADD, reg, data);
}

static inline struct lsi_insn lsi_fetch(unsigned reg)
{
	return lsi_register(OPCODE_TO_SFBR, OPERATOR_OR, reg, 0);
}

static inline struct lsi_insn lsi_control(unsigned opcode, uint64_t when,
					  uint8_t value, uint8_t mask)
{
	/* The chip's mask names what it ignores. */
	uint8_t ignore = when & INSN_COMPARE ? (uint8_t)~mask : 0;

	return lsi_words(2,
			 INSN_CONTROL | FIELD_PREP(INSN_OPCODE, opcode) | when |
				 FIELD_PREP(INSN_MASK, ignore) |
				 FIELD_PREP(INSN_VALUE, value),
			 0, 0);
}

static inline struct lsi_insn lsi_branch(uint64_t when, uint8_t value,
					 uint8_t mask, int label)
{
	struct lsi_insn i =
		lsi_control(OPCODE_JUMP, when | INSN_RELATIVE, value, mask);

	i.label = (int8_t)label;
	return i;
}

/* Go on at a label: always; if, or unless, (SFBR & mask) == value. */
static inline struct lsi_insn lsi_jump(int label)
{
	return lsi_branch(INSN_IF_TRUE, 0, 0, label);
}

static inline struct lsi_insn lsi_jump_if(uint8_t value, uint8_t mask,
					  int label)
{
	return lsi_branch(INSN_IF_TRUE | INSN_COMPARE, value, mask, label);
}

static inline struct lsi_insn lsi_jump_unless(uint8_t value, uint8_t mask,
					      int label)
{
	return lsi_branch(INSN_COMPARE, value, mask, label);
}

/* The end: stop, and tell the kernel tag. */
static inline struct lsi_insn lsi_interrupt(uint32_t tag)
{
	struct lsi_insn i = lsi_control(OPCODE_INTERRUPT, INSN_IF_TRUE, 0, 0);

	i.w[1] = tag;
	return i;
}

/* Two words as they are: for programs that are no programs. */
static inline struct lsi_insn lsi_raw(uint32_t w0, uint32_t w1)
{
	return lsi_words(2, w0, w1, 0);
}

/*
 * Put the words of n instructions into out.  Returns how many words, or -EINVAL
 * if an instruction is bad, a label is missing, given twice or out of bounds,
 * or max words are too few.
 */
must_check int lsi_assemble(const struct lsi_insn *program, unsigned n,
			    uint32_t *out, unsigned max);
