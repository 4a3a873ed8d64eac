#!/usr/bin/env python3
"""Registers, shared memory and spills of every kernel, as ptxas reports them; fails where a kernel spills that is not allowed to.

  resources.py BUILD            the check; BUILD has compile_commands.json
  resources.py BUILD --table    the table of docs/performance.md

Sources are compiled once more with the build's own commands, for the build's
architectures and for sm_90.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

# Kernel (without template arguments): why its spills are accepted.
ALLOWED_SPILLS = {}

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")

Use = collections.namedtuple("Use", "kernel arch registers shared spills")


def report_of(entry):
    """What ptxas says of one source: for the build's architectures, and for sm_90."""
    command = shlex.split(entry["command"])
    with tempfile.TemporaryDirectory(prefix="gsplit-resources-") as folder:
        command[command.index("-o") + 1] = str(pathlib.Path(folder) / "kernel.o")
        command.append("--generate-code=arch=compute_90,code=[sm_90]")
        done = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{entry['file']} does not compile:\n{done.stderr}")
    return done.stdout + done.stderr


def reports(build):
    """Of each source of the module."""
    entries = [entry for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
               if "gsplit_cuda.dir" in entry["command"] and entry["file"].endswith(".cu")]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as threads:
        yield from threads.map(report_of, entries)


def uses_in(report):
    """The kernels of one report. A device function that was not inlined has properties of its own: they are its callers'."""
    kernel = arch = None
    spills = 0
    for line in report.splitlines():
        if entry := ENTRY.search(line):
            kernel, arch, spills = entry.group(1), entry.group(2), 0
        elif found := SPILLS.search(line):
            spills += sum(map(int, found.groups()))
        elif kernel and (used := USED.search(line)):
            shared = SHARED.search(line)
            yield Use(kernel, arch, int(used.group(1)), int(shared.group(1)) if shared else 0, spills)
            kernel = None


def all_uses(build):
    """Each kernel and architecture once, names as in the sources."""
    found = sorted({use for report in reports(build) for use in uses_in(report)})
    if not found:
        sys.exit("ptxas has reported no kernel: is -Xptxas=-v gone from the build?")
    names = subprocess.run(["c++filt"], input="\n".join(use.kernel for use in found), check=True, capture_output=True, text=True)
    return [use._replace(kernel=plain(name)) for use, name in zip(found, names.stdout.splitlines())]


def plain(signature):
    """weighted_sum<float, 4, 32, 1> of "void gsplit::cuda::(anonymous namespace)::weighted_sum<float, 4, 32, 1>(...)"."""
    text = signature.replace("(anonymous namespace)::", "").removeprefix("void ")
    name = re.match(r"(?:\w+::)*(\w+)", text)
    rest = text[name.end():]
    depth = end = 0
    for end, letter in enumerate(rest):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if depth == 0:
            break
    arguments = rest[:end + 1] if rest.startswith("<") else ""
    return name.group(1) + re.sub(r"\((?:int|bool)\)", "", arguments).replace("gsplit::", "")


# One step of GraphSAGE on a products-shaped graph: fanout 15,10,5, batch 1024, hidden 256, 47 classes. 644,817 edges in all; by
# layer as the fanouts suggest.
ROWS = (267104, 98259, 13997, 1024)
EDGES = (490000, 139600, 15217)
WIDTH = (100 * 4, 256 * 4, 256 * 4)  # bytes of a row that layer l aggregates, in fp32
PARAMETERS = 2 * 100 * 256 + 2 * 256 * 256 + 2 * 256 * 47 + 256 + 256 + 47
HIDDEN = (ROWS[1] + ROWS[2]) * 256 * 4


def forward(layer, share=1):
    """A source row and a column number an edge, offsets, the rows written. share: of fp32's bytes."""
    width = int(WIDTH[layer] * share)
    return EDGES[layer] * (width + 4) + ROWS[layer + 1] * (width + 4)


def backward(layer, share=1):
    """A row of the gradient, a column number and a scale an edge, offsets, the rows written."""
    width = int(WIDTH[layer] * share)
    return EDGES[layer] * (width + 8) + ROWS[layer] * (width + 4)


# The instantiation that a step in fp32 launches, then those in bf16: what of the step, its bytes, what limits it.
STEP = (
    ("weighted_sum<float, 4, 32, 1>", "aggregation of input rows", forward(0),
     "scattered rows of 400 bytes; latency, with 4 rows in flight a group"),
    ("weighted_sum<float, 4, 32, 2>", "aggregation of hidden rows and its gradient", forward(1) + forward(2) + backward(1) + backward(2),
     "scattered rows of 1 KiB; registers leave fewer warps to hide latency"),
    ("destination_scales<float>", "means", sum(ROWS[1:]) * 8, "launch"),
    ("edge_values<float>", "`--spmm cusparse`: values", sum(EDGES) * 8 + EDGES[1] * 8 + EDGES[2] * 8, "launch"),
    ("add_own_rows<float, 4>", "`--spmm cusparse`, GCN: own rows", ROWS[1] * WIDTH[0] * 3 + (ROWS[2] + ROWS[3]) * 1024 * 3, "memory"),
    ("bias_activation_dropout_kernel<float, 4>", "hidden rows read and written", 2 * HIDDEN,
     "memory; ten rounds of Philox for eight columns beside it"),
    ("activation_dropout_backward_kernel<float, 4>", "gradient and output read, gradient written", 3 * HIDDEN, "memory"),
    ("layer_norm_kernel<float>", "`--norm layer`: read twice, written", 3 * HIDDEN, "memory; the second reading comes from L1"),
    ("layer_norm_backward_kernel<float>", "`--norm layer`", 3 * HIDDEN, "memory"),
    ("chunk_sums<float>", "gradients of biases", HIDDEN, "memory"),
    ("add_chunks<float>", "the same, from 64 chunks of rows", 2 * 64 * 1024, "launch"),
    ("add_rows_kernel<float, 4>", "`--residual`: two read, one written", 3 * HIDDEN, "memory"),
    ("scale_rows_kernel<float, 4>", "GCN: input rows read and written", 2 * ROWS[0] * WIDTH[0], "memory"),
    ("copy_rows<float, float, 4>", "input rows gathered from the features", 2 * ROWS[0] * WIDTH[0], "scattered rows of 400 bytes"),
    ("locate_rows", "`--gpu-cache 0.2`: where each input row is", ROWS[0] * 16, "latency: scattered reads of 4 bytes"),
    ("placed_sum<float, 4, 32, 1>", "the same, aggregation of input rows", forward(0) + 8 * EDGES[0], "scattered rows of 400 bytes; an address before each"),
    ("draw_positions", "sampling: positions of the neighbours drawn", sum(ROWS[1:]) * 44 + sum(EDGES) * 4,
     "latency: a thread draws and sorts one after the other"),
    ("take_positions", "sampling: the neighbours there", sum(ROWS[1:]) * 36 + sum(EDGES) * 16, "latency: scattered reads of 4 bytes"),
    ("insert_arrivals", "sampling: distinct nodes, and those that join", sum(EDGES) * 14, "latency: scattered atomics on bitmaps, few of them"),
    ("relabel_edges", "sampling: columns", sum(EDGES) * 16, "latency: scattered reads of 4 bytes"),
    ("attention_softmax<float>", "GAT, 4 heads: coefficients", sum(EDGES) * 4 * 12, "latency: exp, and a third reading from L1"),
    ("head_sums<false, float, 4>", "GAT: input rows summed by head", EDGES[0] * (WIDTH[0] + 20) + ROWS[1] * 4 * WIDTH[0],
     "scattered rows of 400 bytes, which four heads read"),
    ("head_sums<true, float, 4>", "GAT: gradients of hidden rows, by four heads",
     sum(edges * 4 * width for edges, width in zip(EDGES[1:], WIDTH[1:])) + sum(ROWS[1:3]) * WIDTH[1], "scattered rows of 4 KiB"),
    ("coefficient_gradients<float>", "GAT: dot products of rows and gradients",
     sum(edges * width + rows * 4 * width for edges, rows, width in zip(EDGES, ROWS[1:], WIDTH)), "scattered rows; five shuffles a head"),
    ("logit_gradients<float>", "GAT: from coefficients to logits", sum(EDGES) * 4 * 20, "latency: exp twice"),
    ("cross_entropy_kernel<float>", "47 logits a seed read, gradients written", 2 * ROWS[3] * 47 * 4,
     "latency: exp in double precision; the host waits for the sum"),
    ("binary_cross_entropy_kernel<float>", "the same", 2 * ROWS[3] * 47 * 4, "latency, as above"),
    ("adam_kernel<float>", "weights, moments, gradients", 7 * 4 * PARAMETERS, "launch"),
    ("sgd_kernel<float>", "the same with momentum", 5 * 4 * PARAMETERS, "launch"),
    ("scale_kernel<float>", "`--clip-norm`", 2 * 4 * PARAMETERS, "launch"),
    ("chunk_squares<float>", "`--clip-norm`", 4 * PARAMETERS, "latency: the host waits"),
    ("weighted_sum<BFloat16, 4, 32, 1>", "aggregation of input rows", forward(0, 0.5), "scattered rows of 200 bytes; latency, as in fp32"),
    ("weighted_sum<BFloat16, 8, 32, 1>", "aggregation of hidden rows and its gradient",
     forward(1, 0.5) + forward(2, 0.5) + backward(1, 0.5) + backward(2, 0.5), "scattered rows of 512 bytes"),
    ("bias_activation_dropout_kernel<BFloat16, 8>", "hidden rows read and written", HIDDEN, "memory; Philox beside it"),
    ("activation_dropout_backward_kernel<BFloat16, 8>", "gradient and output read, gradient written", 3 * HIDDEN // 2, "memory"),
    ("layer_norm_kernel<BFloat16>", "`--norm layer`: read, written twice", 3 * HIDDEN // 2, "memory"),
    ("layer_norm_backward_kernel<BFloat16>", "`--norm layer`", 3 * HIDDEN // 2, "memory"),
    ("chunk_sums<BFloat16>", "gradients of biases", HIDDEN // 2, "memory, 64 bytes a warp"),
    ("copy_rows<float, BFloat16, 1>", "weights rounded after the optimizer's step", 6 * PARAMETERS, "launch"),
    ("add_rows_kernel<BFloat16, 8>", "`--residual`: two read, one written", 3 * HIDDEN // 2, "memory"),
    ("scale_rows_kernel<BFloat16, 4>", "GCN: input rows read and written", ROWS[0] * WIDTH[0], "memory"),
)
H100, H200 = 0.9 * 3.35e12, 0.9 * 4.8e12  # bytes a second


def microseconds(count, bandwidth):
    """As a table has it."""
    time = count / bandwidth * 1e6
    return "<1" if time < 1 else f"{time:.0f}"


def table(uses):
    """Markdown. Registers are those of sm_80 / sm_90."""
    print("| kernel | of the step | registers | shared memory | spills | MB a step | H100, us | H200, us | what limits it |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kernel, what, count, limit in STEP:
        mine = {use.arch: use for use in uses if use.kernel == kernel}
        if {"sm_80", "sm_90"} - set(mine):
            sys.exit(f"{kernel}: not in the module for sm_80 and sm_90; it has: "
                     f"{', '.join(sorted({use.kernel for use in uses if use.kernel.startswith(kernel.split('<')[0] + '<')}))}")
        one, other = mine["sm_80"], mine["sm_90"]
        print(f"| `{kernel}` | {what} | {one.registers} / {other.registers} | {one.shared} | {one.spills + other.spills} | "
              f"{count / 1e6:.1f} | {microseconds(count, H100)} | {microseconds(count, H200)} | {limit} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--test", action="store_true", help="skip it without GSPLIT_FULL_TESTS=1: it compiles all kernels once more")
    arguments = parser.parse_args()
    if arguments.test and not os.environ.get("GSPLIT_FULL_TESTS"):
        print("skipped: compiling all kernels once more takes minutes (GSPLIT_FULL_TESTS=1)")
        return 77
    uses = all_uses(arguments.build)
    if arguments.table:
        table(uses)
        return 0
    spilled = [use for use in uses if use.spills > 0]
    for use in spilled:
        reason = ALLOWED_SPILLS.get(use.kernel.split("<")[0])
        print(f"{use.kernel} spills {use.spills} bytes on {use.arch}: {reason or 'not allowed (ALLOWED_SPILLS)'}")
    stale = set(ALLOWED_SPILLS) - {use.kernel.split("<")[0] for use in spilled}
    if stale:
        print(f"ALLOWED_SPILLS names kernels that spill no more: {', '.join(sorted(stale))}")
    forbidden = [use for use in spilled if use.kernel.split("<")[0] not in ALLOWED_SPILLS]
    print(f"{len(uses)} kernels by type, width and architecture, {len(spilled)} of them spill")
    return 1 if forbidden or stale else 0


if __name__ == "__main__":
    sys.exit(main())
