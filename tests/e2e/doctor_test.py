"""gsplit doctor, and a host whose CUDA module is missing or no module at all: everything works on the CPU."""

import json
import os
import unittest

import harness


class WithoutModule(harness.Scratch):
    """GSPLIT_CUDA_MODULE names a file that is not there, or is something else."""

    @classmethod
    def environment(cls):
        return dict(super().environment(), GSPLIT_CUDA_MODULE=os.fspath(cls.module))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.module = cls.scratch / "missing.so"
        cls.dataset = cls.generate("graph", nodes=500, degree=6)

    def test_doctor_tells(self):
        found = json.loads(self.must("doctor", "--json").stdout)
        self.assertIsNone(found["module"])
        self.assertEqual((found["device"], found["gpus"]), ("cpu", []))
        self.assertEqual(len(found["problems"]), 1)
        self.assertIn("missing.so", found["problems"][0])
        self.assertGreater(found["host"]["memory_bytes"], found["host"]["available_bytes"])
        self.assertIn("missing.so", self.must("doctor").stdout)

    def test_auto_trains_on_the_cpu_and_cuda_is_refused(self):
        flags = ["--fanout", "3,3", "--hidden", 8, "--max-steps", 2, "--eval-every", 0]
        run_dir = self.train(self.dataset, *flags)
        self.assertIn("cpu", harness.events(run_dir, "run_start")[0]["device"])
        refused = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "refused", "--device", "cuda", *flags)
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stderr, r"^gsplit: --device cuda: there is no CUDA module: .*missing\.so.*\n$")
        self.assertFalse((self.scratch / "refused").exists())

    def test_a_file_that_is_no_module_is_none(self):
        other = self.scratch / "other.so"
        other.write_text("no library")
        type(self).module, missing = other, self.module
        try:
            self.assertIn("other.so", json.loads(self.must("doctor", "--json").stdout)["problems"][0])
        finally:
            type(self).module = missing


class BoundThreads(harness.Scratch):
    """OpenMP's settings that bind threads, as job scripts for other systems have them."""

    binding = {}

    @classmethod
    def environment(cls):
        return dict(super().environment(), **cls.binding)

    def test_leave_all_cores(self):
        type(self).binding = {}
        cores = json.loads(self.must("doctor", "--json").stdout)["host"]["cores"]
        for binding in ({"OMP_PROC_BIND": "true"}, {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}, {"GOMP_CPU_AFFINITY": "0-63"}):
            with self.subTest(binding=binding):
                type(self).binding = binding
                self.assertEqual(json.loads(self.must("doctor", "--json").stdout)["host"]["cores"], cores)


if __name__ == "__main__":
    unittest.main()
