#!/usr/bin/env python3
"""tests/bench/plot.py FIGURES.json OUT.png: the ratios to native ext4 as bars.

Run by the system's own Python, which is the one that Debian's python3-matplotlib is for.
"""

import json
import sys

import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

import report  # noqa: E402


def draw(results, path):
    names = [n for n in next(iter(results.values()), {}) if n != "ext4"]
    figure, axes = pyplot.subplots(figsize=(12, 6))
    width = 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        heights = [report.median(report.ratios(rows, name, "ext4")) or 0 for rows in results.values()]
        axes.bar([i + k * width for i in range(len(heights))], heights, width, label=name)
    axes.set_xticks([i + 0.4 for i in range(len(results))])
    axes.set_xticklabels(list(results), rotation=45, ha="right")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylim(0, 1.5)
    axes.set_ylabel("operations a second, native ext4 = 1")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


with open(sys.argv[1]) as f:
    draw(json.load(f)["maildir"], sys.argv[2])
