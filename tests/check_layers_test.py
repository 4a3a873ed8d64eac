#!/usr/bin/env python3
"""Tests of check_layers.py: every kind of violation is caught, and what is allowed is not."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from check_layers import check_file

CHECKER = Path(__file__).with_name("check_layers.py")


def faults(path: str, text: str) -> list[str]:
    if path.endswith(".h"):
        text = "#pragma once\n" + text
    return [violation.fault for violation in check_file(path, text)]


class Includes(unittest.TestCase):
    def allowed(self, path: str, included: str) -> None:
        self.assertEqual(faults(path, f'#include "{included}"\n'), [], f"{path} -> {included}")

    def refused(self, path: str, included: str) -> None:
        self.assertEqual(len(faults(path, f'#include "{included}"\n')), 1, f"{path} -> {included}")

    def test_downward_and_inside_are_allowed(self):
        self.allowed("kernels/cpu/dense.cc", "kernels/dense.h")
        self.allowed("graph/shard.h", "kernels/matrix.h")
        self.allowed("sampler/block.h", "comm/communicator.h")
        self.allowed("partition/prepare.h", "graph/dataset.h")
        self.allowed("runtime/cli/train.cc", "runtime/train/trainer.h")
        self.allowed("runtime/train/trainer.cc", "runtime/nn/model.h")
        self.allowed("runtime/train/trainer.cc", "runtime/control/client.h")
        self.allowed("runtime/nn/context.h", "runtime/control/progress.h")
        self.allowed("tests/graph/npy_test.cc", "graph/npy.h")

    def test_upward_is_refused(self):
        self.refused("kernels/matrix.h", "graph/npy.h")
        self.refused("graph/shard.h", "partition/prepare.h")
        self.refused("sampler/block.h", "runtime/nn/model.h")
        self.refused("runtime/control/client.h", "runtime/nn/model.h")
        self.refused("runtime/nn/model.h", "runtime/train/trainer.h")
        self.refused("runtime/train/trainer.h", "runtime/cli/command.h")
        self.refused("runtime/cli/main.cc", "tests/support/graphs.h")

    def test_neighbours_of_one_rank_are_refused(self):
        self.refused("graph/shard.h", "comm/communicator.h")
        self.refused("comm/world.h", "graph/npy.h")

    def test_relative_paths_are_refused(self):
        self.refused("graph/shard.h", "npy.h")
        self.refused("graph/shard.h", "../kernels/matrix.h")

    def test_generated_code_is_seen_by_control_only(self):
        self.allowed("runtime/control/client.cc", "gsplit/v1/coordinator.grpc.pb.h")
        self.refused("runtime/train/trainer.cc", "gsplit/v1/coordinator.pb.h")
        self.refused("kernels/matrix.h", "gsplit/v1/coordinator.pb.h")

    def test_system_includes_do_not_count(self):
        self.assertEqual(faults("graph/npy.h", "#include <graph/foreign.h>\n"), [])


class Conditions(unittest.TestCase):
    def test_cuda_is_refused_outside_the_module(self):
        for condition in ("#ifdef __CUDACC__", "#if defined(GSPLIT_WITH_CUDA)", "# if HAVE_NCCL"):
            self.assertEqual(len(faults("sampler/block.cc", condition + "\n#endif\n")), 1, condition)
        self.assertEqual(len(faults("kernels/base/philox.h", "#if GSPLIT_CUDA\n#endif\n")), 1)

    def test_host_device_macros_and_the_module_are_allowed(self):
        self.assertEqual(faults("kernels/base/philox.h", "#if defined(__CUDACC__)\n#endif\n"), [])
        self.assertEqual(faults("kernels/cuda/sparse.cu", "#if CUDA_VERSION > 13000\n#endif\n"), [])
        self.assertEqual(faults("graph/npy.cc", "#ifdef __linux__\n#endif\n"), [])


class Guards(unittest.TestCase):
    def test_pragma_once_comes_first(self):
        self.assertEqual(faults("graph/npy.h", "// text\n"), [])
        macro = "#ifndef GSPLIT_NPY_H\n#define GSPLIT_NPY_H\n#endif\n"
        self.assertEqual(len(list(check_file("graph/npy.h", macro))), 1)
        self.assertEqual(len(list(check_file("graph/npy.h", "#include <span>\n#pragma once\n"))), 1)
        self.assertEqual(list(check_file("graph/npy.h", "// What it is.\n#pragma once\n")), [])


class WholeTree(unittest.TestCase):
    def run_on(self, files: dict[str, str]) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                file = Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return subprocess.run(
                [sys.executable, CHECKER, root], capture_output=True, text=True, check=False
            )

    def test_an_upward_include_fails_and_is_named(self):
        result = self.run_on({"kernels/dense.cc": '\n#include "graph/npy.h"\n'})
        self.assertEqual(result.returncode, 1)
        self.assertIn("kernels/dense.cc:2: kernels includes graph/npy.h", result.stdout)

    def test_a_clean_tree_passes_and_what_is_not_ours_is_left_out(self):
        clean = {"graph/npy.cc": '#include "kernels/matrix.h"\n'}
        built = {"build/release/x.cc": '#include "nowhere.h"\n'}
        tool = {"tests/gpu_on_cpu/src/x.cc": '#include "ptx.h"\n'}
        self.assertEqual(self.run_on(clean | built | tool).returncode, 0)

    def test_an_empty_tree_fails(self):
        self.assertEqual(self.run_on({}).returncode, 1)

    def test_an_unknown_folder_fails(self):
        self.assertEqual(self.run_on({"utilities/x.cc": "\n"}).returncode, 1)


if __name__ == "__main__":
    unittest.main()
