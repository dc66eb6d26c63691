#!/usr/bin/env python3
"""tests/bench/aims.py FILE.json...: the aims beside what a bench has measured, as the table of docs/SCALING.md.

Of several files, each part is taken from the last one that has it.  "-" was not measured.  A ratio is the
median of the rounds, each to native ext4 of the same round.  "empty" is the least that a FUSE server can be,
"empty pair" the least that has each synced content on two disks.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import report  # noqa: E402

COLUMNS = ["bindfs", "empty", "empty pair", "alone", "alone private", "pair disk", "pair disk private"]
# what, aim, part of the JSON, its rows
RATIOS = [
    ("deliver with fsync, 1 / 4 / 16 at once, alone", "0.8 / 0.8 / 1.0", "maildir",
     ["deliver 1", "deliver 4", "deliver 16"], ["bindfs", "empty", "alone", "alone private"]),
    ("the same, replicated (`commit = disk`)", "0.5 / 0.8 / 1.0", "maildir",
     ["deliver 1", "deliver 4", "deliver 16"], ["empty pair", "pair disk", "pair disk private"]),
    ("pick up, flag", "0.25, 0.3", "maildir", ["pick up 1", "flag 1"], COLUMNS),
    ("warm read, stat", "0.7, 0.9", "maildir", ["read warm 1", "stat 1"], COLUMNS),
    ("expunge", "0.8", "maildir", ["expunge 1"], COLUMNS),
    ("LMTP deliveries, alone", "0.95", "chain", ["LMTP deliveries"], ["bindfs", "empty", "alone", "alone private"]),
    ("the same, replicated", "0.85", "chain", ["LMTP deliveries"], ["empty pair", "pair disk", "pair disk private"]),
    ("IMAP FETCH of every body", "0.9", "chain", ["IMAP fetches"], COLUMNS),
]
REQUESTS = ["deliver 1", "flag 1", "read warm 1"]


def shown(value):
    return "-" if value is None else "%.2f" % value


def ratio_cells(rows, labels, columns):
    found = {name: [report.median(report.ratios(rows.get(label, {}), name, "ext4")) for label in labels]
             for name in columns}
    return [" / ".join(map(shown, found[c])) if any(v is not None for v in found.get(c, [])) else "-"
            for c in COLUMNS]


def request_cells(counted):
    def one(label, name):
        by_name = counted.get(label, {}).get(name)
        return "-" if not by_name else "%.1f" % sum(by_name.values())
    return [" / ".join(one(label, c) for label in REQUESTS) if counted else "-" for c in COLUMNS]


def against_gluster(maildir):
    """The least of all steps, and which it is."""
    found = []
    for name in COLUMNS:
        times = [(report.median(report.ratios(rows, name, "gluster")), label)
                 for label, rows in maildir.items() if report.ratios(rows, name, "gluster")]
        found.append("%.1f (%s)" % min(times) if times else "-")
    return found


def memory_cell(found):
    """Of the syncd that took more; own: without pages of files."""
    def most(when, what):
        return max(m[what] for name, m in found[when].items() if name.startswith("syncd"))
    return "syncd %.0f MiB, %.0f at the peak of the first comparison" % (
        most("afterwards", "own"), most("compared", "peak_own"))


def rows_of(out):
    maildir = out.get("maildir", {})
    for what, aim, part, labels, columns in RATIOS:
        yield what, aim, "%s: %s" % (part, ", ".join(labels)), ratio_cells(out.get(part, {}), labels, columns)
    yield ("least of all steps against Gluster", "≥ 10", "maildir", against_gluster(maildir))
    yield ("FUSE requests: deliver / flag / warm read", "≤ 6 / ≤ 2.2 / ≤ 0.3", "requests",
           request_cells(out.get("requests", {})))
    seen = out.get("visible", {}).get("pair disk")
    yield ("new mail visible on the other node, p50 / p99", "≤ 3 / 10 ms", "visible",
           ["-" if c != "pair disk" else visible_cell(seen) for c in COLUMNS])
    grows = {name: growth(by_size) for name, by_size in out.get("folder", {}).items()}
    yield ("an act in a folder of 100,000 against one of 100", "≤ 1.2", "folder",
           [shown(grows.get(c)) for c in COLUMNS])
    full = out.get("memory_full", {})
    yield ("memory with 1,000,000 messages", "≤ 64 MiB", "memory_full",
           ["-" if c != "pair disk" or "afterwards" not in full else memory_cell(full) for c in COLUMNS])


def visible_cell(found):
    """From the end of the delivery on."""
    if not found:
        return "-"
    return "%.1f / %.1f ms" % (found[1]["p50_us"] / 1000, found[1]["p99_us"] / 1000)


def growth(by_size):
    small, large = (by_size[size] for size in sorted(by_size, key=int))
    return report.median([large[n]["p50_us"] / small[n]["p50_us"] for n in small])


def table(out):
    """out: as the JSON has it, whose keys are all text."""
    out = json.loads(json.dumps(out))
    lines = ["| | aim | " + " | ".join(COLUMNS) + " | in the JSON |", "|" + "---|" * (len(COLUMNS) + 3)]
    for what, aim, where, cells in rows_of(out):
        lines.append("| %s | %s | %s | %s |" % (what, aim, " | ".join(cells), where))
    return "\n".join(lines)


def main():
    out = {}
    for path in sys.argv[1:]:
        with open(path) as f:
            out.update(json.load(f))
    print(table(out))


if __name__ == "__main__":
    main()
