/* SPDX-License-Identifier: MIT */
/*
 * io.h - port and memory-mapped register access: one access of one size each
 */
#pragma once

#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint8_t mmio_read8(const void *reg)
{
	return *(const volatile uint8_t *)reg;
}

static inline void mmio_write8(void *reg, uint8_t v)
{
	*(volatile uint8_t *)reg = v;
}

static inline uint16_t mmio_read16(const void *reg)
{
	return *(const volatile uint16_t *)reg;
}

static inline void mmio_write16(void *reg, uint16_t v)
{
	*(volatile uint16_t *)reg = v;
}

static inline uint32_t mmio_read32(const void *reg)
{
	return *(const volatile uint32_t *)reg;
}

static inline void mmio_write32(void *reg, uint32_t v)
{
	*(volatile uint32_t *)reg = v;
}

static inline uint64_t mmio_read64(const void *reg)
{
	return *(const volatile uint64_t *)reg;
}

static inline void mmio_write64(void *reg, uint64_t v)
{
	*(volatile uint64_t *)reg = v;
}
