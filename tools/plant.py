# SPDX-License-Identifier: MIT
"""Replace QEMU's ACPI tables and memory map by others, at the kernel's first instruction.

QEMU starts stopped.  At the kernel's first instruction, through QEMU's debug port, the memory that
the firmware reserved gets new tables and a new root, and the loader's block a new memory map:

    out, status = plant.boot(command, kernel, tables={"APIC": madt(...), "FACP": None}, ranges=[...])

A table that is None is dropped; those that are not named stay.  ranges are (start, end, type).
"""
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time

KERNEL_BASE = 0xFFFFFFFF80000000
BIOS, BIOS_END = 0xE0000, 0x100000
MAP = 0x70000  # low memory that neither loader nor kernel has used yet


class Port:
    """QEMU's debug port: the part of GDB's protocol that is needed."""

    def __init__(self, path, patience):
        end = time.monotonic() + patience
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(patience)

    def send(self, text):
        self.socket.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))

    def ask(self, text):
        self.send(text)
        answer = b""
        while not re.search(rb"\$[^#]*#..$", answer):
            byte = self.socket.recv(1)
            if not byte:
                raise EOFError("QEMU has ended")
            answer += byte
        self.socket.sendall(b"+")
        return answer[answer.rindex(b"$") + 1:-3].decode("latin1")

    def read(self, pa, size):
        out = b""
        for at in range(pa, pa + size, 1024):
            out += bytes.fromhex(self.ask(f"m{at:x},{min(1024, pa + size - at):x}"))
        return out

    def write(self, pa, data):
        for at in range(0, len(data), 512):
            part = data[at:at + 512]
            if self.ask(f"M{pa + at:x},{len(part):x}:{part.hex()}") != "OK":
                raise OSError(f"cannot write at {pa + at:#x}")


def seal(table, at=9, size=None):
    """Set the checksum, so that all bytes (or the first size) sum to 0."""
    table = bytearray(table)
    table[at] = 0
    table[at] = -sum(table[:size]) & 255
    return bytes(table)


def table(signature, body, revision=1):
    head = signature.encode() + struct.pack("<IBB", 36 + len(body), revision, 0)
    return seal(head + b"VISAV TABLE   " + struct.pack("<I4sI", 1, b"VVIS", 1) + body)


def madt(entries, lapic=0xFEE00000):
    """An APIC table of these entries; the functions below make the entries."""
    return table("APIC", struct.pack("<II", lapic, 1) + b"".join(entries))


def cpu(apic_id, flags=1):
    return struct.pack("<BBBBI", 0, 8, 0, apic_id, flags)


def x2apic(apic_id, flags=1):
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, flags, 0)


def ioapic(pa=0xFEC00000, gsi=0, number=0):
    return struct.pack("<BBBBII", 1, 12, number, 0, pa, gsi)


def override(irq, gsi, flags=0):
    return struct.pack("<BBBBIH", 2, 10, 0, irq, gsi, flags)


def mailbox():
    return struct.pack("<BBHIQ", 16, 16, 0, 0, 0x7000)


def own_tables(port):
    """QEMU's tables: the address of the root, and each by its signature."""
    bios = port.read(BIOS, BIOS_END - BIOS)
    root = next(struct.unpack_from("<I", bios, at + 16)[0] for at in range(0, len(bios), 16)
                if bios[at:at + 8] == b"RSD PTR " and not sum(bios[at:at + 20]) & 255)
    size = struct.unpack("<I", port.read(root + 4, 4))[0]
    found = {}
    for (pa,) in struct.iter_unpack("<I", port.read(root, size)[36:]):
        size = struct.unpack("<I", port.read(pa + 4, 4))[0]
        body = port.read(pa, min(size, 1 << 16))
        found.setdefault(body[:4].decode("latin1"), body)
    return root, found


def plant_tables(port, tables):
    root, ours = own_tables(port)
    ours.update(tables)
    at, places = (root & ~0xFFFF) + 0x8000, []  # below the root lies what firmware reserved
    for signature, body in ours.items():
        if body is None or signature in ("DSDT", "FACS"):
            continue
        port.write(at, body)
        places.append(at)
        at = (at + len(body) + 63) & ~63
    port.write(at, table("RSDT", struct.pack(f"<{len(places)}I", *places)))
    port.write(BIOS, seal(b"RSD PTR \0VISAV \0" + struct.pack("<I", at), 8))


def plant_map(port, ranges):
    """In the block of multiboot 1, to which ebx points."""
    block = struct.unpack_from("<I", bytes.fromhex(port.ask("g")), 8)[0]
    entries = b"".join(struct.pack("<IQQI", 20, start, end - start, kind)
                       for start, end, kind in ranges)
    port.write(MAP, entries)
    port.write(block + 44, struct.pack("<II", len(entries), MAP))


def entry_of(kernel):
    names = subprocess.run(["nm", kernel], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"^(\w+) T start$", names, re.M)[1], 16) - KERNEL_BASE


def boot(command, kernel, patience, tables=None, ranges=None):
    """The machine's output and exit status; the status is None if it had to be killed."""
    with tempfile.TemporaryDirectory(prefix="plant.") as folder:
        path = os.path.join(folder, "port")
        stopped = ["-S", "-chardev", f"socket,path={path},server=on,wait=off,id=port",
                   "-gdb", "chardev:port"]
        with subprocess.Popen([*command, *stopped], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            timer = threading.Timer(patience, process.kill)
            timer.start()
            try:
                port = Port(path, patience)
                entry = entry_of(kernel)
                port.ask(f"Z1,{entry:x},1")
                port.ask("c")
                if tables:
                    plant_tables(port, tables)
                if ranges:
                    plant_map(port, ranges)
                port.ask(f"z1,{entry:x},1")
                port.send("D")
                wrong = ""
            except (OSError, EOFError, StopIteration) as e:
                process.kill()
                wrong = f"plant: {e!r}\n"
            out = process.stdout.read().decode("utf-8", "replace")
            timer.cancel()
            status = process.wait()
    return wrong + out, None if status < 0 else status
