"""Training on GPUs against training on the CPU; on a real GPU, or under tests/gpu_on_cpu/gpu-on-cpu."""

import json
import os
import shutil
import unittest

import accuracy_test
import harness
import numpy as np

SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200"]
DROPOUT = ["--dropout", 0.5, "--input-dropout", 0.2]
HYBRID = ["--mode", "hybrid", "--group-size", 2]
P3 = ["--mode", "p3"]


class OnDevice(harness.Scratch):
    """Skipped where there is no GPU."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not json.loads(cls.must("doctor", "--json").stdout)["gpus"]:
            print("skipped: no GPU, and not under tests/gpu_on_cpu/gpu-on-cpu")
            raise unittest.SkipTest("no GPU")
        cls.dataset = cls.generate("graph", nodes=1200, degree=10)


class Runs(OnDevice):
    """Short ones."""

    def curve(self, *arguments, ranks=None):
        run_dir = self.train(self.dataset, "--eval-every", 0, "--max-steps", 10, *SMALL, *arguments, ranks=ranks)
        self.assertIn(arguments[arguments.index("--device") + 1], harness.events(run_dir, "run_start")[0]["device"])
        return harness.losses(run_dir)


class Curves(Runs):
    """Whole runs."""

    def test_agree_with_the_cpu(self):
        for model in ("sage", "gcn", "gin", "gat"):
            for extra in ([], DROPOUT, ["--norm", "layer", "--residual", "--optimizer", "sgd", "--clip-norm", 1]):
                flags = ["--model", model, *extra]
                cpu = self.curve("--device", "cpu", "--workers", 1, *flags)
                for workers in (1, 2):
                    cuda = self.curve("--device", "cuda", "--workers", workers, *flags)
                    np.testing.assert_allclose(cuda, cpu, rtol=1e-4, err_msg=f"{flags} {workers}")

    def test_of_attention_agree_with_the_cpu(self):
        for extra in (["--order", "transform"], ["--order", "aggregate"], ["--heads", 3, "--attn-dropout", 0.3, *DROPOUT]):
            flags = ["--model", "gat", *extra]
            cpu = self.curve("--device", "cpu", "--workers", 1, *flags)
            for workers in (1, 4):
                np.testing.assert_allclose(self.curve("--device", "cuda", "--workers", workers, *flags), cpu, rtol=1e-4,
                                           err_msg=f"{flags} {workers}")

    def test_in_bf16_agree_with_the_cpu(self):
        for model in ("sage", "gcn", "gin", "gat"):
            for extra in ([], ["--norm", "layer", "--residual", *DROPOUT]):
                flags = ["--model", model, "--precision", "bf16", "--route", "pull", "--workers", 2, *extra]
                cpu, cuda = (self.curve("--device", device, *flags) for device in ("cpu", "cuda"))
                # Both round each row once, so that they differ where sums in another order meet a boundary.
                np.testing.assert_allclose(cuda, cpu, rtol=2e-3, err_msg=f"{flags}")
        fp32 = self.curve("--device", "cuda", "--workers", 2, "--model", "gin", "--norm", "layer", "--residual", *DROPOUT)
        self.assertNotEqual(cuda, fp32)

    def test_agree_on_all_routes(self):
        for model in ("sage", "gcn", "gin"):
            for route in ("push", "mixed", "project") if model != "gin" else ("push", "mixed"):
                flags = ["--model", model, "--route", route, "--partition", "random", "--workers", 3, *DROPOUT]
                cpu, cuda = (self.curve("--device", device, *flags) for device in ("cpu", "cuda"))
                np.testing.assert_allclose(cuda, cpu, rtol=1e-4, err_msg=f"{flags}")

    def test_send_by_the_linear_cover_what_the_host_sends(self):
        flags = ["--route", "mixed", "--partition", "random", "--workers", 3, "--eval-every", 0, "--max-steps", 3, "--order", "aggregate", *SMALL]
        sent = {}
        for how in (("cpu", "linear", "auto"), ("cuda", "auto", "device"), ("cuda", "auto", "host"), ("cuda", "exact", "device")):
            device, cover, graph = how
            # Rows of which sums travel are not left in a GPU's cache.
            features = ["--gpu-features", "pinned", "--gpu-cache", 0.5] if device == "cuda" else []
            run_dir = self.train(self.dataset, *flags, "--device", device, "--cover", cover, "--gpu-graph", graph, *features)
            sent[how] = [(line["shuffle_bytes"], line["plan_bytes"], line["edges"]) for line in harness.events(run_dir, "step")]
        first, second, third, exact = sent.values()
        self.assertEqual(first, second)
        self.assertEqual(first, third)
        self.assertNotEqual(first, exact)

    def test_agree_in_data_parallelism(self):
        flags = ["--mode", "data", "--workers", 2, *DROPOUT]
        cpu, cuda = (self.curve("--device", device, *flags) for device in ("cpu", "cuda"))
        np.testing.assert_allclose(cuda, cpu, rtol=1e-4)

    def check_mode(self, mode, models, dropout):
        """Four GPUs in the mode: the losses of one worker on the CPU."""
        for model in models:
            flags = ["--model", model, "--max-steps", 3, *dropout]
            cpu = self.curve("--device", "cpu", "--workers", 1, *flags)
            cuda = self.curve("--device", "cuda", "--workers", 4, *mode, *flags)
            np.testing.assert_allclose(cuda, cpu, rtol=1e-5, err_msg=f"{mode} {model}")
        # Of the last of them.
        self.assertEqual(self.curve("--device", "cuda", *mode, *flags, ranks=4), cuda)

    def test_agree_in_groups(self):
        self.check_mode(HYBRID, ("sage", "gcn", "gin", "gat"), DROPOUT)

    def test_agree_in_columns(self):
        # Input dropout would have whole rows read.
        self.check_mode(P3, ("sage", "gcn", "gin"), DROPOUT[:2])

    def test_columns_agree_wherever_they_are(self):
        flags = [*P3, "--device", "cuda", "--workers", 3, "--max-steps", 2]
        for rest, places in ((["--hidden", 16, "--residual", "--norm", "layer"], [("device", "device"), ("host", "pinned"), ("device", "host")]),
                             (["--normalize-features", "row", *DROPOUT], [("device", "device"), ("host", "host")])):
            curves = [self.curve(*flags, *rest, "--gpu-graph", graph, "--gpu-features", features) for graph, features in places]
            self.assertEqual(curves, curves[:1] * len(places), rest)
            one = self.curve("--device", "cpu", "--workers", 1, "--max-steps", 2, *rest)
            np.testing.assert_allclose(curves[0], one, rtol=1e-5, err_msg=f"{rest}")

    def test_cached_rows_are_those_of_no_cache(self):
        for mode, cache in (("split", "replicate"), ("data", "partition")):
            flags = ["--device", "cuda", "--model", "gcn", "--mode", mode, "--workers", 2, "--order", "aggregate",
                     "--normalize-features", "row", *DROPOUT]
            self.assertEqual(self.curve(*flags, "--cache", cache, "--cache-budget", 0.4), self.curve(*flags), (mode, cache))

    def test_by_cusparse_agree_with_the_own_kernel(self):
        for model in ("sage", "gcn", "gin"):
            own, cusparse = (self.curve("--device", "cuda", "--workers", 2, "--model", model, *DROPOUT, "--spmm", spmm)
                             for spmm in ("own", "cusparse"))
            np.testing.assert_allclose(cusparse, own, rtol=1e-4, err_msg=model)
            if model == "sage":  # means, which the two round at different places
                self.assertNotEqual(cusparse, own)

    def test_by_tf32_are_near_those_of_fp32(self):
        fp32, tf32 = (np.array(self.curve("--device", "cuda", "--workers", 2, "--matmul", matmul)) for matmul in ("fp32", "tf32"))
        difference = np.abs(tf32 / fp32 - 1).max()
        self.assertGreater(difference, 1e-6)
        self.assertLess(difference, 1e-2)

    def test_are_the_same_bits_over_threads_and_processes(self):
        for flags in (["--model", "sage"], ["--model", "gcn"], ["--model", "gat"]):
            threads = self.curve("--device", "cuda", "--workers", 4, *flags, *DROPOUT)
            processes = self.curve("--device", "cuda", *flags, *DROPOUT, ranks=4)
            self.assertEqual(threads, processes, flags)


class Data(Runs):
    """Where the graph and the features are read from changes nothing."""

    PLACES = [("device", "device"), ("pinned", "pinned"), ("host", "device"), ("device", "host"), ("host", "host")]

    def test_places_change_no_bit(self):
        flags = ["--device", "cuda", "--workers", 2, "--normalize-features", "row", *DROPOUT]
        curves = {place: self.curve(*flags, "--gpu-graph", place[0], "--gpu-features", place[1]) for place in self.PLACES}
        curves["no room"] = self.curve(*flags, "--gpu-data", 0)
        for place, curve in curves.items():
            self.assertEqual(curve, curves["host", "host"], place)

    FEATURES = 16  # of generated graphs

    def steps(self, dataset, *flags):
        run_dir = self.train(dataset, "--eval-every", 0, "--max-steps", 6, *SMALL, "--device", "cuda", "--workers", 2,
                             "--gpu-features", "pinned", *flags)
        return harness.events(run_dir, "step")

    def check_cache(self, dataset, *flags, width=4):
        """A cache of any size finds the losses of none, and what it has does not cross the bus."""
        losses, hits = [], []
        for share in (0, 0.3, 1, "auto"):
            events = self.steps(dataset, "--gpu-cache", share, *flags)
            losses.append([event["loss"] for event in events])
            for event in events:
                self.assertEqual(event["rows_cache"] + event["rows_disk"], event["input_rows"])
                self.assertEqual(event["bus_bytes"], event["rows_disk"] * self.FEATURES * width)
            hits.append(sum(event["rows_cache"] for event in events) / sum(event["input_rows"] for event in events))
        self.assertEqual(losses, losses[:1] * len(losses), flags)
        self.assertEqual([hits[0], *hits[2:]], [0, 1, 1], flags)
        self.assertGreater(hits[1], 0.3, "the hottest rows are read more often than others")
        self.assertLess(hits[1], 1)

    def test_a_cache_changes_no_bit(self):
        # Its rows are read where they are, or copied: by what the model and the order need.
        for flags in (["--model", "sage"], ["--model", "gcn", "--gpu-graph", "host"], ["--model", "gin", "--prefetch", 0],
                      ["--model", "gat"], ["--model", "gin", "--hidden", self.FEATURES, "--residual"],
                      ["--model", "sage", "--mode", "data"], ["--model", "gcn", "--hidden", 8, "--order", "aggregate", "--wire", "bf16"],
                      ["--precision", "bf16"], DROPOUT + ["--normalize-features", "row"]):
            self.check_cache(self.dataset, *flags)
        narrow = self.generate("narrow", nodes=1200, degree=10, feature_dtype="bf16")
        for flags in (["--precision", "bf16", "--model", "gcn"], ["--precision", "fp32"]):
            self.check_cache(narrow, *flags, width=2)

    def test_a_row_of_columns_crosses_the_bus_once(self):
        for features, width in (("pinned", 4), ("device", 0)):
            for event in self.steps(self.dataset, *P3, "--max-steps", 2, "--gpu-features", features):
                self.assertEqual(event["bus_bytes"], event["input_rows"] * self.FEATURES * width)
                self.assertEqual(event["shuffle_layers"][0]["route"], "columns")

    def test_what_is_cached_is_hottest(self):
        """A worker that has the whole graph keeps what a host would."""
        flags = ["--eval-every", 0, "--max-steps", 6, *SMALL, "--workers", 1]
        host = self.train(self.dataset, *flags, "--device", "cpu", "--mode", "data", "--cache", "replicate", "--cache-budget", 0.3)
        for graph in ("device", "host"):
            gpu = self.train(self.dataset, *flags, "--device", "cuda", "--gpu-graph", graph, "--gpu-features", "pinned", "--gpu-cache", 0.3)
            self.assertEqual([event["rows_cache"] for event in harness.events(gpu, "step")],
                             [event["rows_cache"] for event in harness.events(host, "step")])

    def test_evaluation_draws_alike_wherever_it_draws(self):
        for fanout in ("full", "4,3"):
            for prefetch in (0, 1):
                scores = []
                for graph, features in (("host", "host"), ("device", "device"), ("pinned", "pinned"), ("device", "host")):
                    run_dir = self.train(self.dataset, *SMALL, "--epochs", 2, "--device", "cuda", "--workers", 2, "--model", "gcn",
                                         "--gpu-graph", graph, "--gpu-features", features, "--eval-fanout", fanout,
                                         "--prefetch", prefetch)
                    end = harness.events(run_dir, "run_end")[0]
                    scores.append([event["valid_acc"] for event in harness.events(run_dir, "epoch")] + [end["test_acc"]])
                self.assertEqual(scores, scores[:1] * len(scores), (fanout, prefetch))
                self.assertGreater(scores[0][-1], 0.15)

    def test_steps_prepared_ahead_change_no_bit(self):
        for flags in (["--gpu-graph", "device", "--gpu-features", "device"], ["--gpu-graph", "device", "--gpu-features", "host"],
                      ["--gpu-graph", "host", "--gpu-features", "host", "--model", "gat"],
                      ["--mode", "data", "--cache", "replicate", "--gpu-features", "host"]):
            curves = [self.curve("--device", "cuda", "--workers", 2, *flags, *DROPOUT, "--prefetch", steps) for steps in (0, 1, 3)]
            self.assertEqual(curves, curves[:1] * 3, flags)

    def test_memory_that_is_held_is_recorded(self):
        for device, steps in (("cpu", 0), ("cuda", 0), ("cuda", 1)):
            run_dir = self.train(self.dataset, "--eval-every", 0, "--max-steps", 4, *SMALL, "--device", device, "--workers", 2, "--prefetch", steps)
            held = [event["workers"]["device_bytes"] for event in harness.events(run_dir, "step")]
            parameters = harness.events(run_dir, "run_start")[0]["parameters"]
            for worker in range(2):
                sizes = [event[worker] for event in held]
                self.assertEqual(sizes, sorted(sizes))  # blocks are kept
                # Weights, gradients and two moments, at least.
                self.assertGreaterEqual(sizes[-1], 16 * parameters if device == "cuda" else 0)
                self.assertLess(sizes[-1], 1 << 30 if device == "cuda" else 1)

    def test_blocks_are_those_of_the_cpu(self):
        weighted = self.scratch / "weighted"
        shutil.copytree(self.dataset, weighted)
        harness.add_edge_weights(weighted, np.random.default_rng(2).uniform(0.1, 3, np.load(weighted / "edges.npy").shape[1]))
        for sampler in ("uniform", "labor", "weighted"):
            dumps = []
            for device in (["--device", "cpu", "--workers", 1], ["--device", "cuda", "--workers", 1],
                           ["--device", "cuda", "--workers", 3], ["--device", "cuda", "--workers", 2, "--gpu-graph", "pinned"]):
                self.train(weighted, "--eval-every", 0, "--max-steps", 3, *SMALL, "--sampler", sampler, *device,
                           "--dump-blocks", self.scratch / "blocks")
                dumps.append((self.scratch / "blocks").read_bytes())
            self.assertGreater(len(dumps[0]), 1000)
            self.assertEqual(dumps, dumps[:1] * len(dumps), sampler)


class Cora(OnDevice):
    """The known accuracy, on four GPUs; tests/e2e/accuracy_test.py has the same on the CPU."""

    def test_gcn(self):
        dataset = harness.real_data("cora")
        if dataset is None:
            print("skipped: cora is not at hand")
            self.skipTest("cora is not at hand (GSPLIT_TEST_DATA)")
        run_dir = self.train(dataset, *accuracy_test.FULL, *accuracy_test.GCN, "--device", "cuda", "--workers", 4,
                             "--eval-every", 5)
        accuracy = harness.events(run_dir, "run_end")[0]["test_acc"]
        print("cora gcn on 4 GPUs: test accuracy", accuracy)
        self.assertGreaterEqual(accuracy, 0.80)


class Refusals(OnDevice):
    """What cannot be on a GPU is said in one line, before anything is written."""

    def refused(self, *arguments, ranks=None):
        run_dir = self.scratch / "refused"
        done = self.gsplit("train", self.dataset, "--run-dir", run_dir, *SMALL, *arguments, ranks=ranks)
        self.assertEqual(done.returncode, 2, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("gsplit:")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertFalse(run_dir.exists())
        return lines[0]

    def test_name_the_reason(self):
        self.assertIn("fp64", self.refused("--device", "cuda", "--precision", "fp64"))
        self.assertRegex(self.refused("--device", "cuda", "--precision", "bf16", "--spmm", "cusparse"), "bf16 .*--spmm own")
        self.assertRegex(self.refused("--device", "cpu", "--spmm", "cusparse"), "--spmm cusparse .*--spmm own")
        self.assertRegex(self.refused("--precision", "fp64", "--spmm", "cusparse"), "--spmm cusparse .*fp64")
        self.assertRegex(self.refused("--device", "cpu", "--matmul", "tf32"), "--matmul tf32 .*--matmul fp32")
        self.assertRegex(self.refused("--precision", "fp64", "--matmul", "tf32"), "--matmul tf32 .*fp64")
        self.assertRegex(self.refused("--device", "cuda", "--workers", 64), "GPUs for 64 workers")
        self.assertIn("fp64", self.refused("--device", "cuda", "--precision", "fp64", ranks=2))
        self.assertRegex(self.refused("--device", "cuda", "--gpu-cache", "1.2"), "--gpu-cache has the value 1.2")
        self.assertRegex(self.refused("--device", "cuda", "--gpu-cache", "0.2", "--gpu-features", "device"), "--gpu-features device")
        self.assertRegex(self.refused("--device", "cuda", "--gpu-cache", "0.2", "--cache", "replicate"), "with --cache")
        self.assertRegex(self.refused("--device", "cuda", "--gpu-cache", "0.2", *P3), "with --mode p3")

    def test_auto_takes_the_cpu_then(self):
        for flags in (["--precision", "fp64"],):
            run_dir = self.train(self.dataset, *SMALL, "--max-steps", 1, "--eval-every", 0, "--workers", 1, *flags)
            self.assertIn("cpu", harness.events(run_dir, "run_start")[0]["device"])
            self.assertIn("device: cpu", (run_dir / "config.yaml").read_text(encoding="utf-8"))


class Deaths(OnDevice):
    """A rank that dies while the others wait for it on their GPUs: they end within the deadline, with one line that
    names it."""

    def test_are_named_by_the_survivors(self):
        deadline = 6
        for phase in ("exchange", "all-reduce", "compute"):
            for signal in ("KILL", "STOP"):
                os.environ["GSPLIT_FAULT"] = f"rank=1,phase={phase},step=3,signal={signal},after=0.5"
                try:
                    done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / f"dies-{phase}-{signal}",
                                       "--device", "cuda", "--eval-every", 0, "--deadline", deadline, *SMALL, ranks=3)
                finally:
                    del os.environ["GSPLIT_FAULT"]
                self.assertNotEqual(done.returncode, 0)
                lines = [line for line in done.stderr.splitlines() if line.startswith("gsplit:")]
                self.assertEqual(len(lines), 1, done.stderr)
                self.assertRegex(lines[0], rf"rank 1 on .* in {phase} at step 3")

    def test_one_that_lives_and_does_not_come_is_named(self):
        for rank, phase in ((1, "exchange"), (1, "all-reduce"), (2, "compute"), (0, "compute")):
            for workers in ({"ranks": 3}, {}):
                os.environ["GSPLIT_FAULT"] = f"rank={rank},phase={phase},step=3,signal=KILL,after=60"
                try:
                    done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / f"lives-{rank}-{phase}-{len(workers)}",
                                       "--device", "cuda", "--eval-every", 0, "--deadline", 3, "--order", "aggregate", *SMALL,
                                       *([] if workers else ["--workers", 3]), **workers)
                finally:
                    del os.environ["GSPLIT_FAULT"]
                self.assertNotEqual(done.returncode, 0)
                lines = [line for line in done.stderr.splitlines() if line.startswith("gsplit:")]
                self.assertEqual(len(lines), 1, done.stderr)
                self.assertRegex(lines[0], rf"rank {rank} on .* in {phase} at step 3: lost: .*did not take part in a collective")
                if phase == "exchange":  # elsewhere, or to choose an order, they may wait for each other on the host
                    self.assertIn("between GPUs", lines[0])


    def test_in_groups_are_named_by_all(self):
        for phase, after in (("exchange", 60), ("exchange", 0.5), ("all-reduce", 60))[:3 if os.environ.get("GSPLIT_FULL_TESTS") else 1]:
            os.environ["GSPLIT_FAULT"] = f"rank=3,phase={phase},step=2,signal=KILL,after={after}"
            try:
                done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / f"group-{phase}-{after}", "--device", "cuda",
                                   *HYBRID, "--eval-every", 0, "--deadline", 2, "--order", "aggregate", *SMALL, ranks=4)
            finally:
                del os.environ["GSPLIT_FAULT"]
            self.assertNotEqual(done.returncode, 0)
            lines = [line for line in done.stderr.splitlines() if line.startswith("gsplit:")]
            self.assertEqual(len(lines), 1, done.stderr)
            self.assertRegex(lines[0], rf"rank 3 on .* in {phase} at step 2")
            if after == 60:  # those of its group wait on their GPUs, the others may do so on the host
                self.assertIn("did not take part in a collective", lines[0])


class Resume(OnDevice):
    """A run that was checkpointed on GPUs goes on there to the same bits, and on the CPU within rounding."""

    def test_on_both_devices(self):
        flags = ["--eval-every", 0, *SMALL, *DROPOUT, "--workers", 2, "--checkpoint-every-steps", 4]
        whole = self.train(self.dataset, "--device", "cuda", "--max-steps", 8, *flags)
        for device, tolerance in (("cuda", 0), ("cpu", 1e-4)):
            part = self.train(self.dataset, "--device", "cuda", "--max-steps", 4, *flags)
            self.must("train", self.dataset, "--run-dir", part, "--resume", "--device", device, "--max-steps", 8, *flags)
            np.testing.assert_allclose(harness.losses(part), harness.losses(whole), rtol=tolerance)

    def check_mode(self, mode):
        """Checkpoints and scores of a mode, on four GPUs, are those of the CPU within rounding."""
        flags = [*SMALL, "--epochs", 2, "--checkpoint-every-steps", 2, "--workers", 4, *mode]
        runs = {device: self.train(self.dataset, "--device", device, *flags) for device in ("cpu", "cuda")}
        steps = len(harness.losses(runs["cpu"]))
        part = self.train(self.dataset, "--device", "cuda", *flags, "--max-steps", steps - 1)
        self.must("train", self.dataset, "--run-dir", part, "--resume", "--device", "cuda", *flags, "--max-steps", steps)
        self.assertEqual(harness.losses(part), harness.losses(runs["cuda"]))
        ends = [harness.events(run, "run_end")[0] for run in (runs["cpu"], runs["cuda"], part)]
        for name in ("test_acc", "best_valid_acc"):
            np.testing.assert_allclose([end[name] for end in ends], ends[0][name], atol=0.02, err_msg=f"{mode} {name}")

    def test_in_groups(self):
        self.check_mode(HYBRID)

    def test_in_columns(self):
        self.check_mode(P3)

    def test_refuses_other_arithmetic(self):
        flags = [*SMALL, "--eval-every", 0, "--workers", 1, "--device", "cuda", "--checkpoint-every-steps", 2]
        part = self.train(self.dataset, *flags, "--max-steps", 2, "--matmul", "tf32")
        self.assertIn("matmul: tf32", (part / "config.yaml").read_text(encoding="utf-8"))
        done = self.gsplit("train", self.dataset, "--run-dir", part, "--resume", *flags, "--max-steps", 4, "--matmul", "fp32")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("matmul", done.stderr)
        self.must("train", self.dataset, "--run-dir", part, "--resume", *flags, "--max-steps", 4)
        self.assertEqual(len(harness.losses(part)), 4)


if __name__ == "__main__":
    unittest.main()
