"""The converter from OGB's csv layout, on a graph of four nodes."""

import gzip
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

CONVERTER = pathlib.Path(__file__).with_name("ogb_to_graphbolt.py")
FILES = {"raw/num-node-list.csv": "4\n", "raw/edge.csv": "0,1\n1,0\n2,3\n2,2\n2,3\n", "raw/node-label.csv": "1\n0\n2\nnan\n",
         "raw/node-feat.csv": "0.5,1\n-1,0\n2,3\n4,5\n", "split/public/train.csv": "2\n0\n", "split/public/valid.csv": "1\n",
         "split/public/test.csv": ""}


class Converter(unittest.TestCase):
    """Input is written afresh for each test; edge.csv is packed."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.source, self.out = pathlib.Path(scratch.name) / "in", pathlib.Path(scratch.name) / "out"
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "raw/edge.csv":
            path.with_name("edge.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="ascii")

    def convert(self, *flags):
        return subprocess.run([sys.executable, CONVERTER, self.source, self.out, *flags], text=True, capture_output=True,
                              check=False)

    def edges(self, *flags):
        done = self.convert(*flags)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return list(zip(*np.load(self.out / "edges.npy").tolist()))

    def test_keeps_what_stands_there(self):
        self.assertEqual(self.edges(), [(0, 1), (1, 0), (2, 3), (2, 2), (2, 3)])
        self.assertEqual(np.load(self.out / "feat.npy").tolist(), [[0.5, 1], [-1, 0], [2, 3], [4, 5]])
        for split, nodes, labels in (("train", [2, 0], [2, 1]), ("valid", [1], [0]), ("test", [], [])):
            self.assertEqual(np.load(self.out / f"{split}_seeds.npy").tolist(), nodes)
            self.assertEqual(np.load(self.out / f"{split}_labels.npy").tolist(), labels)
        self.assertIn("num_classes: 3\n", (self.out / "metadata.yaml").read_text(encoding="ascii"))

    def test_adds_reverse_edges(self):
        self.assertEqual(self.edges("--reverse-edges"), [(0, 1), (1, 0), (2, 3), (2, 2), (2, 3),
                                                         (1, 0), (0, 1), (3, 2), (2, 2), (3, 2)])

    def test_removes_duplicates_after_reversing(self):
        self.assertEqual(self.edges("--reverse-edges", "--dedup"), [(0, 1), (1, 0), (2, 3), (2, 2), (3, 2)])

    def test_drops_self_loops(self):
        self.assertEqual(self.edges("--drop-self-loops", "--dedup"), [(0, 1), (1, 0), (2, 3)])

    def test_refuses_what_is_no_such_folder(self):
        for name, text in (("raw/edge.csv", "0,4\n"), ("raw/edge.csv", "0\n"), ("raw/node-feat.csv", "1,2\n"),
                           ("raw/node-label.csv", "1\n0\n"), ("raw/num-node-list.csv", ""), ("raw/node-label.csv", "nan\n" * 4),
                           ("split/public/train.csv", "4\n"), ("split/public/train.csv", "3\n"),
                           ("split/public/test.csv", "a\n")):
            with self.subTest(name=name, text=text):
                self.write(name, text)
                done = self.convert()
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertFalse(self.out.exists())
                self.write(name, FILES[name])
        self.out.mkdir()
        self.assertIn("exists", self.convert().stderr)


if __name__ == "__main__":
    unittest.main()
