# SPDX-License-Identifier: MIT
"""What a kernel's image says of itself: its tests, without booting it."""
import re
import struct
import subprocess
from collections import namedtuple

Test = namedtuple("Test", "suite name claim")


def array(path, name, fields):
    """The strings of each entry of an array of pointers, such as vv_tests."""
    with open(path, "rb") as f:
        image = f.read()
    table = struct.unpack_from("<Q", image, 32)[0]  # of program headers: there is one
    offset, va = struct.unpack_from("<QQ", image, table + 8)

    def word(address):
        return struct.unpack_from("<Q", image, address - va + offset)[0]

    def text(address):
        start = address - va + offset
        return image[start:image.index(0, start)].decode()

    names = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    start, stop = (int(re.search(rf"^(\w+) . __{end}_{name}$", names, re.M)[1], 16)
                   for end in ("start", "stop"))
    return [tuple(text(word(word(at) + 8 * field)) for field in range(fields))
            for at in range(start, stop, 8)]


def tests(path):
    """Every test of a kernel, in the order in which they are linked."""
    return [Test(*row) for row in array(path, "vv_tests", 3)]


def benches(path):
    """(group, what it measures)."""
    return array(path, "vv_bench", 2)


def words(path):
    """Every string of a kernel that is a name, and the names of figures of the boot."""
    with open(path, "rb") as f:
        image = f.read()
    return {w.decode() for w in re.findall(rb"(?<=\0)(?:BENCH )?([a-z][a-z0-9_]*)(?=[\0 ])", image)}
