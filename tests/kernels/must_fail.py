#!/usr/bin/env python3
"""Bugs planted in copies of our own device code: each must be caught by the conformance suite under gpu-on-cpu.

  must_fail.py BUILD    the build folder; needs nvcc, and compile_commands.json, which tells how sources are compiled

A suite that lets a dropped barrier or a missing wait pass proves nothing about the code that has them.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ROOT / "build/release").resolve()
GPU_ON_CPU = ROOT / "tests/gpu_on_cpu/gpu-on-cpu"
FOLDER = "kernels/cuda"  # of files named without one
# Without GSPLIT_FULL_TESTS a few are planted: a barrier, places in memory, waits, a value.
FEW = {"test_a_barrier_dropped_from_a_tree", "test_a_store_past_the_end_of_a_row", "test_a_mask_of_the_wrong_column",
       "test_a_result_read_before_it_is_there", "test_a_step_computed_before_it_is_prepared",
       "test_a_remote_neighbour_counted_behind_own_ones", "test_a_row_left_in_the_cache_that_is_read_as_a_matrix"}


def placed(name):
    return pathlib.Path(name if "/" in name else f"{FOLDER}/{name}")


class Mutants(unittest.TestCase):
    """A module with one changed line."""

    @classmethod
    def setUpClass(cls):
        cls.commands = {entry["file"]: entry["command"]
                        for entry in json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
                        if "gsplit_cuda.dir" in entry["command"]}
        cls.objects = sorted((BUILD / "kernels/CMakeFiles/gsplit_cuda.dir").rglob("*.o"))

    def setUp(self):
        if self._testMethodName not in FEW and not os.environ.get("GSPLIT_FULL_TESTS"):
            self.skipTest("only a few are planted without GSPLIT_FULL_TESTS=1")

    def module(self, work, changed, old, new, source):
        """The module with `old` replaced in `changed`; `source` is compiled again, the rest is taken as built."""
        text = (ROOT / placed(changed)).read_text(encoding="utf-8")
        self.assertEqual(text.count(old), 1, f"{changed} has changed: {old}")
        copy = work / placed(changed)
        copy.parent.mkdir(parents=True)
        copy.write_text(text.replace(old, new), encoding="utf-8")
        if source != changed:
            (work / placed(source)).write_text((ROOT / placed(source)).read_text(encoding="utf-8"), encoding="utf-8")

        original = str(ROOT / placed(source))
        command = [word for word in shlex.split(self.commands[original]) if not word.endswith("ccache")]
        target = command[command.index("-o") + 1]
        command[command.index("-o") + 1] = str(work / "mutant.o")
        command = [str(work / placed(source)) if word == original else word for word in command]
        command.insert(command.index(f"-I{ROOT}"), f"-I{work}")  # changed headers come first
        subprocess.run(command, cwd=BUILD, check=True, capture_output=True)
        objects = [path for path in self.objects if path != BUILD / target]
        self.assertEqual(len(objects), len(self.objects) - 1)

        library = work / "libgsplit_cuda.so"
        loaded = subprocess.run(["ldd", BUILD / "libgsplit_cuda.so"], check=True, capture_output=True, text=True).stdout
        libraries = [line.split("=> ")[1].split(" (")[0] for line in loaded.splitlines()
                     if line.strip().startswith(("libcublas.", "libcudart.", "libcusparse.", "libnccl."))]
        subprocess.run(["c++", "-shared", "-o", library, work / "mutant.o", *objects, *libraries,
                        f"-Wl,--version-script={ROOT / FOLDER / 'module.map'}"], check=True, capture_output=True)
        return library

    def caught(self, changed, old, new, *, tests, says, source=None, suite="cuda_conformance_test", **settings):
        self.caught_by([BUILD / "tests/kernels" / suite, f"--gtest_filter={tests}"], changed, old, new, says=says, source=source, **settings)

    def caught_by(self, program, changed, old, new, *, says, source=None, **settings):
        with tempfile.TemporaryDirectory(prefix="gsplit-mutant-") as folder:
            library = self.module(pathlib.Path(folder), changed, old, new, source or changed)
            command = [GPU_ON_CPU, *program]
            clean = {name: value for name, value in os.environ.items() if not name.startswith("GPU_ON_CPU_")}
            sound = subprocess.run(command, env=clean | settings, capture_output=True, text=True, check=False)
            self.assertEqual(sound.returncode, 0, sound.stdout + sound.stderr)
            self.assertNotRegex(sound.stdout, r"\[  SKIPPED \]|^skipped:")
            mutant = subprocess.run(command, env=clean | settings | {"GSPLIT_CUDA_MODULE": str(library)},
                                    capture_output=True, text=True, check=False)
        self.assertNotEqual(mutant.returncode, 0, "passed: nobody has noticed")
        self.assertRegex(mutant.stdout + mutant.stderr, says)

    def test_a_barrier_dropped_from_a_tree(self):
        self.caught("reduce.cuh", "    }\n    __syncthreads();\n  }\n  return values[0];", "    }\n  }\n  return values[0];",
                    source="optimizer.cu", tests="*SquaredNorm*", says="race on shared memory",
                    GPU_ON_CPU_RACECHECK="1")

    def test_a_barrier_dropped_before_warps_are_added_up(self):
        self.caught("sum_rows.cu", "  __syncthreads();\n", "", tests="*SumRows*", says="race on shared memory",
                    GPU_ON_CPU_RACECHECK="1")

    def test_a_store_past_the_end_of_a_row(self):
        # In order, the next row would overwrite it.
        self.caught("aggregate.cu", "if (at >= op.cols) continue;", "", tests="*Aggregate*",
                    says="exceeds tolerance", GPU_ON_CPU_SEED="3")

    def test_a_mask_of_the_wrong_column(self):
        self.caught("bias_activation_dropout.cu", "((kept >> c) & 1u)", "((kept >> (c ^ 1)) & 1u)",
                    tests="*BiasActivationDropout*", says="exceeds tolerance")

    def test_an_edge_that_is_left_out(self):
        self.caught("aggregate.cu", "      const RowIndex e = begin + first + k, column", "      if (k == 3) break;\n"
                    "      const RowIndex e = begin + first + k, column", tests="*Aggregate*",
                    says="exceeds tolerance")

    def test_sums_that_are_rounded_at_each_edge(self):
        self.caught("aggregate.cuh", "sum.value[p] += weight * widen(values.value[p]);",
                    "sum.value[p] = widen(narrow<S>(sum.value[p] + weight * widen(values.value[p])));", source="aggregate.cu",
                    tests="*ManySmallTermsAddUp/bf16", says="exceeds tolerance")

    def test_a_result_read_before_it_is_there(self):
        self.caught("memory.cc", "    stream.synchronize();\n    std::memcpy(destination", "    std::memcpy(destination",
                    tests="*SumRows*", says="FAILED", GPU_ON_CPU_LAZY="1")

    def test_a_block_handed_out_while_a_copy_reads_it(self):
        self.caught("memory.cc", "block.last_use == nullptr || cudaEventQuery(block.last_use) == cudaSuccess", "block.bytes > 0",
                    tests="*Aggregate*", says="FAILED|past the end", GPU_ON_CPU_LAZY="1")

    def test_a_stream_that_does_not_wait_for_the_other(self):
        self.caught("memory.cc", "check(cudaStreamWaitEvent(", "check(true ? cudaSuccess : cudaStreamWaitEvent(",
                    suite="cuda_streams_test", tests="*GiveWhatOneGives*", says="FAILED", GPU_ON_CPU_LAZY="1")

    def test_rows_read_while_they_are_on_their_way(self):
        self.caught_by([BUILD / "tests/comm/nccl_test", "--gtest_filter=*SumsToTheBits*/4"], "comm/nccl_communicator.cc",
                       "if (!pending_.empty()) stream.wait(", "if (size_ < 0) stream.wait(", says="FAILED", GPU_ON_CPU_LAZY="1")

    def test_a_step_computed_before_it_is_prepared(self):
        self.caught_by([sys.executable, ROOT / "tests/e2e/device_test.py", "Data.test_steps_prepared_ahead_change_no_bit"],
                       "memory.cc", "check(cudaStreamWaitEvent(", "check(true ? cudaSuccess : cudaStreamWaitEvent(", says="FAILED",
                       GPU_ON_CPU_LAZY="1", GSPLIT=str(BUILD / "gsplit"))

    def test_a_round_that_reads_what_it_writes(self):
        self.caught("cover.cu", "    fresh_begin_ = end;\n    __syncthreads();", "    fresh_begin_ = end;", tests="*Cover*",
                    says="race on shared memory|FAILED", GPU_ON_CPU_RACECHECK="1")

    def test_a_cover_without_its_bound(self):
        self.caught("cover.cu", "size() > 2 * shared_.peels", "size() > 200 * shared_.peels", tests="*Cover*", says="FAILED")

    def test_a_node_that_is_peeled_too_late(self):
        self.caught("cover.cu", "atomicSub(&nodes_.degree[neighbor], 1u) == 2", "atomicSub(&nodes_.degree[neighbor], 1u) == 1", tests="*Cover*",
                    says="FAILED")

    def test_cusparse_without_the_means(self):
        self.caught("spmm.cu", "const T scale = op.scale_of(i);", "const T scale{1};", suite="cuda_cusparse_conformance_test",
                    tests="*Aggregate*", says="exceeds tolerance")

    def test_cusparse_multiplying_by_the_block_before(self):
        # One of the same sizes.
        self.caught("cusparse.cc", "check(cusparseCsrSetPointers(", "check(indptr ? CUSPARSE_STATUS_SUCCESS : cusparseCsrSetPointers(",
                    suite="cuda_cusparse_reuse_test", tests="*KnownSizes*", says="exceeds tolerance")

    def test_cusparse_descriptors_made_at_each_call(self):
        self.caught("cusparse.h", "if (found == entries_.end()) return nullptr;", "if (found == entries_.end() || true) return nullptr;",
                    source="cusparse.cc", suite="cuda_cusparse_reuse_test", tests="*KnownSizes*", says="descriptors")

    def test_a_remote_neighbour_counted_behind_own_ones(self):
        self.caught("id_set.cu", " - (id >= own.end ? own_members : 0)", "", tests="SamplingConformance.Rows*", says="FAILED")

    def test_a_cached_row_that_is_copied_all_the_same(self):
        self.caught("cached_rows.cu", "if (places != nullptr && places[i] != destination.row(i)) return;", "",
                    tests="*CachedRows*StayWhereTheyAre*", says="FAILED")

    def test_a_row_left_in_the_cache_that_is_read_as_a_matrix(self):
        self.caught("cached_rows.cu", "slot != kNoSlot && i >= found.first_placed;", "slot != kNoSlot;",
                    tests="*CachedRows*StayWhereTheyAre*", says="FAILED")

    def test_a_factor_of_a_row_that_has_none(self):
        self.caught("aggregate.cuh", "factors != nullptr && column < num_factors ?", "factors != nullptr ?", source="aggregate.cu",
                    tests="*CachedRows*AreSummedWhereTheyLie*", says="FAILED|past the end")

    def test_a_node_that_joins_though_it_is_there(self):
        self.caught("id_set.cu", "if (op.rows[id - op.own.begin] == kNoRow) set_bit(op.joining", "set_bit(op.joining",
                    tests="SamplingConformance.Growth*", says="FAILED")

    def test_edges_drawn_beyond_their_number(self):
        self.caught("id_set.cu", "if (i >= static_cast<std::int64_t>(*op.count)) return;", "if (i >= static_cast<std::int64_t>(*op.count) + 1) return;",
                    tests="SamplingConformance.Growth*", says="FAILED|past the end|uninitialised")

    def test_a_kept_edge_that_takes_the_place_of_another(self):
        self.caught("sample_neighbors.cu", "before = (1u << lane) - 1;", "before = (2u << lane) - 1;",
                    tests="SamplingConformance.Neighbors*", says="FAILED")

    def test_an_edge_to_itself_that_is_attended_to(self):
        self.caught("attention.cu", "const T part = source == self ? T{0} : exp(", "const T part = exp(", tests="*Attention*",
                    says="exceeds tolerance")

    def test_a_coefficient_whose_drop_is_forgotten(self):
        self.caught("attention.cu", "at(gradients, k) *= kept;", "", tests="*Attention*Dropout*", says="exceeds tolerance")

    def test_a_sort_that_leaves_out_a_bit(self):
        self.caught("scan.cu", "std::bit_width(bound), queue", "std::bit_width(bound) - 1, queue",
                    tests="SamplingConformance.Inverses*", says="FAILED")


if __name__ == "__main__":
    unittest.main()
