"""Bad input: exit code 2, one line on stderr that names the file or flag, nothing left behind."""

import os
import pathlib
import shutil
import subprocess
import unittest

import harness
import numpy as np


class BadInput(harness.Scratch):
    """Each test breaks one thing."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cls.generate("good", nodes=500, degree=8, features=6, classes=3)

    def setUp(self):
        self.dataset = self.scratch / "dataset"
        shutil.rmtree(self.dataset, ignore_errors=True)
        shutil.copytree(self.good, self.dataset)
        self.run_dir = self.scratch / "run"

    def files(self):
        """Everything in the scratch directory outside the dataset, but for lock files."""
        return {path for path in self.scratch.rglob("*")
                if path.is_file() and self.dataset not in path.parents and path.suffix != ".lock"}

    def refused(self, *expected, arguments=(), ranks=None, command=None):
        """Training is refused with one line that holds every expected word."""
        before = self.files()
        command = command or ["train", self.dataset, "--run-dir", self.run_dir, "--fanout", "3,3", "--epochs", "1",
                              "--workers", "1" if ranks else "2", *arguments]
        done = self.gsplit(*command, ranks=ranks)
        self.assertEqual(done.returncode, 2, done.stderr)
        ours = [line for line in done.stderr.splitlines() if line.startswith("gsplit: ")]
        self.assertEqual(len(ours), 1, done.stderr)
        if ranks is None:
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for word in expected:
            self.assertIn(word, ours[0])
        self.assertEqual(self.files(), before, "something was left behind")
        self.assertFalse(self.run_dir.exists())

    def rewrite(self, name, change):
        array = np.load(self.dataset / name)
        np.save(self.dataset / name, change(array))

    def test_flags(self):
        for arguments, word in (
            (["--nonsense", "1"], "--nonsense"),
            (["--fanout", "3,x"], "--fanout"),
            (["--fanout", "3,0"], "--fanout"),
            (["--fanout", ""], "--fanout"),
            (["--batch-size", "0"], "--batch-size"),
            (["--hidden", "-4"], "--hidden"),
            (["--lr", "fast"], "--lr"),
            (["--dropout", "1.5"], "--dropout"),
            (["--model", "transformer"], "--model"),
            (["--partition", "best"], "--partition"),
            (["--mode", "p3", "--model", "gat"], "--mode p3 with --model gat"),
            (["--mode", "hybrid"], "--mode hybrid without --group-size"),
            (["--group-size", "2"], "--group-size 2 with --mode split"),
            (["--mode", "both"], "--mode both is unknown"),
            (["--precision", "fp8"], "--precision"),
            (["--deadline", "-1"], "--deadline"),
            (["--optimizer", "lion"], "--optimizer"),
            (["--early-stop", "-1"], "--early-stop"),
            (["--warmup-steps", "-1"], "--warmup-steps"),
            (["--momentum", "1"], "--momentum"),
            (["--clip-norm", "-1"], "--clip-norm"),
            (["--lr-step-epochs", "0"], "--lr-step-epochs"),
            (["--eval-fanout", "3"], "--eval-fanout"),
            (["--input-dropout", "1"], "--input-dropout"),
            (["--edge-weights", "maybe"], "--edge-weights"),
            (["--init-from", "nowhere"], "nowhere"),
            (["--seeds", "0"], "--seeds"),
            (["--class-weights", "heavy"], "--class-weights heavy"),
            (["--class-weights", ""], "--class-weights"),
            (["--drop-last", "--batch-size", "100000"], "drop-last"),
        ):
            with self.subTest(arguments=arguments):
                self.refused(word, arguments=arguments)

    def test_missing_command_or_dataset(self):
        self.assertEqual(self.gsplit().returncode, 2)
        self.assertEqual(self.gsplit("fly").returncode, 2)
        self.refused("nowhere", command=["train", self.scratch / "nowhere", "--run-dir", self.run_dir])

    def test_missing_and_truncated_arrays(self):
        for name in ("edges.npy", "feat.npy", "train_seeds.npy", "train_labels.npy"):
            with self.subTest(name=name):
                content = (self.dataset / name).read_bytes()
                (self.dataset / name).unlink()
                self.refused(name)
                (self.dataset / name).write_bytes(content[: len(content) - 16])
                self.refused(name)
                (self.dataset / name).write_bytes(b"not an array")
                self.refused(name)
                (self.dataset / name).write_bytes(content)

    def test_values_out_of_range(self):
        def with_entry(index, value):
            def change(array):
                array = array.copy()
                array[index] = value
                return array
            return change

        for name, change in (
            ("edges.npy", with_entry((0, 7), 500)),
            ("edges.npy", with_entry((1, 3), -1)),
            ("train_seeds.npy", with_entry(0, 500)),
            ("train_labels.npy", with_entry(0, 3)),
            ("train_labels.npy", with_entry(2, -1)),
            ("feat.npy", with_entry((17, 2), np.nan)),
            ("feat.npy", with_entry((499, 5), np.inf)),
        ):
            with self.subTest(name=name):
                original = (self.dataset / name).read_bytes()
                self.rewrite(name, change)
                self.refused(name)
                (self.dataset / name).write_bytes(original)

    def test_inconsistent_shapes_and_types(self):
        for name, change in (
            ("feat.npy", lambda a: a[:-1]),
            ("feat.npy", lambda a: a.astype(np.int32)),
            ("feat.npy", np.asfortranarray),
            ("edges.npy", lambda a: a.T.copy()),
            ("edges.npy", lambda a: a.astype(np.float64)),
            ("edges.npy", lambda a: a.astype(">i4")),
            ("train_labels.npy", lambda a: a[:-1]),
            ("train_seeds.npy", lambda a: np.concatenate([a[:-1], a[:1]])),
            ("train_seeds.npy", lambda a: a.astype(object)),
        ):
            with self.subTest(name=name):
                original = (self.dataset / name).read_bytes()
                self.rewrite(name, change)
                self.refused(name)
                (self.dataset / name).write_bytes(original)

    def test_multi_label_arrays(self):
        def as_rows(labels):
            return np.eye(3, dtype=np.uint8)[labels]

        splits = ("train", "valid", "test")
        for split in splits:
            self.rewrite(f"{split}_labels.npy", as_rows)

        def with_entry(value, dtype):
            def change(array):
                array = array.astype(dtype)
                array[4, 2] = value
                return array
            return change

        for split in splits:
            name = f"{split}_labels.npy"
            for change, words in (
                (with_entry(2, np.int64), ("holds 2 at position 4, column 2", "0 or 1")),
                (with_entry(np.nan, np.float32), ("nan at position 4, column 2",)),
                (lambda a: a[:, :2].copy(), ("(seeds, 3)",)),
                (lambda a: a[:, :, None].copy(), ("shape",)),
                (lambda a: a[:-1], ("labels for",)),
                (lambda a: a.astype(np.complex64), (name,)),
            ):
                with self.subTest(name=name, words=words):
                    original = (self.dataset / name).read_bytes()
                    self.rewrite(name, change)
                    self.refused(name, *words)
                    (self.dataset / name).write_bytes(original)
        original = (self.dataset / "valid_labels.npy").read_bytes()
        self.rewrite("valid_labels.npy", lambda a: a.argmax(1))
        self.refused("valid_labels.npy", "train_labels.npy", "shape")
        (self.dataset / "valid_labels.npy").write_bytes(original)
        # A training node in the test set too, with other labels.
        node = np.load(self.dataset / "train_seeds.npy")[0]
        self.rewrite("test_seeds.npy", lambda a: np.append(a, node))
        self.rewrite("test_labels.npy", lambda a: np.vstack([a, 1 - np.load(self.dataset / "train_labels.npy")[:1]]))
        self.refused("test_labels.npy", f"node {node}", "column 0")

    def test_class_weights(self):
        file = self.scratch / "weights.npy"
        for weights, word in (
            (np.ones(4), "3 classes"),
            (np.ones((3, 1)), "3 classes"),
            (np.float64(1), "3 classes"),
            (np.ones(3, dtype=np.int64), "i8"),
            (np.ones(3, dtype=np.float16), "f2"),
            (np.array([1, -0.5, 1]), "-0.5 at position 1"),
            (np.array([1, 1, np.nan]), "nan at position 2"),
            (np.array([np.inf, 1, 1], dtype=np.float32), "inf at position 0"),
        ):
            with self.subTest(word=word):
                np.save(file, weights)
                self.refused("--class-weights", word, arguments=["--class-weights", file])
        file.write_bytes(b"not an array")
        self.refused("weights.npy", arguments=["--class-weights", file])
        self.refused("--class-weights", arguments=["--class-weights", self.scratch])

    def test_edge_weights(self):
        edges = np.load(self.dataset / "edges.npy").shape[1]
        ones = np.ones(edges, np.float32)
        harness.add_edge_weights(self.dataset, ones)
        metadata = self.dataset / "metadata.yaml"
        text = metadata.read_text(encoding="utf-8")

        def with_entry(value, dtype=np.float32):
            weights = ones.astype(dtype)
            weights[17] = value
            return weights

        for weights, word in (
            (with_entry(-1), "at edge 17"),
            (with_entry(np.nan), "at edge 17"),
            (with_entry(np.inf, np.float16), "at edge 17"),
            (with_entry(1e300, np.float64), "at edge 17"),
            (with_entry(-3, np.int64), "-3 at edge 17"),
            (ones[:-1], "shape"),
            (ones.reshape(1, -1), "shape"),
            (ones.astype(bool), "b1"),
            (ones.astype(np.complex64), "type"),
            (ones.astype(object), "object"),
        ):
            with self.subTest(dtype=weights.dtype, word=word):
                np.save(self.dataset / "weights.npy", weights)
                self.refused("weights.npy", word)
        self.refused("weights.npy", ranks=3)
        (self.dataset / "weights.npy").unlink()
        self.refused("weights.npy")
        np.save(self.dataset / "weights.npy", ones)
        harness.add_edge_weights(self.dataset, ones, place="graph", name="edge_weight")
        self.refused("metadata.yaml", "once more")
        for broken in (text.replace("format: numpy, path: weights", "format: torch, path: weights"),
                       text.replace("type: null", "type: 'user:likes:item'"),
                       text.replace(", path: weights.npy", "")):
            metadata.write_text(broken, encoding="utf-8")
            self.refused("metadata.yaml", "feature_data[0]")

    def test_metadata(self):
        path = self.dataset / "metadata.yaml"
        text = path.read_text(encoding="utf-8")
        for broken in ("", "a: [", "- 1", text.replace("num: 500", "num: many"), text.replace("numpy", "torch"),
                       text.replace("edges.npy", "absent.npy")):
            with self.subTest(broken=broken[:20]):
                path.write_text(broken, encoding="utf-8")
                self.refused("absent.npy" if "absent" in broken else "metadata.yaml")

    def test_is_one_line_under_mpirun(self):
        self.rewrite("feat.npy", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 9, np.nan, a))
        self.refused("feat.npy", ranks=3)
        self.refused("--fanout", arguments=["--fanout", "x"], ranks=2)
        self.refused("--workers", arguments=["--workers", "2"], ranks=2)

    def test_ranks_with_other_flags_are_named(self):
        command = [harness.GSPLIT, "train", str(self.dataset), "--run-dir", str(self.run_dir), "--fanout", "3,3", "--epochs", "1"]
        for flags, word in ((["--hidden", "8"], "--hidden 8, rank 0 with 256"), (["--eval-every", "0"], "--eval-every"),
                            (["--resume"], "--resume true")):
            with self.subTest(flags=flags):
                done = subprocess.run([*harness.MPIRUN, "1", *command, ":", *harness.MPIRUN[-1:], "2", *command, *flags],
                                      env=self.environment(), timeout=60, text=True, capture_output=True, check=False)
                ours = [line for line in done.stderr.splitlines() if line.startswith("gsplit: ")]
                self.assertEqual((done.returncode, len(ours)), (2, 1), done.stderr)
                self.assertIn(word, ours[0])
                self.assertFalse(self.run_dir.exists())

    def test_more_workers_than_nodes(self):
        tiny = self.generate("tiny", nodes=20, degree=4, features=2, classes=2)
        self.refused("21", command=["train", tiny, "--run-dir", self.run_dir, "--fanout", "3", "--workers", "21"])

    def test_generate(self):
        out = self.scratch / "generated"
        for arguments in (["--nodes", "0"], ["--nodes", "100", "--degree", "200"], ["--kind", "lattice"],
                          ["--nodes", "100", "--classes", "0"]):
            with self.subTest(arguments=arguments):
                base = {"--kind": "sbm", "--nodes": "100", "--degree": "4", "--features": "3", "--classes": "2"}
                base.update(zip(arguments[::2], arguments[1::2]))
                flat = [word for pair in base.items() for word in pair]
                self.refused("--", command=["generate", *flat, "--out", out])
                self.assertFalse(out.exists())
        self.refused("good", command=["generate", "--kind", "sbm", "--nodes", "100", "--degree", "4", "--features", "3",
                                      "--classes", "2", "--out", self.good])

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_run_directory_that_cannot_be_written(self):
        locked = self.scratch / "locked"
        locked.mkdir(mode=0o500)
        self.refused("--run-dir", command=["train", self.dataset, "--run-dir", pathlib.Path(locked) / "run"])


if __name__ == "__main__":
    unittest.main()
