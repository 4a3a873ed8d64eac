"""Promise 1: any number of workers, any partition, any transport: one answer."""

import unittest

import harness

SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200"]
MODELS = ("sage", "gcn", "gat", "gin")
PARTITIONS = ("metis", "random", "range")
DROPOUT = ["--dropout", 0.5, "--attn-dropout", 0.3, "--input-dropout", 0.2]


class Blocks(harness.Scratch):
    """The sampled blocks are the same file."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def dump(self, *arguments, ranks=None):
        path = self.scratch / "blocks"
        path.unlink(missing_ok=True)
        self.train(self.dataset, "--max-steps", 3, "--eval-every", 0, *SMALL, "--dump-blocks", path, *arguments,
                   ranks=ranks)
        return path.read_bytes()

    def test_are_equal_for_any_workers_partition_and_transport(self):
        reference = self.dump("--workers", 1)
        self.assertGreater(reference.count(b"\n"), 600)
        for workers in (2, 3, 4, 8):
            for method in ("metis", "stream", "random", "range"):
                self.assertEqual(self.dump("--workers", workers, "--partition", method), reference, (workers, method))
        for ranks in (1, 2, 4):
            self.assertEqual(self.dump(ranks=ranks), reference, ranks)

    def test_are_equal_in_data_parallelism(self):
        reference = self.dump("--workers", 1)
        for workers in (1, 2, 4):
            self.assertEqual(self.dump("--mode", "data", "--workers", workers), reference, workers)
        self.assertEqual(self.dump("--mode", "data", ranks=3), reference)

    def test_are_equal_for_labor(self):
        reference = self.dump("--workers", 1, "--sampler", "labor")
        self.assertNotEqual(reference, self.dump("--workers", 1))
        for workers, method in ((2, "metis"), (3, "random"), (4, "stream")):
            self.assertEqual(self.dump("--sampler", "labor", "--workers", workers, "--partition", method), reference, workers)
        self.assertEqual(self.dump("--sampler", "labor", "--workers", 3, "--mode", "data"), reference)
        for ranks in (1, 4):
            self.assertEqual(self.dump("--sampler", "labor", ranks=ranks), reference, ranks)

    def test_depend_on_the_seed(self):
        self.assertNotEqual(self.dump("--seed", 1), self.dump("--seed", 2))

    def test_are_canonical(self):
        rows = [list(map(int, line.split())) for line in self.dump("--workers", 3).splitlines()]
        self.assertEqual(rows, sorted(rows, key=lambda row: row[:3]))
        for row in rows:
            self.assertEqual(row[3:], sorted(row[3:]))
            self.assertLessEqual(len(row) - 3, 4 if row[1] == 2 else 3)


class Curves(harness.Scratch):
    """Loss curves agree over workers, partitions and transports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def curve(self, *arguments, ranks=None):
        return harness.losses(self.train(self.dataset, "--eval-every", 0, *SMALL, *arguments, ranks=ranks))

    def assert_agree(self, curve, reference, what):
        for step, (ours, theirs) in enumerate(zip(curve, reference, strict=True), 1):
            self.assertLess(abs(ours - theirs), 1e-9, (*what, f"step {step}"))

    def test_any_order_of_operations_agrees(self):
        for model in ("sage", "gcn", "gat"):
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            for order in ("aggregate", "transform"):
                for workers in (1, 3):
                    curve = self.curve("--workers", workers, "--order", order, *fixed)
                    self.assert_agree(curve, reference, (model, order, workers))

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        for model in MODELS:
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            self.assertEqual(len(reference), 50)
            self.assertLess(min(reference[-5:]), reference[0])
            self.assert_agree(self.curve(*fixed, ranks=1), reference, (model, "1 process"))
            for workers in (2, 4):
                for method in PARTITIONS:
                    rest, what = ["--partition", method, *fixed], (model, method, workers)
                    self.assert_agree(self.curve("--workers", workers, *rest), reference, (*what, "threads"))
                    self.assert_agree(self.curve(*rest, ranks=workers), reference, (*what, "processes"))

    def test_fp64_agrees_for_8_workers(self):
        fixed = ["--model", "gat", "--precision", "fp64", "--max-steps", 50, *DROPOUT]
        reference = self.curve("--workers", 1, *fixed)
        for method in PARTITIONS:
            curve = self.curve("--workers", 8, "--partition", method, *fixed)
            self.assert_agree(curve, reference, (method, "8 threads"))
        self.assert_agree(self.curve(*fixed, ranks=8), reference, ("8 processes",))

    def test_every_dropout_counts(self):
        fixed = ["--model", "gat", "--precision", "fp64", "--max-steps", 2, "--workers", 2]
        kinds = [DROPOUT[i : i + 2] for i in range(0, len(DROPOUT), 2)]
        self.assertEqual([name for name, _ in kinds], ["--dropout", "--attn-dropout", "--input-dropout"])
        everything = self.curve(*fixed, *DROPOUT)
        for name, _ in kinds:
            self.assertNotEqual(self.curve(*fixed, *DROPOUT, name, 0), everything, name)

    def test_fp64_agrees_for_every_model_with_all_its_parts(self):
        for model in MODELS:
            fixed = ["--precision", "fp64", "--max-steps", 50, "--model", model, *DROPOUT,
                     "--norm", "layer", "--residual", "--hidden", 16, "--fanout", "4,3,3"]
            reference = self.curve("--workers", 1, *fixed)
            curve = self.curve("--workers", 4, "--partition", "random", *fixed)
            self.assert_agree(curve, reference, (model, "4 threads"))
            self.assert_agree(self.curve(*fixed, ranks=3), reference, (model, "3 processes"))

    def test_fp64_agrees_for_labor(self):
        for model in ("gcn", "gat"):
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, "--sampler", "labor", *DROPOUT]
            reference = self.curve("--workers", 1, *fixed)
            self.assert_agree(self.curve("--workers", 3, "--partition", "random", *fixed), reference, (model, "3 threads"))
            self.assert_agree(self.curve("--workers", 2, "--mode", "data", *fixed), reference, (model, "data"))

    def test_fp64_agrees_in_data_parallelism(self):
        for model in MODELS:
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT, "--class-weights", "balanced",
                     "--normalize-features", "row"]
            reference = self.curve("--workers", 1, *fixed)
            self.assert_agree(self.curve("--workers", 2, *fixed), reference, (model, "split, 2 threads"))
            for workers in (1, 2, 4):
                curve = self.curve("--mode", "data", "--workers", workers, *fixed)
                self.assert_agree(curve, reference, (model, "data", f"{workers} threads"))
            self.assert_agree(self.curve("--mode", "data", *fixed, ranks=3), reference, (model, "data, 3 processes"))

    def test_fp32_agrees_to_1e_4_over_10_steps(self):
        reference = self.curve("--workers", 1, "--max-steps", 10)
        for workers in (2, 4):
            for ours, theirs in zip(self.curve("--workers", workers, "--max-steps", 10), reference, strict=True):
                self.assertLess(abs(ours - theirs), 1e-4)


class DataParallelism(harness.Scratch):
    """What --mode data counts and scores beside split parallelism."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def test_events_and_accuracies(self):
        fixed = ["--precision", "fp64", "--epochs", 2, *SMALL]

        def run(*arguments):
            return self.train(self.dataset, *fixed, *arguments)

        for evaluation in ("full", "4,3"):
            split = run("--workers", 4, "--eval-fanout", evaluation)
            data = run("--workers", 4, "--eval-fanout", evaluation, "--mode", "data")
            self.assertIn("mode: data\n", (data / "config.yaml").read_text(encoding="utf-8"))
            for ours, theirs in zip(harness.events(data, "step"), harness.events(split, "step"), strict=True):
                self.assertEqual(ours["seeds"], theirs["seeds"])
                self.assertEqual((ours["shuffle_bytes"], ours["shuffle_bytes_pull"], ours["plan_bytes"]), (0, 0, 0))
                self.assertGreater(ours["allreduce_bytes"], 0)
                self.assertGreater(ours["edges"], theirs["edges"])
                self.assertGreater(ours["input_rows"], theirs["input_rows"])
            for ours, theirs in zip(harness.events(data, "epoch"), harness.events(split, "epoch"), strict=True):
                self.assertEqual([ours[name] for name in ("train_acc", "valid_acc")],
                                 [theirs[name] for name in ("train_acc", "valid_acc")], evaluation)
            self.assertEqual(harness.events(data, "run_end")[0]["test_acc"], harness.events(split, "run_end")[0]["test_acc"])

    def test_evaluation_of_several_pieces_is_shared(self):
        # More nodes than one worker computes at a time: they take turns, and the last round is not full.
        dataset = self.generate("wide", nodes=80000, degree=3, features=4, classes=3)
        fixed = ["--precision", "fp64", "--epochs", 1, "--fanout", "2,2", "--hidden", 4, "--batch-size", 4000]
        for evaluation in ("full", "2,2"):
            split, data = (harness.events(self.train(dataset, *fixed, "--workers", 2, "--eval-fanout", evaluation,
                                                     "--mode", mode), "run_end")[0] for mode in ("split", "data"))
            for name in ("best_valid_acc", "test_acc"):
                self.assertEqual(data[name], split[name], (evaluation, name))

    def test_one_worker_counts_as_in_split_parallelism(self):
        for ours, theirs in zip(*(harness.events(self.train(self.dataset, "--max-steps", 5, *SMALL, "--workers", 1, "--mode", mode),
                                                 "step") for mode in ("data", "split")), strict=True):
            for field in ("loss", "edges", "input_rows"):
                self.assertEqual(ours[field], theirs[field])

    def test_only_a_partition_of_one_part_serves(self):
        for parts in (1, 2):
            self.must("partition", self.dataset, "--parts", parts, "--out", self.scratch / f"parts-{parts}")
        arguments = ["--max-steps", 2, *SMALL, "--workers", 2, "--mode", "data", "--partition"]
        self.train(self.dataset, *arguments, self.scratch / "parts-1")
        done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *arguments, self.scratch / "parts-2")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--mode data every worker needs the whole graph", done.stderr)

    def test_dry_run_names_the_mode(self):
        said = self.must("train", self.dataset, "--run-dir", self.scratch / "dry", *SMALL, "--workers", 2,
                         "--mode", "data", "--dry-run").stdout
        self.assertIn("mode data, 2 workers", said)
        self.assertIn("expected shuffle: none", said)


class Wire(harness.Scratch):
    """--wire bf16 rounds what travels and nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def run_with(self, wire, *arguments, ranks=None):
        return self.train(self.dataset, *SMALL, "--route", "pull", "--wire", wire, *arguments, ranks=ranks)

    def test_halves_what_is_sent_and_stays_near(self):
        for model in MODELS:
            fixed = ["--model", model, "--max-steps", 10, "--eval-every", 0]
            for ranks in (None, 3):
                workers = [] if ranks else ["--workers", 3]
                exact, rounded = (self.run_with(wire, *fixed, *workers, ranks=ranks) for wire in ("fp32", "bf16"))
                self.assertIn("wire: bf16\n", (rounded / "config.yaml").read_text(encoding="utf-8"))
                for ours, theirs in zip(harness.events(rounded, "step"), harness.events(exact, "step"), strict=True):
                    self.assertGreater(theirs["shuffle_bytes"], 0)
                    self.assertEqual(theirs["shuffle_bytes"], theirs["shuffle_bytes_pull"])
                    self.assertEqual(2 * ours["shuffle_bytes"], theirs["shuffle_bytes"])
                    for field in ("shuffle_bytes_pull", "edges", "input_rows", "allreduce_bytes"):
                        self.assertEqual(ours[field], theirs[field], field)
                    self.assertNotEqual(ours["loss"], theirs["loss"])
                    self.assertAlmostEqual(ours["loss"], theirs["loss"], delta=0.02)

    def test_changes_nothing_where_nothing_travels(self):
        for arguments in (["--workers", 1], ["--workers", 2, "--mode", "data"]):
            curves = [harness.losses(self.run_with(wire, "--epochs", 2, *arguments)) for wire in ("fp32", "bf16")]
            self.assertEqual(*curves)

    def test_evaluation_is_exact(self):
        # Weights stay as they are. Among many nodes some stand between two classes: rounding would turn them over.
        dataset = self.generate("many", nodes=20000, degree=10, features=16, classes=20)
        fixed = ["--fanout", "4,3", "--hidden", 8]
        for epochs in (3, 10):
            weights = self.train(dataset, *fixed, "--batch-size", 100, "--epochs", epochs, "--eval-every", 0, "--lr", 0.01,
                                 "--workers", 1)
            for evaluation in ("full", "4,3"):
                scores = []
                for wire in ("fp32", "bf16"):
                    run_dir = self.train(dataset, *fixed, "--init-from", weights, "--lr", 0, "--max-steps", 1, "--workers", 4,
                                         "--partition", "random", "--eval-fanout", evaluation, "--wire", wire)
                    end = harness.events(run_dir, "run_end")[0]
                    scores.append((end["best_valid_acc"], end["test_acc"]))
                with self.subTest(evaluation=evaluation, epochs=epochs):
                    self.assertEqual(*scores)

    def test_bits_do_not_depend_on_threads_and_transport(self):
        reference = harness.losses(self.run_with("bf16", "--max-steps", 10, "--workers", 3, "--threads", 1))
        self.assertEqual(harness.losses(self.run_with("bf16", "--max-steps", 10, "--workers", 3, "--threads", 4)), reference)
        self.assertEqual(harness.losses(self.run_with("bf16", "--max-steps", 10, ranks=3)), reference)


class Precision(harness.Scratch):
    """--precision bf16 rounds the rows of training steps and nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def run_in(self, precision, *arguments, ranks=None):
        # Routes are chosen by bytes, so another precision may choose others.
        return self.train(self.dataset, *SMALL, "--precision", precision, "--route", "pull", *arguments, ranks=ranks)

    def test_halves_what_is_sent_and_stays_near(self):
        for model in MODELS:
            fixed = ["--model", model, "--max-steps", 10, "--eval-every", 0, "--workers", 3, *DROPOUT]
            exact, rounded = (self.run_in(precision, *fixed) for precision in ("fp32", "bf16"))
            self.assertIn("precision: bf16\n", (rounded / "config.yaml").read_text(encoding="utf-8"))
            for ours, theirs in zip(harness.events(rounded, "step"), harness.events(exact, "step"), strict=True):
                self.assertEqual(2 * ours["shuffle_bytes"], theirs["shuffle_bytes"])
                for field in ("shuffle_bytes_pull", "edges", "input_rows", "allreduce_bytes"):
                    self.assertEqual(ours[field], theirs[field], field)
                self.assertNotEqual(ours["loss"], theirs["loss"])
                self.assertAlmostEqual(ours["loss"], theirs["loss"], delta=0.02 * theirs["loss"])

    def test_every_part_of_a_model_takes_it(self):
        for model in MODELS:
            for order in ("aggregate", "transform"):
                fixed = ["--model", model, "--order", order, "--max-steps", 5, "--workers", 2, "--norm", "layer", "--residual",
                         "--normalize-features", "row", "--input-dropout", 0.1, "--clip-norm", 1]
                exact, rounded = (harness.losses(self.run_in(precision, *fixed)) for precision in ("fp32", "bf16"))
                for ours, theirs in zip(rounded, exact, strict=True):
                    self.assertAlmostEqual(ours, theirs, delta=0.03 * theirs)

    def test_evaluation_is_that_of_fp32(self):
        weights = self.run_in("bf16", "--epochs", 1)
        stored = (weights / "checkpoints" / "final" / "model.safetensors").read_bytes()
        self.assertNotIn(b'"BF16"', stored)
        scores = []
        for precision in ("fp32", "bf16"):
            run_dir = self.run_in(precision, "--init-from", weights, "--lr", 0, "--max-steps", 1, "--workers", 2)
            end = harness.events(run_dir, "run_end")[0]
            scores.append((end["best_valid_acc"], end["test_acc"]))
            self.assertIn("memory", self.must("train", self.dataset, "--run-dir", self.scratch / f"dry-{precision}", *SMALL,
                                              "--precision", precision, "--workers", 2, "--dry-run").stdout)
        self.assertEqual(*scores)

    def test_bits_do_not_depend_on_threads_and_transport(self):
        fixed = ["--max-steps", 10, *DROPOUT]
        for model in MODELS:
            reference = harness.losses(self.run_in("bf16", "--model", model, *fixed, "--workers", 3, "--threads", 1))
            for arguments, ranks in ((["--workers", 3, "--threads", 4], None), ([], 3)):
                curve = harness.losses(self.run_in("bf16", "--model", model, *fixed, *arguments, ranks=ranks))
                self.assertEqual(curve, reference)


class Routes(harness.Scratch):
    """--route changes what travels, not the answer."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph")

    def run_with(self, route, *arguments, ranks=None):
        return self.train(self.dataset, "--eval-every", 0, *SMALL, "--partition", "random", "--route", route, *arguments,
                          ranks=ranks)

    def test_fp64_agrees_to_1e_9_over_50_steps(self):
        for model, routes in (("sage", ("auto", "push", "project", "mixed")), ("gcn", ("push", "project", "mixed")),
                              ("gin", ("auto", "push", "mixed")), ("gat", ("auto", "project"))):
            fixed = ["--model", model, "--precision", "fp64", "--max-steps", 50, *DROPOUT]
            reference = harness.losses(self.run_with("pull", "--workers", 1, *fixed))
            for route in routes:
                curve = harness.losses(self.run_with(route, "--workers", 3, *fixed))
                for step, (ours, theirs) in enumerate(zip(curve, reference, strict=True), 1):
                    self.assertLess(abs(ours - theirs), 1e-9, (model, route, step))

    def test_sums_of_transformed_rows_agree(self):
        fixed = ["--precision", "fp64", "--max-steps", 20, "--order", "transform", *DROPOUT]
        reference = harness.losses(self.run_with("pull", "--workers", 1, *fixed))
        for route in ("push", "mixed"):
            curve = harness.losses(self.run_with(route, "--workers", 4, *fixed))
            for ours, theirs in zip(curve, reference, strict=True):
                self.assertLess(abs(ours - theirs), 1e-9, route)

    def test_bits_do_not_depend_on_threads_and_transport(self):
        fixed = ["--max-steps", 5, "--wire", "bf16"]
        for route in ("push", "mixed"):
            reference = harness.losses(self.run_with(route, *fixed, "--workers", 3, "--threads", 1))
            self.assertEqual(harness.losses(self.run_with(route, *fixed, "--workers", 3, "--threads", 4)), reference)
            self.assertEqual(harness.losses(self.run_with(route, *fixed, ranks=3)), reference)

    def test_mixed_sends_least(self):
        sent = {}
        for route in ("pull", "push", "mixed", "auto"):
            run_dir = self.run_with(route, "--workers", 4, "--max-steps", 3)
            self.assertIn(f"route: {route}\n", (run_dir / "config.yaml").read_text(encoding="utf-8"))
            sent[route] = harness.events(run_dir, "step")
        for pull, push, mixed, auto in zip(*sent.values(), strict=True):
            self.assertEqual(pull["shuffle_bytes"], pull["shuffle_bytes_pull"])
            for other in (push, mixed, auto):
                self.assertEqual((other["shuffle_bytes_pull"], other["edges"]), (pull["shuffle_bytes"], pull["edges"]))
            self.assertLess(mixed["shuffle_bytes"], min(pull["shuffle_bytes"], push["shuffle_bytes"]))
            self.assertLess(pull["plan_bytes"], mixed["plan_bytes"])
            whole = [line["shuffle_bytes"] + line["plan_bytes"] for line in (pull, push, mixed, auto)]
            self.assertLess(whole[3], whole[0])

    def test_the_linear_cover_serves_as_the_exact_one_does(self):
        fixed = ["--model", "gcn", "--precision", "fp64", "--max-steps", 20, *DROPOUT]
        reference = harness.losses(self.run_with("pull", "--workers", 1, *fixed))
        runs = [self.run_with("mixed", "--cover", "linear", *fixed, *how, ranks=ranks)
                for how, ranks in ((["--workers", 4, "--threads", 1], None), (["--workers", 4, "--threads", 3], None), ([], 4))]
        for run_dir in runs:
            self.assertIn("cover: linear\n", (run_dir / "config.yaml").read_text(encoding="utf-8"))
            self.assertEqual(harness.losses(run_dir), harness.losses(runs[0]))
        for ours, theirs in zip(harness.losses(runs[0]), reference, strict=True):
            self.assertLess(abs(ours - theirs), 1e-9)
        exact = self.run_with("mixed", "--cover", "exact", *fixed, "--workers", 4)
        push = self.run_with("push", *fixed, "--workers", 4)
        sent = [[line["shuffle_bytes"] for line in harness.events(run_dir, "step")] for run_dir in (exact, runs[0], push)]
        for least, linear, pushed in zip(*sent, strict=True):
            self.assertLessEqual(least, linear)
            self.assertLess(linear, pushed)
        # As many rows on this graph, but others.
        self.assertNotEqual(harness.losses(exact), harness.losses(runs[0]))

    def test_the_dumped_blocks_are_equal(self):
        dumps = set()
        for route in ("pull", "push", "mixed"):
            self.run_with(route, "--workers", 3, "--max-steps", 2, "--dump-blocks", self.scratch / route)
            dumps.add((self.scratch / route).read_bytes())
        self.assertEqual(len(dumps), 1)

    def test_refuses_what_a_model_cannot_do(self):
        for arguments in (["--model", "gat", "--route", "push"], ["--model", "gat", "--route", "mixed"],
                          ["--model", "gin", "--route", "project"], ["--route", "project", "--order", "aggregate"]):
            done = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn("--route " + arguments[arguments.index("--route") + 1], done.stderr)
            self.assertFalse((self.scratch / "refused").exists())


class Bits(harness.Scratch):
    """The same number of workers gives the same bits, whatever the threads and the transport."""

    def test_weights_are_byte_equal(self):
        dataset = self.generate("graph")

        def weights(*arguments, ranks=None):
            run_dir = self.train(dataset, "--epochs", 2, *SMALL, *arguments, ranks=ranks)
            return (run_dir / "checkpoints" / "final" / "model.safetensors").read_bytes()

        for workers in (1, 3):
            reference = weights("--workers", workers, "--threads", 1)
            self.assertEqual(weights("--workers", workers, "--threads", 1), reference)
            for threads in (2, 5):
                self.assertEqual(weights("--workers", workers, "--threads", threads), reference, threads)
            self.assertEqual(weights(ranks=workers), reference)


if __name__ == "__main__":
    unittest.main()
