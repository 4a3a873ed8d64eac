"""A disk that is full or read-only: one line, exit code 3 (2 for a directory that the user named), nothing under a final name."""

import os
import resource
import signal
import subprocess
import unittest

import harness

SMALL = 4 << 10


def files_of(folder):
    """Files below a folder, but for locks."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


class Disk(harness.Scratch):
    """Every command that writes, on a disk that gives up."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cls.generate("good", nodes=2000, degree=8, features=32, classes=3)
        cls.edges = cls.scratch / "edges.txt"
        cls.edges.write_text("".join(f"{v} {v + 1}\n" for v in range(20000)), encoding="utf-8")
        cls.run_dir = cls.train(cls.good, "--fanout", "3,3", "--epochs", "1", "--hidden", "256", "--workers", "1")

    def setUp(self):
        self.disk = self.scratch / self.id().rsplit(".", maxsplit=1)[-1]
        self.disk.mkdir()

    def writers(self):
        """name -> (command, what of it may stay)."""
        train = ["train", self.good, "--fanout", "3,3", "--epochs", "1", "--hidden", "256", "--workers", "1"]
        elsewhere = self.scratch / f"{self.disk.name}-run"
        return {
            "generate": (["generate", "--kind", "sbm", "--nodes", "2000", "--degree", "8", "--features", "32", "--classes", "3",
                          "--out", self.disk / "out"], ()),
            "generate rmat": (["generate", "--kind", "rmat", "--nodes", "2048", "--degree", "16", "--features", "32", "--classes",
                               "3", "--out", self.disk / "out"], ()),
            "import": (["import", "--format", "edgelist", self.edges, "--out", self.disk / "out"], ()),
            "import sorted": (["import", "--format", "edgelist", "--dedup", self.edges, "--out", self.disk / "out"], ()),
            "partition": (["partition", self.good, "--parts", "2", "--method", "range", "--out", self.disk / "out"], ()),
            "predictions": (["infer", self.run_dir, self.good, "--out", self.disk / "predictions.npy"], ()),
            "embeddings": (["infer", self.run_dir, self.good, "--out", elsewhere.with_suffix(".npy"),
                            "--embeddings", self.disk / "embeddings.npy"], ()),
            "cache": ([*train, "--run-dir", elsewhere], ()),
            "run directory": ([*train, "--run-dir", self.disk / "run"], ("run/events.jsonl", "run/config.yaml")),
            "blocks": ([*train, "--run-dir", elsewhere, "--overwrite", "--dump-blocks", self.disk / "blocks.txt"], ()),
        }

    def check(self, name, command, stays, codes, **options):
        """The command fails in one line and leaves no file but those of `stays`."""
        with self.subTest(writer=name):
            environment = self.environment()
            if name == "cache":
                environment["GSPLIT_CACHE"] = str(self.disk / "cache")
            done = subprocess.run([harness.GSPLIT, *map(str, command)], env=environment, timeout=240, text=True,
                                  capture_output=True, check=False, **options)
            self.assertIn(done.returncode, codes, done.stderr)
            lines = [line for line in done.stderr.splitlines() if not line.startswith("gsplit: warning: ")]
            self.assertEqual(len(lines), 1, done.stderr)
            self.assertNotIn("internal error", done.stderr)
            self.assertNotIn("std::", done.stderr)
            self.assertLessEqual(set(files_of(self.disk)), set(stays))

    def mount(self, *options):
        """A tmpfs in the place of self.disk."""
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", self.disk],
                              text=True, capture_output=True, check=False)
        if done.returncode != 0:
            reason = f"no small file system can be mounted here: {done.stderr.strip()}"
            print(f"skipped: {reason}")
            self.skipTest(reason)
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.disk], check=False)

    def clear(self):
        """An empty disk for the next command."""
        for path in sorted(self.disk.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def test_is_full(self):
        self.mount(f"size={SMALL}")
        for name, (command, stays) in self.writers().items():
            self.check(name, command, stays, {3})
            self.clear()

    def test_is_read_only(self):
        self.mount("ro")
        for name, (command, _) in self.writers().items():
            self.check(name, command, (), {2, 3})

    # ThreadSanitizer maps a file of its own, which the limit cuts short.
    @unittest.skipIf("TSAN_OPTIONS" in os.environ, "ThreadSanitizer dies of the limit itself")
    def test_gives_up_in_the_middle_of_a_file(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

        for name, (command, stays) in self.writers().items():
            self.check(name, command, stays, {3}, preexec_fn=small_files)
            self.clear()

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_lacks_the_permission(self):
        self.disk.chmod(0o500)
        for name, (command, _) in self.writers().items():
            self.check(name, command, (), {2, 3})


if __name__ == "__main__":
    unittest.main()
