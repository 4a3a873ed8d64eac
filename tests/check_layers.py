#!/usr/bin/env python3
"""Checks that the folders of the tree are layers.

  check_layers.py [ROOT]    prints one line per violation; exits 1 where there is one

What is checked, in every C++ and CUDA source under ROOT (the repository by default):
  - #include "..." names a file from the root of the tree, in the own room or in one of a lower rank;
  - the code that protoc generates is included by runtime/control only;
  - a header begins with #pragma once, and has no other guard;
  - no preprocessor condition asks for CUDA or NCCL outside the folders of the CUDA module. The one
    exception: kernels/base may ask for the CUDA compiler, to mark functions that both sides share.

tests/gpu_on_cpu is left out: a tool of its own, which knows nothing about gsplit.
"""

import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

# A room may include itself and rooms of a lower rank. The longest prefix of a path names its room.
RANKS = {
    "kernels": 10,
    "graph": 20,
    "comm": 20,
    "sampler": 30,
    "partition": 40,
    "runtime/control": 50,
    "runtime/nn": 60,
    "runtime/report": 60,
    "runtime/bench": 65,
    "runtime/train": 70,
    "runtime/supervise": 75,
    "runtime/cli": 80,
    "bench": 90,
    "tests": 100,
}
GENERATED = re.compile(r"gsplit/v1/\w+(\.grpc)?\.pb\.h")
READS_GENERATED = ("runtime/control/", "tests/runtime/control/")
CUDA_FILES = ("kernels/cuda/", "comm/nccl", "tests/")
NOT_OURS = "tests/gpu_on_cpu/"
SOURCES = {".h", ".cc", ".cuh", ".cu"}
HEADERS = {".h", ".cuh"}

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')
CONDITION = re.compile(r"\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)")
CUDA_WORD = re.compile(r"CUDA|NVCC|NCCL|NVRTC", re.IGNORECASE)
COMPILER_TEST = "defined(__CUDACC__)"


class Violation(NamedTuple):
    path: str
    line: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.fault}"


def room_of(path: str) -> str | None:
    rooms = [room for room in RANKS if path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def include_fault(path: str, included: str) -> str | None:
    """What is wrong with `path` including `included`, both from the root; None where nothing is."""
    if GENERATED.fullmatch(included):
        if path.startswith(READS_GENERATED):
            return None
        return f"includes generated {included}, which only runtime/control sees"
    room, target = room_of(path), room_of(included)
    if target is None:
        return f'"{included}" is in no room; write the path from the root of the tree'
    if room == target or RANKS[target] < RANKS[room]:
        return None
    return f"{room} includes {included}, and {target} is not below it"


def condition_fault(path: str, condition: str) -> str | None:
    if not CUDA_WORD.search(condition) or path.startswith(CUDA_FILES):
        return None
    if path.startswith("kernels/base/") and condition.strip() == COMPILER_TEST:
        return None
    return f"asks for CUDA: #if{condition}"


def guard_fault(path: str, text: str) -> str | None:
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL).strip()
    if Path(path).suffix in HEADERS and not code.startswith("#pragma once"):
        return "a header begins with #pragma once"
    return None


def check_file(path: str, text: str) -> Iterator[Violation]:
    if room_of(path) is None:
        yield Violation(path, 1, "lies in no room that this script knows")
        return
    if fault := guard_fault(path, text):
        yield Violation(path, 1, fault)
    for number, line in enumerate(text.splitlines(), start=1):
        if match := INCLUDE.match(line):
            fault = include_fault(path, match[1])
        elif match := CONDITION.match(line):
            fault = condition_fault(path, match[1])
        else:
            continue
        if fault:
            yield Violation(path, number, fault)


def source_files(root: Path) -> list[Path]:
    def left_out(path: Path) -> bool:
        relative = path.relative_to(root)
        first = relative.parts[0]
        return first == "build" or first.startswith(".") or relative.as_posix().startswith(NOT_OURS)

    return sorted(p for p in root.rglob("*") if p.suffix in SOURCES and not left_out(p))


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    files = source_files(root)
    if not files:
        print(f"{root}: no sources found")
        return 1
    violations = [
        violation
        for file in files
        for violation in check_file(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
    ]
    for violation in violations:
        print(violation)
    print(f"{len(files)} sources, {len(violations)} violations of the layers")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
