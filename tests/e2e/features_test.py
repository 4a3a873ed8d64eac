"""Features stored as fp16 and bf16: generated, imported, inspected, partitioned, trained on."""

import json
import shutil
import unittest

import harness
import numpy as np

DTYPES = ("fp32", "fp16", "bf16")
TRAIN = ["--fanout", "10,5", "--hidden", 64, "--batch-size", 512]


def to_bf16(values):
    """The bits of fp32 values (none of them NaN) rounded to bf16."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def load(path):
    """A feature file as fp32."""
    stored = np.load(path)
    if stored.dtype.kind == "V":
        return (stored.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


class Storage(harness.Scratch):
    """What is stored is the fp32 value, rounded."""

    def test_generated_and_imported(self):
        wide = load(self.generate("wide") / "feat.npy")
        expected = {"fp32": wide, "fp16": wide.astype(np.float16).astype(np.float32),
                    "bf16": (to_bf16(wide).astype(np.uint32) << 16).view(np.float32)}
        for dtype in DTYPES:
            dataset = self.generate(f"made-{dtype}", feature_dtype=dtype)
            np.testing.assert_array_equal(load(dataset / "feat.npy"), expected[dtype])
            said = json.loads(self.must("inspect", dataset, "--verify", "--json").stdout)
            self.assertEqual(said["feature_dtype"], {"fp32": "f4", "fp16": "f2", "bf16": "bf16"}[dtype])
            kept, given = self.scratch / f"kept-{dtype}", self.scratch / f"given-{dtype}"
            self.must("import", dataset, "--out", kept)
            self.assertEqual((kept / "feat.npy").stat().st_size, (dataset / "feat.npy").stat().st_size)
            np.testing.assert_array_equal(load(kept / "feat.npy"), expected[dtype])
            self.must("import", self.scratch / "wide", "--out", given, "--feature-dtype", dtype)
            np.testing.assert_array_equal(load(given / "feat.npy"), expected[dtype])

    def test_an_edge_list_takes_the_type(self):
        file = self.scratch / "e.txt"
        file.write_text("".join(f"{v} {v + 1}\n" for v in range(60)), encoding="ascii")
        for dtype in DTYPES:
            self.must("import", "--format", "edgelist", file, "--out", self.scratch / f"list-{dtype}",
                      "--feature-dtype", dtype)
        wide = load(self.scratch / "list-fp32" / "feat.npy")
        self.assertEqual(np.load(self.scratch / "list-fp16" / "feat.npy").dtype, np.float16)
        np.testing.assert_array_equal(np.load(self.scratch / "list-bf16" / "feat.npy").view(np.uint16), to_bf16(wide))

    def test_what_a_type_cannot_hold_is_refused(self):
        source = self.scratch / "large"
        shutil.copytree(self.generate("small", nodes=300), source)
        features = load(source / "feat.npy")
        features[7, 3] = 1e5
        np.save(source / "feat.npy", features)
        out = self.scratch / "refused"
        done = self.gsplit("import", source, "--out", out, "--feature-dtype", "fp16")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
        for part in ("feat.npy", "100000", "node 7, column 3", "--feature-dtype bf16 or fp32"):
            self.assertIn(part, done.stderr)
        self.assertFalse(out.exists())
        self.must("import", source, "--out", out, "--feature-dtype", "bf16")
        for command in (("import", source), ("generate", "--nodes", 9, "--degree", 2, "--features", 2, "--classes", 2)):
            done = self.gsplit(*command, "--out", self.scratch / "other", "--feature-dtype", "fp8")
            self.assertEqual(done.returncode, 2)
            self.assertIn("--feature-dtype fp8", done.stderr)


class Training(harness.Scratch):
    """Arithmetic is fp32 whatever the storage."""

    def test_accuracy_stays_that_of_fp32(self):
        found = {}
        for dtype in DTYPES:
            dataset = self.generate(dtype, nodes=20000, degree=20, features=64, classes=10, feature_dtype=dtype)
            run_dir = self.train(dataset, *TRAIN, "--epochs", 5, "--workers", 2, "--eval-every", 5)
            found[dtype] = harness.events(run_dir, "run_end")[0]["test_acc"]
        print("sbm: test accuracy", found)
        for dtype in ("fp16", "bf16"):
            self.assertLess(abs(found[dtype] - found["fp32"]), 0.01, found)

    def test_cora_stays_that_of_fp32(self):
        source = harness.real_data("cora")
        if source is None:
            self.skipTest("cora is not at hand (GSPLIT_TEST_DATA)")
        found = {}
        for dtype in ("fp32", "bf16"):
            dataset = self.scratch / f"cora-{dtype}"
            self.must("import", source, "--out", dataset, "--feature-dtype", dtype)
            run_dir = self.train(dataset, "--model", "gcn", "--hidden", 16, "--lr", 0.01, "--weight-decay", 5e-4,
                                 "--fanout", "-1,-1", "--normalize-features", "row", "--batch-size", 140,
                                 "--epochs", 100, "--workers", 2, "--eval-every", 5)
            found[dtype] = harness.events(run_dir, "run_end")[0]["test_acc"]
        print("cora: test accuracy", found)
        self.assertLess(abs(found["bf16"] - found["fp32"]), 0.01, found)

    def test_any_number_of_workers_gives_one_answer(self):
        dataset = self.generate("graph", feature_dtype="bf16")
        fixed = [*TRAIN, "--precision", "fp64", "--max-steps", 20, "--eval-every", 0]
        reference = harness.losses(self.train(dataset, *fixed, "--workers", 1))
        for workers in (2, 3):
            curve = harness.losses(self.train(dataset, *fixed, "--workers", workers))
            for ours, theirs in zip(curve, reference, strict=True):
                self.assertLess(abs(ours - theirs), 1e-9)
        for choice in ("always", "never"):  # where rows come from changes nothing
            self.assertEqual(harness.losses(self.train(dataset, *fixed, "--workers", 1, "--read-ahead", choice)),
                             reference)
        others = harness.losses(self.train(self.generate("other"), *fixed, "--workers", 1))
        self.assertNotEqual(others, reference, "rounded features give another curve")


if __name__ == "__main__":
    unittest.main()
