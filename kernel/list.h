/* SPDX-License-Identifier: MIT */
/*
 * list.h - linked lists: the BSD macros, from one place
 */
#pragma once

#include <bsd/sys/queue.h>
