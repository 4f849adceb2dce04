/* SPDX-License-Identifier: MIT */
#include "drivers/devices.h"
#include "drivers/edu.h"
#include "drivers/ivshmem.h"
#include "drivers/lsi.h"

void devices_init(void)
{
	lsi_init();
	edu_init();
	ivshmem_init();
}
