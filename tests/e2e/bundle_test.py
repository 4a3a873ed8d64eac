"""The bundle that deploy/bundle.sh packs: complete, below its size, and running from another directory without what the system has of its
libraries."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

MOST_MEBIBYTES = 64
GLIBC = re.compile(r"^(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libresolv|libutil|libanl|libmvec)\.so")
NVIDIA = re.compile(r"^lib(cuda|cudart|cublas|cublasLt|cusparse|nvJitLink|nccl)\.so")


class Bundle(unittest.TestCase):
    """Unpacked where nobody knew of when it was built."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gsplit-bundle-"))
        packed = subprocess.run([harness.SOURCE / "deploy" / "bundle.sh"], text=True, capture_output=True, check=False)
        if packed.returncode != 0:
            raise AssertionError(packed.stdout + packed.stderr)
        cls.archive = pathlib.Path(re.search(r"^bundle: (\S+\.tar\.gz),", packed.stdout, re.MULTILINE).group(1))
        subprocess.run(["tar", "-C", cls.scratch, "-xzf", cls.archive], check=True)
        cls.root = next(cls.scratch.glob("gsplit-*"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch, ignore_errors=True)

    def run_bare(self, *command):
        """With an environment that says nothing of libraries."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.scratch), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                       "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run([str(part) for part in command], env=environment, text=True, capture_output=True, check=False, cwd=self.scratch)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_is_small(self):
        self.assertLess(self.archive.stat().st_size, MOST_MEBIBYTES << 20)

    def test_brings_its_libraries(self):
        programs = [*self.root.glob("bin/gsplit"), *self.root.glob("libexec/*"), *self.root.glob("lib/openmpi/*.so"), *self.root.glob("lib/*.so*")]
        self.assertGreater(len(programs), 100)
        for program in programs:
            for line in self.run_bare("ldd", program).splitlines():
                name = line.split()[0]
                if GLIBC.match(pathlib.Path(name).name) or NVIDIA.match(name) or "=>" not in line:
                    continue
                self.assertIn(str(self.root), line, f"{program.name} would take {name} from the system")

    def test_trains_by_its_own_mpirun(self):
        gsplit = self.root / "bin" / "gsplit"
        self.run_bare(gsplit, "generate", "--kind", "sbm", "--nodes", 2000, "--degree", 10, "--features", 8, "--classes", 4, "--out", "graph")
        self.run_bare(self.root / "bin" / "mpirun", "--oversubscribe", "--bind-to", "none", "-n", 2, gsplit, "train", "graph", "--run-dir", "run",
                      "--max-steps", 3, "--fanout", "4,3", "--hidden", 16, "--device", "cpu")
        steps = [json.loads(line) for line in (self.scratch / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        self.assertEqual(len([event for event in steps if event["event"] == "step"]), 3)


if __name__ == "__main__":
    if shutil.which("patchelf") is None or not (harness.SOURCE / "build" / "release" / "gsplit").exists():
        print("skipped: patchelf or build/release is missing (deploy/install.sh, deploy/build.sh)")
        sys.exit(77)
    unittest.main()
