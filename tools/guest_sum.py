# SPDX-License-Identifier: MIT
"""What the program of the shell's guest (tests/fixture/guest/sum.asm) computes."""


def of(pages, passes):
    """What it prints with so many pages of data after so many passes."""
    mask, mix, words = (1 << 64) - 1, 0x9e3779b97f4a7c15, 64
    data = [[0] * words for _ in range(pages)]
    total = mix

    def table(at, generation):
        data[at] = [(generation + 1 + i) * mix & mask for i in range(words)]

    def add(page, odd):
        nonlocal total
        for i, word in enumerate(page):
            total = ((total << 7 | total >> 57) & mask ^ word) * mix & mask
            if odd:
                page[i] = total

    for even in range(0, pages, 2):
        table(even, 0)
    for n in range(passes):
        for at, page in enumerate(data):
            add(page, at & 1)
        table(2 * n % pages, 2 * n // pages)
        add([(n + 1) * mix & mask ^ i for i in range(0, 512, 512 // words)], False)
    return f"sum {total:016x}"
