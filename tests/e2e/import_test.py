"""gsplit import: every format against NumPy doing the same work; refusals; the disk that is full."""

import gzip
import resource
import shutil
import signal
import subprocess
import unittest

import harness
import numpy as np


def reverse(edges):
    """Each edge followed by its reverse."""
    return np.stack([edges, edges[::-1]], axis=2).reshape(2, -1)


def dedup(edges):
    """Distinct edges by (destination, source)."""
    return np.unique(edges[::-1].T, axis=0).T[::-1]


def write_gz(path, rows, fmt="%d"):
    """Rows as headerless csv.gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as out:
        np.savetxt(out, rows, fmt=fmt, delimiter=",")


class Import(harness.Scratch):
    """Each test makes or takes an input and imports it."""

    def setUp(self):
        self.work = self.scratch / self.id().rsplit(".", 1)[1]
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.random = np.random.default_rng(7)

    def imported(self, source, *arguments, name="out", **options):
        """The dataset made of `source`."""
        out = self.work / name
        self.must("import", *arguments, source, "--out", out, **options)
        self.assertFalse([path for path in self.work.iterdir() if path.name.startswith(".")])
        return out

    def arrays(self, dataset, *names):
        loaded = [np.load(dataset / f"{name}.npy") for name in names]
        return loaded if len(loaded) > 1 else loaded[0]

    def train(self, dataset, *arguments):
        """A short run; its last event."""
        run_dir = super().train(dataset, "--workers", 2, "--hidden", 32, *arguments)
        return harness.events(run_dir, "run_end")[0]

    def ogb(self, nodes=50, edges=300, labels=None, schemes=("time",)):
        """A folder in OGB's csv layout, and what is in it."""
        root = self.work / "ogb"
        made = {"edges": self.random.integers(0, nodes, (2, edges)),
                "feat": self.random.standard_normal((nodes, 7)).astype(np.float32),
                "labels": self.random.integers(0, 4, (nodes, 1)) if labels is None else labels,
                "train": self.random.permutation(nodes)[:20], "valid": np.arange(5), "test": np.arange(9)}
        write_gz(root / "raw/edge.csv.gz", made["edges"].T)
        write_gz(root / "raw/num-node-list.csv.gz", [nodes])
        write_gz(root / "raw/num-edge-list.csv.gz", [edges])
        write_gz(root / "raw/node-feat.csv.gz", made["feat"], "%.9g")
        write_gz(root / "raw/node-label.csv.gz", made["labels"], "%g")
        for scheme in schemes:
            for split in ("train", "valid", "test"):
                write_gz(root / f"split/{scheme}/{split}.csv.gz", made[split])
        return root, made

    # --- OGB ------------------------------------------------------------------------------------

    def test_citeseer(self):
        source = harness.real_data("ogb_citeseer")
        if source is None:
            self.skipTest("ogb_citeseer is not at hand")
        out = self.imported(source, "--format", "ogb")
        load = lambda name, kind: np.loadtxt(source / f"{name}.csv.gz", delimiter=",", dtype=kind)
        np.testing.assert_array_equal(self.arrays(out, "edges"), load("raw/edge", np.int64).T)
        np.testing.assert_array_equal(self.arrays(out, "feat"), load("raw/node-feat", np.float32))
        labels = load("raw/node-label", np.int64)
        for split in ("train", "valid", "test"):
            seeds = load(f"split/public/{split}", np.int64)
            np.testing.assert_array_equal(self.arrays(out, f"{split}_seeds"), seeds)
            np.testing.assert_array_equal(self.arrays(out, f"{split}_labels"), labels[seeds])
        end = self.train(out, "--fanout", "10,10", "--epochs", 15, "--batch-size", 60, "--normalize-features", "row",
                         "--weight-decay", "5e-4", "--lr", "0.01", "--eval-every", 5)
        self.assertGreater(end["test_acc"], 0.55)

    def test_ogb_steps_and_schemes(self):
        root, made = self.ogb(schemes=("time", "random"))
        out = self.imported(root, "--format", "ogb", "--split", "time", "--reverse-edges")
        np.testing.assert_array_equal(self.arrays(out, "edges"), reverse(made["edges"]))
        np.testing.assert_array_equal(self.arrays(out, "feat"), made["feat"])
        np.testing.assert_array_equal(self.arrays(out, "train_labels"), made["labels"][made["train"], 0])
        self.refused("several schemes: random, time", root, "--format", "ogb")
        self.refused("sales", root, "--format", "ogb", "--split", "sales")

    def test_ogb_labels_may_be_missing_or_many(self):
        labels = self.random.integers(0, 4, (50, 1)).astype(float)
        labels[:3] = np.nan
        root, made = self.ogb(labels=labels)
        done = self.gsplit("import", "--format", "ogb", root, "--out", self.work / "out")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no label", done.stderr)
        np.testing.assert_array_equal(self.arrays(self.work / "out", "valid_seeds"), [3, 4])
        expected = [v for v in made["train"] if v > 2]
        np.testing.assert_array_equal(self.arrays(self.work / "out", "train_seeds"), expected)
        many = self.random.integers(0, 2, (50, 5))
        root, made = self.ogb(labels=many)
        out = self.imported(root, "--format", "ogb", name="many")
        np.testing.assert_array_equal(self.arrays(out, "train_labels"), many[made["train"]])
        self.assertIn("num_classes: 5", (out / "metadata.yaml").read_text())

    def test_ogb_binary(self):
        root, made = self.ogb()
        labels = made["labels"].astype(np.float32)
        labels[30:] = np.nan
        for save, name in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            save(root / "raw/data.npz", edge_index=made["edges"], node_feat=made["feat"], node_year=np.arange(50),
                 num_nodes_list=np.array([50]), num_edges_list=np.array([300]))
            save(root / "raw/node-label.npz", node_label=labels)
            out = self.imported(root, "--format", "ogb", "--reverse-edges", "--dedup", name=name)
            np.testing.assert_array_equal(self.arrays(out, "edges"), dedup(reverse(made["edges"])))
            np.testing.assert_array_equal(self.arrays(out, "feat"), made["feat"])
            np.testing.assert_array_equal(self.arrays(out, "train_seeds"), [v for v in made["train"] if v < 30])
        content = (root / "raw/data.npz").read_bytes()
        (root / "raw/data.npz").write_bytes(content[: len(content) // 2])
        self.refused("data.npz", root, "--format", "ogb")

    # --- edge lists -----------------------------------------------------------------------------

    def test_cnr2000(self):
        source = harness.real_data("web_cnr2000")
        if source is None:
            self.skipTest("web_cnr2000 is not at hand")
        file = source / "edges.txt.gz"
        with gzip.open(file, "rb") as lines:
            edges = np.array(lines.read().split(b"\n", 2)[2].split(), dtype=np.int64).reshape(-1, 2).T
        nodes = int(edges.max()) + 1
        out = self.imported(file, "--format", "edgelist", "--features-random", 8, "--classes", 4)
        np.testing.assert_array_equal(self.arrays(out, "edges"), edges)
        self.assertEqual(self.arrays(out, "feat").shape, (nodes, 8))
        steps = ("--format", "edgelist", "--features-random", 8, "--classes", 4, "--reverse-edges", "--dedup",
                 "--drop-self-loops", "--add-self-loops")
        whole = self.imported(file, *steps, name="whole")
        kept = edges[:, edges[0] != edges[1]]
        loops = np.tile(np.arange(nodes), (2, 1))
        np.testing.assert_array_equal(self.arrays(whole, "edges"), dedup(np.concatenate([reverse(kept), loops], 1)))
        small = self.imported(file, *steps, "--memory", "1M", "--threads", 3, name="small")
        self.same_files(whole, small)
        self.must("partition", out, "--parts", 4, "--method", "random", "--out", self.work / "parts")
        end = self.train(whole, "--fanout", "5,5", "--epochs", 1, "--batch-size", 4096)
        self.assertEqual(end["status"], "done")
        self.assertGreater(end["test_acc"], 0.3)  # four classes of equal size

    def same_files(self, one, other):
        names = sorted(path.name for path in one.iterdir())
        self.assertEqual(names, sorted(path.name for path in other.iterdir()))
        for name in names:
            self.assertEqual((one / name).read_bytes(), (other / name).read_bytes(), name)

    def test_weights(self):
        edges = self.random.integers(0, 40, (2, 500))
        weights = self.random.random(500).astype(np.float32)
        file = self.work / "w.txt"
        file.write_text("".join(f"{s} {d} {w!r}\n" for s, d, w in zip(*edges.tolist(), weights.tolist())))
        out = self.imported(file, "--format", "edgelist", "--reverse-edges")
        np.testing.assert_array_equal(self.arrays(out, "edge_weight"), np.repeat(weights, 2))
        graph = (out / "metadata.yaml").read_text().split("feature_data:")[1]
        for entry in ("name: weight", "domain: edge", "path: edge_weight.npy"):
            self.assertIn(entry, graph)
        out = self.imported(file, "--format", "edgelist", "--dedup", "--memory", "1M", name="dedup")
        _, first = np.unique(edges[::-1].T, axis=0, return_index=True)
        np.testing.assert_array_equal(self.arrays(out, "edge_weight"), weights[first])
        np.testing.assert_array_equal(self.arrays(out, "edges"), edges[:, first])

    @unittest.skipIf(shutil.which("zstd") is None, "zstd is not installed")
    def test_zstd(self):
        edges = self.random.integers(0, 1000, (200000, 2))
        np.savetxt(self.work / "e.txt", edges, fmt="%d", delimiter="\t")
        subprocess.run(["zstd", "-q", "--rm", self.work / "e.txt"], check=True)
        out = self.imported(self.work / "e.txt.zst", "--format", "edgelist")
        np.testing.assert_array_equal(self.arrays(out, "edges"), edges.T)

    # --- GraphBolt and npz ----------------------------------------------------------------------

    def test_graphbolt_with_csv_edges(self):
        good = self.generate("sbm", nodes=400, degree=6, features=5, classes=3)
        source = self.work / "bolt"
        shutil.copytree(good, source)
        edges = np.load(source / "edges.npy")
        np.savetxt(source / "edges.csv", edges.T, fmt="%d", delimiter=",")
        (source / "edges.npy").unlink()
        metadata = (source / "metadata.yaml").read_text()
        (source / "metadata.yaml").write_text(
            metadata.replace("format: numpy\n      path: edges.npy", "format: csv\n      path: edges.csv"))
        done = self.gsplit("train", source, "--run-dir", self.work / "run")
        self.assertEqual(done.returncode, 2)
        self.assertIn("gsplit import", done.stderr)
        out = self.imported(source, "--format", "graphbolt")
        for name in ("edges", "feat", "train_seeds", "train_labels", "valid_seeds", "test_labels"):
            np.testing.assert_array_equal(self.arrays(out, name), np.load(good / f"{name}.npy"))
        self.graphbolt_with_csv_edges_and_weights(source, edges.shape[1])
        with open(source / "edges.csv", "a", encoding="utf-8") as file:
            file.write("3,400\n")
        self.refused(f"edges.csv line {edges.shape[1] + 1}", source)

    def graphbolt_with_csv_edges_and_weights(self, source, edges):
        """The weights lie in an array beside the csv."""
        weighted = self.work / "weighted"
        shutil.copytree(source, weighted)
        weights = self.random.random(edges)
        harness.add_edge_weights(weighted, weights)
        out = self.imported(weighted, "--format", "graphbolt", name="weighted-out")
        np.testing.assert_array_equal(self.arrays(out, "edge_weight"), weights.astype(np.float32))
        for wrong, word in ((weights[:-1], f"holds {edges - 1} weights, the graph has more edges"),
                            (np.append(weights, 1), f"holds {edges + 1} weights, the graph has {edges} edges"),
                            (np.where(np.arange(edges) == 7, -1, weights), "position 7"),
                            (weights.reshape(1, -1), "shape (edges)")):
            np.save(weighted / "weights.npy", wrong)
            self.refused(word, weighted)
        np.save(weighted / "weights.npy", weights)
        (weighted / "edges.csv").write_text("0,1,0.5\n", encoding="utf-8")
        self.refused("edges.csv line 1", weighted)

    def test_npz(self):
        edges = self.random.integers(0, 30, (2, 200))
        x = self.random.random((30, 4)).astype(np.float32)
        y = self.random.integers(0, 3, 30)
        mask = np.arange(30) % 3
        np.savez_compressed(self.work / "a.npz", edge_index=edges, x=x, y=y, train_mask=mask == 0, val_mask=mask == 1,
                            test_mask=mask == 2)
        out = self.imported(self.work / "a.npz", "--format", "npz")
        np.testing.assert_array_equal(self.arrays(out, "edges"), edges)
        np.testing.assert_array_equal(self.arrays(out, "feat"), x)
        np.testing.assert_array_equal(self.arrays(out, "valid_labels"), y[mask == 1])
        # As gnn-benchmark stores Amazon and Coauthor.
        source, destination = np.unique(edges.T, axis=0).T
        indptr = np.searchsorted(source, np.arange(31)).astype(np.int32)
        dense = (self.random.random((30, 6)) < 0.3) * self.random.random((30, 6)).astype(np.float32)
        rows, columns = np.nonzero(dense)
        np.savez(self.work / "b.npz", adj_data=np.ones(len(source), np.float32), adj_shape=np.array([30, 30]),
                 adj_indices=destination.astype(np.int32), adj_indptr=indptr,
                 attr_data=dense[rows, columns].astype(np.float32), attr_indices=columns.astype(np.int32),
                 attr_indptr=np.searchsorted(rows, np.arange(31)).astype(np.int32), attr_shape=np.array([30, 6]),
                 labels=y, node_names=np.array([None] * 30, dtype=object))
        out = self.imported(self.work / "b.npz", "--format", "npz", "--split", "random:0.5,0.2,0.3", name="b")
        np.testing.assert_array_equal(self.arrays(out, "edges"), [source, destination])
        np.testing.assert_array_equal(self.arrays(out, "feat"), dense.astype(np.float32))
        splits = self.arrays(out, "train_seeds", "valid_seeds", "test_seeds")
        self.assertEqual([len(split) for split in splits], [15, 6, 9])
        self.assertEqual(sorted(np.concatenate(splits)), list(range(30)))
        np.testing.assert_array_equal(self.arrays(out, "train_labels"), y[splits[0]])

    # --- what is refused ------------------------------------------------------------------------

    def refused(self, expected, source, *arguments, code=2, **options):
        """One line, nothing left behind."""
        before = sorted(self.work.iterdir())
        done = self.gsplit("import", *arguments, source, "--out", self.work / "refused", **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(expected, done.stderr)
        self.assertEqual(sorted(self.work.iterdir()), before, "something was left behind")

    def test_flags(self):
        file = self.work / "e.txt"
        file.write_text("".join(f"{v} {v + 1}\n" for v in range(20)))
        for arguments, word in (
            (["--format", "parquet"], "--format"),
            (["--memory", "1"], "--memory"),
            (["--memory", "8X"], "--memory"),
            (["--split", "random:0.5"], "--split"),
            (["--split", "random:0.5,0.5,x"], "--split"),
            (["--split", "random:0.6,0.5,0.4"], "share"),
            (["--split", "time"], "--split"),
            (["--features-random", "0"], "--features-random"),
            (["--nodes", "1"], "line 1"),
            (["--classes", "22"], "--classes"),
        ):
            with self.subTest(arguments=arguments):
                self.refused(word, file, "--format", "edgelist", *arguments)
        self.refused("absent", self.work / "absent", "--format", "edgelist")
        (self.work / "refused").mkdir()
        self.refused("exists", file, "--format", "edgelist")

    def test_damaged_folders(self):
        root, _ = self.ogb()
        raw = root / "raw"
        for name, change in (
            ("raw/edge.csv.gz", lambda b: b[:-9]),
            ("raw/edge.csv.gz", lambda b: gzip.compress(gzip.decompress(b) + b"1,2\n")),
            ("raw/edge.csv.gz", lambda b: gzip.compress(gzip.decompress(b)[:-20])),
            ("raw/edge.csv.gz", lambda b: gzip.compress(gzip.decompress(b).replace(b"\n", b"\n1,50\n", 1))),
            ("raw/node-feat.csv.gz", lambda b: b[: len(b) // 2]),
            ("raw/node-label.csv.gz", lambda b: gzip.compress(gzip.decompress(b) + b"1\n")),
            ("raw/node-label.csv.gz", lambda b: gzip.compress(b"x\n")),
            ("raw/num-node-list.csv.gz", lambda b: gzip.compress(b"99999999999999\n")),
            ("raw/num-node-list.csv.gz", lambda b: gzip.compress(b"49\n")),
            ("raw/num-edge-list.csv.gz", lambda b: gzip.compress(b"3\n3\n")),
            ("split/time/train.csv.gz", lambda b: gzip.compress(b"50\n")),
            ("split/time/test.csv.gz", lambda b: gzip.compress(b"1\n1\n")),
        ):
            with self.subTest(name=name):
                original = (root / name).read_bytes()
                (root / name).write_bytes(change(original))
                self.refused("" if "num-node" in name else name.split("/")[-1], root, "--format", "ogb")
                (root / name).unlink()
                self.refused(name.split("/")[-1], root, "--format", "ogb")
                (root / name).write_bytes(original)
        (raw / "num-edge-list.csv.gz").write_bytes(gzip.compress(b"99999999999999999\n"))
        self.refused("of disk", root, "--format", "ogb", code=3)

    def test_sparse_ids(self):
        file = self.work / "e.txt"
        file.write_text("0 1\n5 4000000000000\n")
        self.refused("--nodes", file, "--format", "edgelist")

    def test_a_disk_that_is_full(self):
        file = self.work / "e.txt"
        file.write_text("".join(f"{v} {v + 1}\n" for v in range(100000)))

        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

        before = sorted(self.work.iterdir())
        done = subprocess.run([harness.GSPLIT, "import", "--format", "edgelist", file, "--out", self.work / "out"],
                              text=True, capture_output=True, check=False, preexec_fn=small_files)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(sorted(self.work.iterdir()), before)


if __name__ == "__main__":
    unittest.main()
