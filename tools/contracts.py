# SPDX-License-Identifier: MIT
"""Contracts in comments, and the assertions that check them: a part of tools/check.

A comment directly above a declaration or definition states a contract after "Context:". Clauses
end at ";" or "."; the contract ends at "Returns", at a blank line or with the comment. Understood:

    X held, X not held      X, or each of several, is a name that ends in "lock": an assertion in the
                            first statements of the definition contains "held" and the name's last part
    X held to write         the assertion contains "write", too
    may sleep               an assertion contains "sleep"
    may take RANK_X, no lock of RANK_X  an assertion contains RANK_X

What a function does not assert is listed in UNASSERTED with the reason."""
import re

ROOMS = ("mm", "iommu")
PER_1000 = 12  # at least so many assertions in 1,000 lines of a room
FIRST = 14     # lines of a body in which the assertions stand, declarations included
UNASSERTED = {
    "shadow_begin": "the lock of its comment is shadow_retry()'s, which asserts it",
}
COMMENT = re.compile(r"/\*(?:[^*]|\*(?!/))*\*/\n((?:[^\s#/}][^\n]*\n(?:[\t {][^\n]*\n)*)+)", re.M)
ASSERTION = re.compile(r"\b(?:require|assert|might_sleep)\([^;]*;")


def clauses(comment):
    """What a comment asks for: (words that an assertion must contain, as the comment says it)."""
    text = re.sub(r"^[ \t]*(/?\*+/?)?[ \t]?", "", comment, flags=re.M)
    found = re.search(r"Context:(.*?)(?:\bReturns\b|\n\s*\n|\Z)", text, re.S)
    for clause in re.split(r"[;.](?:\s|\Z)", found[1] if found else ""):
        clause = " ".join(clause.split())
        if re.search(r"\bheld\b", clause) and not re.search(r"no lock|may be held", clause):
            for lock in re.findall(r"(?<!'s )\b\w*lock\b", clause):
                yield ["held", lock] + ["write"] * ("to write" in clause), clause
        if re.search(r"^may sleep\b|[,:] may sleep\b", clause):
            yield ["sleep"], clause
        for rank in re.findall(r"(?:may take|no lock of) (RANK_\w+)", clause):
            yield [rank], clause


def contracts(text):
    """(function, words, clause) of every contract in a file."""
    for m in COMMENT.finditer(text):
        wanted = list(clauses(m[0][:m.start(1) - m.start()]))
        for line in m[1].splitlines() if wanted else []:
            named = re.match(r"(?!typedef|struct \w+ \{|\s)[^=(]*?(\w+)\(", line)
            if named:
                for words, clause in wanted:
                    yield named[1], words, clause
            if line == "{":
                break


def first_statements(text, name):
    """The assertions at the head of a function that a file defines, or None."""
    body = re.search(rf"^\w[^;{{}}#=\n]*\b{name}\((?:[^;{{}}])*?\)\n{{\n(.*?)^}}", text,
                     re.M | re.S)
    if not body:
        return None
    return ASSERTION.findall("\n".join(body[1].splitlines()[:FIRST]))


def holds(assertions, words):
    return any(all(re.search(rf"(?:\b|_){re.escape(w)}", a) for w in words) for a in assertions)


def check(files):
    """Problems, and a line for the report; files maps a path to its text."""
    problems, n = [], 0
    files = {p: t for p, t in files.items() if p.split("/")[0] in ROOMS}
    for path, text in sorted(files.items()):
        for name, words, clause in contracts(text):
            n += 1
            places = [text, *files.values()]
            found = next((a for a in (first_statements(t, name) for t in places)
                          if a is not None), None)
            if name in UNASSERTED:
                continue
            if found is None:
                problems.append(f"{path}: {name}() has a contract and no definition")
            elif not holds(found, words):
                problems.append(f"{path}: {name}() does not begin with an assertion of "
                                f"\"{clause}\"")
    for name in UNASSERTED:
        if not any(re.search(rf"\b{name}\(", t) for t in files.values()):
            problems.append(f"tools/contracts.py: there is no {name}()")
    report = []
    for room in ROOMS:
        texts = [t for p, t in files.items() if p.split("/")[0] == room]
        lines = sum(t.count("\n") for t in texts)
        asserted = sum(len(re.findall(r"\b(?:require|assert|might_sleep)\(", t)) for t in texts)
        density = 1000 * asserted / max(lines, 1)
        report.append(f"{density:.1f} in {room}/")
        if density < PER_1000:
            problems.append(f"{room}/: {density:.1f} assertions in 1,000 lines, at least "
                            f"{PER_1000}")
    return problems, (f"contracts: {n} clauses, {len(UNASSERTED)} functions excused; assertions "
                      f"in 1,000 lines: {', '.join(report)}")
