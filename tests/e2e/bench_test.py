"""gsplit bench: counts against those that training reports, and the floor of a step."""

import json
import shutil
import unittest

import numpy as np

import harness

SHAPE = ["--fanout", "6,5,4", "--batch-size", 100, "--hidden", 32]


class Volumes(harness.Scratch):
    """A graph of 10 steps an epoch."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dataset = cls.generate("graph", nodes=10000, degree=15)

    def count(self, *arguments):
        lines = self.must("bench", self.dataset, "--volumes", "--json", "--fanout", "6,5,4", "--hidden", 32, *arguments).stdout
        return {(line["mode"], line["workers"], line["batch_size"]): line for line in map(json.loads, lines.splitlines())}

    def trained(self, mode):
        """Means over the steps of two epochs."""
        groups = ["--group-size", 2] if mode == "hybrid" else []
        run_dir = self.train(self.dataset, *SHAPE, "--mode", mode, *groups, "--workers", 4, "--partition", "random", "--order", "aggregate", "--route", "pull", "--epochs", 2,
                             "--eval-every", 0)
        steps = harness.events(run_dir, "step")
        return {key: sum(step[key] for step in steps) / len(steps) for key in ("edges", "input_rows", "shuffle_bytes")}

    def test_counts_are_those_of_training(self):
        counted = self.count("--workers", 4, "--batch-size", 100, "--partition", "random", "--group-size", 2)
        for mode in ("split", "data", "p3", "hybrid"):
            with self.subTest(mode=mode):
                trained, line = self.trained(mode), counted[mode, 4, 100]
                # Presampled steps draw other samples than training's: their means differ by a few per mille.
                self.assertAlmostEqual(line["edges"] / trained["edges"], 1, delta=0.02)
                self.assertAlmostEqual(line["input_rows"] / trained["input_rows"], 1, delta=0.02)
                if mode != "data":
                    self.assertAlmostEqual(line["pull_bytes"] / trained["shuffle_bytes"], 1, delta=0.03)

    def test_modes_are_ordered(self):
        counted = self.count("--workers", "1,2,4", "--batch-size", "50,200", "--partition", "metis", "--group-size", 2)
        for batch in (50, 200):
            one = counted["data", 1, batch]
            self.assertEqual((one["pull_bytes"], one["load_max_avg"]["edges"]), (0, 1))
            for workers in (2, 4):
                split, data, p3 = (counted[mode, workers, batch] for mode in ("split", "data", "p3"))
                # Each node once, whatever the number of workers.
                self.assertEqual([split[key] for key in ("edges", "input_rows", "gflop")],
                                 [one[key] for key in ("edges", "input_rows", "gflop")])
                self.assertGreater(data["input_rows"], split["input_rows"])
                self.assertGreater(data["cached_rows"], 0)
                self.assertEqual((p3["input_rows"], p3["load_max_avg"]["input_rows"]), (data["input_rows"], 1))
                self.assertGreater(split["pull_rows"], 0)
            between = counted["hybrid", 4, batch]["input_rows"]
            self.assertLess(counted["split", 4, batch]["input_rows"], between)
            self.assertLess(between, counted["data", 4, batch]["input_rows"])

    def trained_in_one_class(self):
        """The graph with the training nodes of one class alone."""
        dataset = self.scratch / "one_class"
        shutil.copytree(self.dataset, dataset)
        seeds, labels = np.load(dataset / "train_seeds.npy"), np.load(dataset / "train_labels.npy")
        chosen = labels == np.bincount(labels).argmax()
        np.save(dataset / "train_seeds.npy", seeds[chosen])
        np.save(dataset / "train_labels.npy", labels[chosen])
        return dataset

    def test_samples_balance_what_the_graph_alone_does_not(self):
        """Where training uses one region of the graph, parts of equal size do unequal work."""
        lines = self.must("bench", self.trained_in_one_class(), "--volumes", "--json", "--fanout", "6,4", "--workers", "2,4", "--batch-size", 200, "--group-size", 2,
                          "--partition", "metis,stream,random", "--partition-weights", "samples,plain,edges,labor").stdout
        counted = {(line["mode"], line["partition"], line["workers"]): line for line in map(json.loads, lines.splitlines())}
        weighed = [f"{method}{weights}" for method in ("metis", "stream") for weights in ("", " plain", " edges", " labor")]
        self.assertEqual({key[1] for key in counted}, {"-", "random", *weighed})
        self.assertEqual({key[1] for key in counted if key[0] == "hybrid"}, {"random", *weighed})
        for workers in (2, 4):
            for method in ("metis", "stream"):
                with self.subTest(workers=workers, method=method):
                    samples, plain, edges, labor = (counted["split", method + weights, workers] for weights in ("", " plain", " edges", " labor"))
                    # Each node once, whoever owns it.
                    self.assertEqual({line["edges"] for line in (samples, plain, edges, labor)}, {counted["split", "random", workers]["edges"]})
                    for line in (samples, labor):
                        self.assertLess(line["load_max_avg"]["edges"], 1.25)
                    for line in (plain, edges):
                        self.assertGreater(line["load_max_avg"]["edges"], 1.4)

    def test_floor_adds_up(self):
        floors = {}
        for model in ("sage", "gcn", "gat", "gin"):
            found = json.loads(self.must("bench", self.dataset, "--floor", "--json", "--model", model, *SHAPE, "--threads", 1).stdout)
            counts, rates, floor = found["counts"], found["rates"], found["floor_s"]
            self.assertEqual(floor["total"], sum(floor[part] for part in ("sample", "load", "dense", "rows")))
            self.assertAlmostEqual(floor["dense"], counts["dense_flops"] / rates["gemm_flops"])
            self.assertEqual(counts["gathered_bytes"], counts["input_rows"] * 16 * 4)
            self.assertTrue(all(rate > 0 for rate in rates.values()))
            floors[model] = counts
        self.assertLess(floors["gcn"]["dense_flops"], floors["sage"]["dense_flops"])
        # The input layer of width 16 sums first; where the last one narrows to 5 classes, products may come first.
        counted = self.count("--workers", 1, "--batch-size", 100)["data", 1, 100]
        self.assertLessEqual(floors["sage"]["dense_flops"], 1e9 * counted["gflop"])

    def test_projections_follow_from_the_counts(self):
        shape = [*SHAPE, "--workers", 4, "--batch-size", 100, "--partition", "random", "--cache-budget", 0.5]
        rates = harness.SOURCE / "bench" / "rates" / "v100_nvlink.yaml"
        counts, projections = ([json.loads(line) for line in self.must("bench", self.dataset, *what, "--json", *shape).stdout.splitlines()]
                               for what in (["--volumes"], ["--project", rates]))
        projected = {(line["mode"], line["cache"]): line for line in projections}
        self.assertEqual(set(projected), {("data", False), ("data", True), ("p3", False), ("split", False)})
        for count in counts:
            line = projected[count["mode"], False]
            self.assertAlmostEqual(line["sample_s"], count["edges"] * count["load_max_avg"]["edges"] / 4 / 4e8)
            self.assertAlmostEqual(line["load_s"], count["input_rows"] * 16 * 4 * count["load_max_avg"]["input_rows"] / 4 / 5e9)
            self.assertEqual(line["shuffle_s"] > 0, count["pull_bytes"] > 0)
            parts = [line[part] for part in ("sample_s", "load_s", "compute_s", "shuffle_s", "gradients_s")]
            self.assertAlmostEqual(line["step_s"], sum(parts) + 4e-3)
        self.assertLess(projected["data", True]["load_s"], projected["data", False]["load_s"])
        absent = self.gsplit("bench", self.dataset, "--project", self.scratch / "absent.yaml")
        self.assertEqual(absent.returncode, 2)
        self.assertIn("absent.yaml", absent.stderr)

    def test_wrong_use_is_refused(self):
        for arguments, what in ((["--workers", 65], "--workers has the value 65"), ([], "give --volumes, --floor or --project"),
                                (["--partition", "best"], "--method best is unknown"),
                                (["--partition-weights", "plain,heavy"], "--partition-weights heavy is unknown"),
                                (["--partition-weights", "weighted"], "--sampler weighted needs edge weights")):
            with self.subTest(arguments=arguments):
                flags = ["--volumes"] if arguments else []
                refused = self.gsplit("bench", self.dataset, *flags, *arguments)
                self.assertEqual(refused.returncode, 2)
                self.assertIn(what, refused.stderr)


if __name__ == "__main__":
    unittest.main()
