/* SPDX-License-Identifier: MIT */
/*
 * uaccess.c - the accesses that are too long to be inline
 */
#include "arch/uaccess.h"

int user_copy_in(void *to, va_t from, size_t len)
{
	if (len > UACCESS_END - from)
		return -UACCESS_EFAULT;
	return USER_ACCESS(from, "rep movsb", "+D"(to), "+S"(from), "+c"(len)
			   :
			   : "memory");
}

int user_copy_out(va_t to, const void *from, size_t len)
{
	if (len > UACCESS_END - to)
		return -UACCESS_EFAULT;
	return USER_ACCESS(to, "rep movsb", "+D"(to), "+S"(from), "+c"(len)
			   :
			   : "memory");
}
