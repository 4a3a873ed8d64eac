"""What the end-to-end tests share: the executable, mpirun, scratch space, small datasets.

The tests are plain unittest and need nothing beyond Python and NumPy. GSPLIT names the executable.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

GSPLIT = os.environ.get("GSPLIT", "build/release/runtime/gsplit")
SOURCE = pathlib.Path(__file__).resolve().parents[2]
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "-n"]


def real_data(name):
    """Directory of a real dataset, or None where it is not at hand."""
    root = pathlib.Path(os.environ.get("GSPLIT_TEST_DATA", SOURCE.parent / "shared" / "data"))
    return root / name if (root / name).exists() else None


class Scratch(unittest.TestCase):
    """A scratch directory with a cache of its own, removed at the end of the class."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gsplit-e2e-"))
        cls.runs = 0

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch, ignore_errors=True)

    @classmethod
    def environment(cls):
        environment = dict(os.environ, GSPLIT_CACHE=str(cls.scratch / "cache"))
        environment.setdefault("OMP_WAIT_POLICY", "passive")  # workers share the cores
        environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        return environment

    @classmethod
    def gsplit(cls, *arguments, ranks=None, timeout=240):
        """Runs gsplit, under mpirun where `ranks` is given; returns the completed process."""
        command = [GSPLIT, *map(str, arguments)]
        if ranks is not None:
            command = [*MPIRUN, str(ranks), *command]
        return subprocess.run(
            command, env=cls.environment(), timeout=timeout, text=True, capture_output=True, check=False
        )

    @classmethod
    def must(cls, *arguments, **options):
        """As gsplit(), which must succeed."""
        done = cls.gsplit(*arguments, **options)
        if done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    @classmethod
    def generate(cls, name, nodes=3000, degree=12, features=16, classes=5, seed=0, feature_dtype="fp32"):
        """A small sbm dataset."""
        path = cls.scratch / name
        cls.must("generate", "--kind", "sbm", "--nodes", nodes, "--degree", degree, "--features", features,
                 "--classes", classes, "--seed", seed, "--feature-dtype", feature_dtype, "--out", path)
        return path

    @classmethod
    def train(cls, dataset, *arguments, ranks=None):
        """A training run in a fresh directory, which is returned."""
        cls.runs += 1
        run_dir = cls.scratch / f"run-{cls.runs}"
        cls.must("train", dataset, "--run-dir", run_dir, *arguments, ranks=ranks)
        return run_dir


def add_edge_weights(dataset, weights, place="top", name="weight", file="weights.npy"):
    """Writes the weights of a generated dataset's edges and names them in its metadata: at the top, or in its graph."""
    np.save(dataset / file, weights)
    path = dataset / "metadata.yaml"
    text = path.read_text(encoding="utf-8")
    entry = f"- {{domain: edge, type: null, name: {name}, format: numpy, path: {file}}}\n"
    if place == "top":
        text = text.replace("\nfeature_data:\n", f"\nfeature_data:\n  {entry}")
    else:
        text = text.replace("\nfeature_data:\n", f"\n  feature_data:\n    {entry}feature_data:\n")
    path.write_text(text, encoding="utf-8")


def events(run_dir, name):
    """The events of one kind, in order."""
    with open(run_dir / "events.jsonl", encoding="utf-8") as lines:
        return [event for event in map(json.loads, lines) if event["event"] == name]


def losses(run_dir):
    """The loss of every step."""
    return [event["loss"] for event in events(run_dir, "step")]


def tensors(path):
    """The fp32 tensors of a safetensors file, by name."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return {name: np.frombuffer(content[8 + length + entry["data_offsets"][0] : 8 + length + entry["data_offsets"][1]],
                                dtype=np.float32).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def children(pid):
    """Process ids of the children of a process."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return sorted(found)


def is_gsplit(pid):
    """Whether the process runs the executable under test."""
    try:
        return os.path.samefile(f"/proc/{pid}/exe", GSPLIT)
    except OSError:
        return False
