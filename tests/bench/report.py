"""Tables, on a terminal that is 110 wide, and as JSON."""

import statistics


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def rate(figures):
    return figures["ops"] / figures["seconds"] if figures["seconds"] else None


def ratios(rows, name, native):
    """Of each round in which both were measured, to native in the same round."""
    mine, theirs = rows.get(name, {}), rows.get(native, {})
    return [rate(mine[n]) / rate(theirs[n]) for n in mine if n in theirs]


def number(value):
    if value is None:
        return "-"
    if value >= 100:
        return "{:,.0f}".format(value)
    return "%.1f" % value if value >= 10 else "%.2f" % value


def table(title, columns, rows, note=""):
    """rows: [(label, [cell, ...])], cells are text."""
    width = max([len(r[0]) for r in rows] + [14])
    each = [max([len(c)] + [len(r[1][i]) for r in rows]) for i, c in enumerate(columns)]
    print("\n" + title)
    print("  " + " " * width + "".join("  " + c.rjust(w) for c, w in zip(columns, each)))
    for label, cells in rows:
        print("  " + label.ljust(width) + "".join("  " + c.rjust(w) for c, w in zip(cells, each)))
    if note:
        print("  " + note)


def rates(title, results, names, native, note=""):
    columns = [native] + [n for n in names if n != native]
    rows = []
    for label, by_name in results.items():
        cells = []
        for name in columns:
            got = median([rate(f) for f in by_name.get(name, {}).values()])
            ratio = median(ratios(by_name, name, native))
            cells.append(number(got) if name == native or ratio is None
                         else "%s (%s)" % (number(got), "%.3f" % ratio if ratio < 0.1 else "%.2f" % ratio))
        rows.append((label, cells))
    if rows:
        table(title, columns, rows, note)


def latencies(title, results, names, labels):
    rows = []
    for label in labels:
        by_name = results.get(label, {})
        cells = []
        for name in names:
            found = list(by_name.get(name, {}).values())
            cells.append("-" if not found else "%s / %s" % (
                number(median([f["p50_us"] for f in found])), number(median([f["p99_us"] for f in found]))))
        rows.append((label, cells))
    if rows:
        table(title, names, rows)


def requests(title, counted, names):
    rows = []
    for label, by_name in counted.items():
        rows.append((label, [number(sum(by_name[n].values())) if by_name.get(n) else "-" for n in names]))
    if rows:
        table(title, names, rows)
    for label, by_name in counted.items():
        for name in names:
            if name in ("alone", "pair disk") and by_name.get(name):
                print("    %-16s %-10s %s" % (label, name, " ".join(
                    "%s %s" % (k, number(v)) for k, v in by_name[name].items() if v >= 0.01)))


def cpu(title, results, names, labels):
    """Seconds per thousand operations: the load's own and the daemons'."""
    rows = []
    for label in labels:
        cells = []
        for name in names:
            found = list(results.get(label, {}).get(name, {}).values())
            cells.append("-" if not found else "%.2f + %.2f" % (
                median([1000 * f["cpu"] / f["ops"] for f in found]),
                median([1000 * f["daemon_cpu"] / f["ops"] for f in found])))
        rows.append((label, cells))
    if rows:
        table(title, names, rows)


def memory(title, found):
    rows = [(name, [", ".join("%s %.0f" % (d, b / 2**20) for d, b in daemons.items())])
            for name, daemons in found.items() if daemons]
    if rows:
        table(title, ["MiB"], rows)
