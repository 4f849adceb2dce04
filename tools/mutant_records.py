# SPDX-License-Identifier: MIT
"""The records of tests/mutants/*.txt (format: tools/mutants)."""
import glob


def read_records():
    """Each record, in order: name, file, tests, smp, claim, and the lines old and new."""
    records = []
    for path in sorted(glob.glob("tests/mutants/*.txt")):
        with open(path, encoding="utf-8") as f:
            for line in f.read().splitlines():
                if line.startswith("== "):
                    name, file, tests, smp = (w.strip() for w in line[3:].split("|"))
                    records.append({"name": name, "file": file, "tests": tests, "smp": smp,
                                    "claim": "", "old": [], "new": []})
                elif line.startswith("claim: "):
                    records[-1]["claim"] = line[7:]
                elif line.startswith("- "):
                    records[-1]["old"].append(line[2:])
                elif line.startswith("+"):
                    records[-1]["new"].append(line[2:])
    return records
