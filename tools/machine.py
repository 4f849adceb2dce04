# SPDX-License-Identifier: MIT
"""The machine: QEMU's command line for a kernel and settings, shared by tools/run, tools/shell and
tools/debug."""
import difflib
import functools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading

import settings

TOOLS = os.path.dirname(os.path.abspath(__file__))
DEFAULT_KERNEL = "build/check/visavis.elf"
# Fixed places on bus 0, so that device numbers in tests and in the IOMMU's table never change.
DEVICES = {
    "iommu": ["-device", "{iommu}"],
    "lsi0": ["-device", "lsi53c895a,id=lsi0,addr=10.0"],
    "lsi1": ["-device", "lsi53c895a,id=lsi1,addr=11.0"],
    "edu": ["-device", "edu,id=edu,dma_mask=0xffffffffffffffff,addr=12.0"],
    # Not slot 14h: 00A0h is the number that QEMU's I/O APIC uses.  The card is in loopback; the
    # socket only avoids QEMU's warning about a card without a network.
    "e1000": ["-netdev", "socket,id=unused,udp=127.0.0.1:9,localaddr=127.0.0.1:0",
              "-device", "e1000,id=e1000,netdev=unused,romfile=,addr=15.0"],
    "ivshmem": ["-object", "memory-backend-file,id=disk,size=1M,share=on,mem-path={disk}",
                "-device", "ivshmem-plain,id=ivshmem,memdev=disk,addr=13.0"],
    # A second one: the memory of a device, which no CPU reads or writes.
    "vram": ["-object", "memory-backend-ram,id=vram,size=4M",
             "-device", "ivshmem-plain,id=ivshmem2,memdev=vram,addr=17.0"],
    "testdev": ["-device", "iommu-testdev,id=testdev,addr=16.0"],
}
OLDEST_QEMU = (7, 0)
SMALLEST = 8  # MiB; with less, no kernel can be loaded that could report it
PROGRAM = os.path.basename(sys.argv[0])
# The kernel's probe sends an interrupt that must not arrive; QEMU warns, once a run.
PROVOKED = "failed to remap interrupt from devid 0xa0"


def usage(message):
    sys.exit(f"{PROGRAM}: {message}")


def report_error(kind, value, trace):
    """Print a sentence in place of a traceback for an interrupt or an error of the system."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
    elif issubclass(kind, OSError):
        print(f"{PROGRAM}: {value}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, trace)


sys.excepthook = report_error


def filtered_stderr():
    """Filter out of QEMU's stderr what the kernel provokes on purpose.

    Returns (descriptor for QEMU, to be closed once QEMU has it; thread that copies the rest)."""
    ours, theirs = os.pipe()

    def copy():
        with open(ours, encoding="utf-8", errors="replace") as words:
            for line in words:
                if PROVOKED not in line:
                    sys.stderr.write(line)
                    sys.stderr.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return theirs, thread


def read(words, target):
    """(settings, kernel) of NAME=VALUE words, of which one may be --kernel=FILE."""
    kernel = [w.partition("=")[2] for w in words if w.startswith("--kernel=")] or [DEFAULT_KERNEL]
    try:
        s = settings.values([w for w in words if not w.startswith("--")], [target])
    except settings.Wrong as e:
        usage(e)
    choose_devices(s["DEVICES"])
    try:
        shlex.split(s["EXTRA"])
    except ValueError as e:
        usage(f"EXTRA={s['EXTRA']}: {e}")
    for name in ("JUNIT", "LOG", "DISK"):
        check_file(name, s[name])
    if s["MEM"].endswith("M") and int(s["MEM"][:-1]) < SMALLEST:
        usage(f"MEM={s['MEM']}: not enough memory: this kernel needs 64 MiB (MEM=64M)")
    return s, kernel[-1]


def check_file(name, path):
    """Refuse a file that cannot be written, before the run rather than after it."""
    if (name, path) == ("LOG", "none"):
        return
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        usage(f"{name}={path}: there is no folder {folder}")
    if path and (os.path.isdir(path) or not os.access(
            path if os.path.exists(path) else folder or ".", os.W_OK)):
        usage(f"{name}={path}: cannot be written: name another file")


def choose_devices(words):
    """All, none, those named (lsi0,edu), or all but those named (-lsi1)."""
    names = [w for w in words.split(",") if w]
    if names == ["none"]:
        return []
    for name in names:
        if name.lstrip("-") not in DEVICES:
            near = difflib.get_close_matches(name.lstrip("-"), DEVICES, 1, 0)[0]
            usage(f"no device `{name}`: did you mean `{near}`?")
    named = [n for n in names if not n.startswith("-")]
    return [n for n in DEVICES if f"-{n}" not in names and (not named or n in named)]


@functools.cache
def has_testdev(qemu):
    """Ask QEMU: it has it from 11.1 on, if it was built in.  Status 0 does not tell."""
    done = subprocess.run([qemu, "-device", "iommu-testdev,help"], capture_output=True,
                          stdin=subprocess.DEVNULL, check=False)
    return b"options" in done.stdout


def devices(s):
    """The chosen devices that this QEMU has."""
    chosen = choose_devices(s["DEVICES"])
    if "vram" in s["DEVICES"].split(",") and "ivshmem" not in chosen:
        usage("DEVICES: vram is the second ivshmem: name ivshmem, too")
    lacks = [] if "ivshmem" in chosen else ["vram"]
    lacks += [] if has_testdev(s["QEMU"]) else ["testdev"]
    return [n for n in chosen if n not in lacks]


def ask_qemu(s, *words):
    """What QEMU prints.  The program may be anything, and may never end."""
    try:
        return subprocess.run([s["QEMU"], *words], capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, check=True,
                              timeout=int(s["SILENCE"])).stdout
    except (OSError, subprocess.SubprocessError) as e:
        return usage(f"cannot run QEMU ({s['QEMU']}): {getattr(e, 'strerror', 0) or e}; "
                     "`make doctor` names the package")


def check_qemu(s):
    text = ask_qemu(s, "--version")
    found = re.search(r"version (\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < OLDEST_QEMU:
        usage(f"{s['QEMU']} is too old, or is not QEMU ({text.splitlines()[0] if text else '?'}): "
              f"needs {OLDEST_QEMU[0]}.{OLDEST_QEMU[1]} or newer")
    return text.splitlines()[0]


def iommu_flags(s):
    """The option that makes this QEMU's IOMMU translate.

    Versions differ, and the wrong option means silent pass-through; the kernel's probe checks it."""
    text = ask_qemu(s, "-device", "amd-iommu,help")
    if re.search(r"^ *dma-remap=", text, re.M):
        return "amd-iommu,dma-remap=on"
    return "amd-iommu,pt=off" if re.search(r"^ *pt=", text, re.M) else "amd-iommu"


def command_line(s):
    """The kernel's command line."""
    words = [f"test={s['T']}"] if s["T"] else []
    return " ".join(words + [f"seed={s['SEED']}"] + s["APPEND"].split())


def folder(kernel):
    """A temporary folder for the files of the machine; removed by the `with` block."""
    try:
        return tempfile.TemporaryDirectory(dir=os.path.dirname(kernel) or ".", prefix="run.")
    except OSError as e:
        return usage(f"cannot write beside {kernel}: {e.strerror}")


def image(s, kernel, place):
    if s["BOOT"] == "kernel":
        return ["-kernel", kernel, "-append", command_line(s)]
    iso = os.path.join(place, "visavis.iso")
    made = subprocess.run([os.path.join(TOOLS, "iso"), kernel, iso, command_line(s)], check=False)
    if made.returncode:
        sys.exit(made.returncode)
    return ["-cdrom", iso, "-boot", "d"]


def monitor(number):
    """The arguments that make QEMU take commands at this socket."""
    return ["-chardev", f"socket,id=monitor,fd={number}", "-mon", "monitor"]


def command(s, kernel, place, serial="stdio"):
    """QEMU's command line; place is a folder() for the files that it needs."""
    accel = (["-accel", "tcg", "-icount", "shift=3,sleep=off"] if s["MODE"] == "icount"
             else ["-accel", "tcg,thread=multi"])
    disk = s["DISK"] or os.path.join(place, "disk")
    iommu = iommu_flags(s)
    return [s["QEMU"], "-M", "q35", "-cpu", s["CPU"], *accel, "-smp", s["SMP"], "-m", s["MEM"],
            "-nodefaults", "-display", "none", "-serial", serial, "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            *[w.format(disk=disk, iommu=iommu)
              for n in devices(s) for w in DEVICES[n]],
            *image(s, kernel, place), *shlex.split(s["EXTRA"])]
