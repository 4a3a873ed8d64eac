#!/usr/bin/env python3
"""Draws what bench/compare.py measured: seconds a step by stage, one bar a contestant, one panel a case.

  bench/plot.py bench/results/FILE.json docs/figures/FILE.svg      needs matplotlib
"""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "gsplit", "font.size": 9, "svg.fonttype": "none"})
from matplotlib import pyplot  # noqa: E402  pylint: disable=wrong-import-position

STAGES = {"sample_s": ("sampling", "#4477aa"), "load_s": ("loading", "#ccbb44"), "compute_s": ("forward and backward", "#228833")}
TITLES = {"sage": "GraphSAGE", "gat": "GAT, 4 heads"}


def panel(axes, case, rounds):
    model, precision = case.split("-")
    names = list(rounds)
    left = [0.0] * len(names)
    for stage, (label, color) in STAGES.items():
        seconds = [statistics.median(one[stage] for one in rounds[name]) for name in names]
        axes.barh(names, seconds, left=left, label=label, color=color)
        left = [a + b for a, b in zip(left, seconds)]
    for row, name in enumerate(names):
        total = statistics.median(one["step_s"] for one in rounds[name])
        axes.text(max(total, left[row]), row, f" {total:.2f}", va="center")
    axes.invert_yaxis()
    axes.set_title(f"{TITLES[model]}, {precision}", loc="left")
    axes.set_xlim(0, 1.12 * max(left))
    axes.spines[["top", "right"]].set_visible(False)


def main():
    if len(sys.argv) != 3:
        sys.exit("plot.py: usage: bench/plot.py RESULTS.json FIGURE.svg")
    results = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))["results"]
    heights = [len(rounds) for rounds in results.values()]
    figure, panels = pyplot.subplots(len(results), 1, figsize=(7, 0.34 * sum(heights) + 0.7 * len(heights)),
                                     gridspec_kw={"height_ratios": heights}, layout="constrained", squeeze=False)
    for axes, (case, rounds) in zip(panels[:, 0], results.items()):
        panel(axes, case, rounds)
    panels[-1, 0].set_xlabel("seconds a step")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(STAGES), frameon=False)
    out = pathlib.Path(sys.argv[2])
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
