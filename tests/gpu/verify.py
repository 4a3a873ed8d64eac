"""What verify.sh runs: steps, each with a time limit, whose results go into one JSON file.

A step returns what it found and raises Failed where something is wrong. One that fails hides no other. Times are measured by the
steps at the end, which have the machine to themselves; the ones before run side by side.
"""

import argparse
import concurrent.futures
import csv
import io
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUNDLE = pathlib.Path(__file__).resolve().parents[2]
GSPLIT = BUNDLE / "bin" / "gsplit"
MPIRUN = BUNDLE / "bin" / "mpirun"
TESTS = BUNDLE / "libexec" / "tests"
BENCH = BUNDLE / "libexec" / "bench"

# Ranks that share a GPU look to NCCL like hosts of their own, and what they exchange goes by TCP: right or wrong, never fast.
SHARED_GPU = {"GSPLIT_SHARE_GPUS": "1", "NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "lo", "NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1",
              "NCCL_NVLS_ENABLE": "0", "NCCL_CUMEM_ENABLE": "0", "NCCL_PROTO": "Simple", "NCCL_P2P_LL_THRESHOLD": "0", "NCCL_MAX_CTAS": "4",
              "NCCL_RAS_ENABLE": "0"}
SMALL = ["--fanout", "4,3", "--hidden", "24", "--batch-size", "200", "--eval-every", "0", "--max-steps", "10"]
DROPOUT = ["--dropout", "0.5", "--input-dropout", "0.2"]
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-3}  # of losses over the first 10 steps, relative


class Failed(Exception):
    """What is wrong, in words; `found` says the rest."""

    def __init__(self, message, found=None):
        super().__init__(message)
        self.found = found


class Verification:
    """The steps and where they work."""

    def __init__(self, arguments, scratch):
        self.arguments = arguments
        self.scratch = scratch
        self.out = arguments.out
        self.rehearsal = arguments.rehearse
        self.generating = threading.Lock()

    # --- what the steps use ---

    def run(self, command, name, seconds, environment=None):
        """The output of a program that must succeed; that of one that fails is kept in DIR/NAME.txt."""
        done = self.try_run(command, seconds, environment)
        if done.returncode != 0:
            self.keep(name, done.stdout)
            raise Failed(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {last_lines(done.stdout)}")
        return done.stdout

    def try_run(self, command, seconds, environment=None):
        full = {**os.environ, "GSPLIT_CACHE": str(self.scratch / "cache"), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "OMP_WAIT_POLICY": "passive", **(environment or {})}
        try:
            return subprocess.run([str(part) for part in command], env=full, timeout=seconds, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{pathlib.Path(command[0]).name} took more than {seconds} s: {last_lines((error.stdout or b'').decode())}") from error

    def keep(self, name, text):
        (self.out / f"{name}.txt").write_text(text, encoding="utf-8")

    def train(self, dataset, *flags, ranks=None, seconds=120, environment=None):
        """The events of a training run, over processes where `ranks` is given."""
        run_dir = self.scratch / f"run-{time.monotonic_ns()}"
        command = [GSPLIT, "train", dataset, "--run-dir", run_dir, *flags]
        if ranks:
            each = 'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec "$@"'
            command = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-n", ranks, "sh", "-c", each, "sh", *command]
        self.run(command, run_dir.name, seconds, {**(SHARED_GPU if ranks else {}), **(environment or {})})
        with open(run_dir / "events.jsonl", encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        shutil.rmtree(run_dir)
        return events

    def losses(self, *arguments, **options):
        return [event["loss"] for event in self.train(*arguments, **options) if event["event"] == "step"]

    def generate(self, name, nodes, degree, features, classes):
        path = self.scratch / name
        with self.generating:
            if not path.exists():
                self.run([GSPLIT, "generate", "--kind", "sbm", "--nodes", nodes, "--degree", degree, "--features", features, "--classes",
                          classes, "--out", path], name, 200)
        return path

    # --- the steps ---

    def machine(self):
        """What this machine is."""
        doctor = json.loads(self.run([GSPLIT, "doctor", "--json"], "doctor", 60))
        smi = self.try_run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit",
                            "--format=csv,noheader"], 30).stdout.strip() if shutil.which("nvidia-smi") else ""
        if not doctor["gpus"]:
            raise Failed("gsplit doctor finds no GPU", doctor)
        return {"doctor": doctor, "nvidia_smi": smi, "cpu": platform.processor(), "cores": os.cpu_count(), "kernel": platform.release(),
                "gsplit": self.run([GSPLIT, "--version"], "version", 30).strip()}

    def tests(self):
        """The unit tests of device code: every op against double precision, products, streams, whole models, cuSPARSE, NCCL."""
        programs = sorted(TESTS.iterdir())
        with concurrent.futures.ThreadPoolExecutor(len(programs)) as pool:
            found = dict(zip([program.name for program in programs], pool.map(self.test_program, programs)))
        failed = [f"{name}: {test}" for name, result in found.items() for test in result["failed"]]
        if failed:
            raise Failed(", ".join(failed), found)
        return found

    def test_program(self, program):
        report = self.scratch / f"{program.name}.json"
        start = time.monotonic()
        done = self.try_run([program, f"--gtest_output=json:{report}"], 240)
        found = read_test_report(report) if report.exists() else {"passed": 0, "skipped": 0, "failed": [f"ended with {done.returncode}"]}
        if found["failed"]:
            self.keep(program.name, done.stdout)
        return {**found, "seconds": round(time.monotonic() - start, 1)}

    def sanitizer(self, tool, program, tests, *flags):
        """compute-sanitizer on some of the tests: no finding."""
        checker = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not pathlib.Path(checker).exists():
            raise Failed("compute-sanitizer is not installed")
        name = f"{tool}-{program}"
        done = self.try_run([checker, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", *flags, TESTS / program,
                             f"--gtest_filter={tests}"], self.arguments.sanitizer_seconds)
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", done.stdout)
        ran = re.findall(r"\[  PASSED  \] (\d+) test", done.stdout)
        if done.returncode != 0 or not ran or not summary:
            self.keep(name, done.stdout)
            raise Failed(f"{tool} of {program} ended with {done.returncode}: {summary or last_lines(done.stdout)}")
        return {"tests": int(ran[0]), "summary": summary[-1]}

    def curves(self):
        """Losses of the first 10 steps on the GPU against the CPU's, from the same weights."""
        dataset = self.generate("graph", 1200, 10, 16, 5)
        cases = [(model, precision, extra) for model in ("sage", "gcn", "gin", "gat") for precision in ("fp32", "bf16")
                 for extra in ([], DROPOUT, ["--norm", "layer", "--residual", "--optimizer", "sgd", "--clip-norm", "1"])]
        cases += [("gat", "fp32", ["--order", order, "--attn-dropout", "0.3"]) for order in ("transform", "aggregate")]
        cases += [(model, "fp32", ["--spmm", "cusparse"]) for model in ("sage", "gcn", "gin")]
        cases += [("sage", "fp32", [*DROPOUT, "--sampler", "labor"])]
        cases += [("sage", "fp32", ["--gpu-graph", graph, "--gpu-features", features]) for graph in ("pinned", "host") for features in ("pinned", "host")]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return collect(pool.map(lambda case: self.curve(dataset, *case), cases))

    def curve(self, dataset, model, precision, extra):
        flags = [*SMALL, "--workers", "1", "--threads", "2", "--model", model, "--precision", precision]
        common = [] if extra and extra[0] in ("--spmm", "--gpu-graph") else extra
        cpu = self.losses(dataset, "--device", "cpu", *flags, *common)
        cuda = self.losses(dataset, "--device", "cuda", *flags, *extra)
        return compare_curves(" ".join([model, precision, *extra]), cuda, cpu, TOLERANCE[precision])

    def shared_gpu(self):
        """2 and 4 ranks on one GPU by NCCL: the losses of one worker on the CPU."""
        dataset = self.generate("graph", 1200, 10, 16, 5)
        cases = [(model, ranks, extra) for ranks in (2, 4) for model in ("sage", "gcn", "gin", "gat") for extra in ([], ["--wire", "bf16"])]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            return collect(pool.map(lambda case: self.shared_curve(dataset, *case), cases))

    def shared_curve(self, dataset, model, ranks, extra):
        flags = [*SMALL, *DROPOUT, "--threads", "2", "--model", model]
        cpu = self.losses(dataset, "--device", "cpu", "--workers", "1", *flags)
        cuda = self.losses(dataset, "--device", "cuda", *flags, *extra, ranks=ranks)
        tolerance = TOLERANCE["bf16"] * 5 if extra else TOLERANCE["fp32"]
        return compare_curves(" ".join([model, f"{ranks} ranks", *extra]), cuda, cpu, tolerance)

    def blocks(self):
        """Blocks drawn on the GPU, line by line those of the CPU, by every sampler that needs no weights, one rank and two."""
        dataset = self.generate("graph", 1200, 10, 16, 5)
        found = {}
        for sampler in ("uniform", "labor"):
            dumps = []
            for flags, ranks in ((["--device", "cpu", "--workers", "1"], None), (["--device", "cuda", "--workers", "1"], None),
                                 (["--device", "cuda", "--workers", "1", "--gpu-graph", "pinned"], None), (["--device", "cuda"], 2)):
                dump = self.scratch / f"blocks-{sampler}-{len(dumps)}"
                self.train(dataset, *SMALL, "--sampler", sampler, *flags, "--dump-blocks", dump, ranks=ranks)
                dumps.append(dump.read_bytes())
            found[sampler] = len(dumps[0]) > 1000 and dumps == dumps[:1] * len(dumps)
        if not all(found.values()):
            raise Failed("blocks differ", found)
        return found

    def repeatable(self):
        """Two runs give the same bits."""
        dataset = self.generate("graph", 1200, 10, 16, 5)
        found = {}
        for flags in (["--model", "sage"], ["--model", "gcn", "--precision", "bf16"], ["--model", "sage", "--spmm", "cusparse"],
                      ["--model", "sage", "--matmul", "tf32"]):
            runs = [self.losses(dataset, "--device", "cuda", "--workers", "1", *SMALL, *DROPOUT, *flags) for _ in range(2)]
            found[" ".join(flags)] = runs[0] == runs[1]
        if not all(found.values()):
            raise Failed("runs differ: " + ", ".join(name for name, same in found.items() if not same), found)
        return found

    def spmm(self):
        """Aggregation by the own kernel against cuSPARSE's, and the copy bandwidth to hold them against."""
        lines = self.run([BENCH / "spmm", *(["16"] if self.rehearsal else [])], "spmm", 200).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def products(self):
        """The directory of a products-like graph."""
        if self.rehearsal:
            return self.generate("products", 4000, 20, 100, 47)
        return self.generate("products", 600000, 50, 100, 47)

    def steps(self):
        """Whole training steps on a products-like graph: batch 1024, fanout 15,10,5, hidden 256."""
        found = {}
        for name, flags in (("sage fp32", []), ("sage bf16", ["--precision", "bf16"]), ("sage tf32", ["--matmul", "tf32"]),
                            ("sage fp32 cusparse", ["--spmm", "cusparse"]), ("gcn fp32", ["--model", "gcn"]), ("gin fp32", ["--model", "gin"]), ("gat fp32", ["--model", "gat"]),
                            ("gat bf16", ["--model", "gat", "--precision", "bf16"]), ("gat fp32 transform first", ["--model", "gat", "--order", "transform"]),
                            ("sage fp32 labor", ["--sampler", "labor"]), ("sage fp32 features pinned", ["--gpu-features", "pinned"]),
                            ("sage fp32 graph and features pinned", ["--gpu-graph", "pinned", "--gpu-features", "pinned"]),
                            ("sage fp32 host samples and gathers", ["--gpu-graph", "host", "--gpu-features", "host"]),
                            ("sage fp32 cpu", ["--device", "cpu"]), ("gat fp32 cpu", ["--model", "gat", "--device", "cpu"])):
            device = [] if "--device" in flags else ["--device", "cuda"]
            count = "3" if self.rehearsal else "60"
            events = self.train(self.products(), "--workers", "1", "--eval-every", "0", "--max-steps", count, *device, *flags)
            found[name] = summarize_steps([event for event in events if event["event"] == "step"])
        return found

    def pyg(self):
        """PyG's forward, backward and Adam over the blocks that gsplit drew, with all its data on the GPU: a lower bound of its step."""
        script, weights, blocks = BUNDLE / "bench" / "peers" / "pyg_gpu.py", self.scratch / "init.safetensors", self.scratch / "blocks.txt"
        if self.try_run(["python3", "-c", "import torch_geometric, safetensors, yaml"], 60).returncode != 0:
            raise Failed("python3 has no torch_geometric, safetensors or yaml")
        self.run(["python3", script, self.products(), "--init", weights], "pyg-init", 90)
        ours = self.losses(self.products(), "--workers", "1", "--device", "cuda", "--eval-every", "0", "--max-steps", "4", "--dropout", "0",
                           "--init-from", weights, "--dump-blocks", blocks)
        found = {}
        for setting in ("example", "tuned"):
            for precision in ("fp32", "bf16"):
                line = self.run(["python3", script, self.products(), "--init", weights, "--blocks", blocks, "--setting", setting, "--precision",
                                 precision], f"pyg-{setting}-{precision}", 120).splitlines()[-1]
                found[f"{setting} {precision}"] = {**json.loads(line), "gsplit_losses": ours}
        for name, result in found.items():
            tolerance = 1e-3 if name.endswith("fp32") else 2e-2
            if not compare_curves(name, result["losses"], ours, tolerance)["ok"]:
                raise Failed(f"{name}: PyG's losses {result['losses']} are not gsplit's {ours}", found)
        return found

    def accuracy(self):
        """GCN on Cora, full neighbourhoods."""
        if self.arguments.cora is None:
            return "no --cora"
        events = self.train(self.arguments.cora, "--fanout", "-1,-1", "--normalize-features", "row", "--batch-size", "140", "--epochs", "200",
                            "--weight-decay", "5e-4", "--model", "gcn", "--hidden", "16", "--dropout", "0.5", "--input-dropout", "0.5", "--lr", "0.01",
                            "--workers", "1", "--threads", "2", "--device", "cuda")
        accuracy = [event for event in events if event["event"] == "run_end"][0]["test_acc"]
        if accuracy < 0.80:
            raise Failed(f"test accuracy {accuracy}")
        return accuracy

    def kernels(self):
        """Time and memory traffic of each kernel of some steps, by ncu."""
        if self.rehearsal:
            return {}
        return {precision: self.profile(["--precision", precision]) for precision in self.arguments.profile.split(",")}

    def profile(self, flags):
        metrics = "gpu__time_duration.sum,dram__bytes.sum,lts__t_bytes.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed"
        ncu = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
        log = self.scratch / "ncu.csv"
        run_dir = self.scratch / f"ncu-{time.monotonic_ns()}"
        self.run([ncu, "--csv", "--page", "raw", "--metrics", metrics, "--clock-control", "none", "--launch-skip", "300", "--launch-count", "150",
                  "--log-file", log, GSPLIT, "train", self.products(), "--run-dir", run_dir, "--workers", "1", "--eval-every", "0", "--max-steps",
                  "14", "--device", "cuda", *flags], "ncu", 120)
        return read_profile(log.read_text(encoding="utf-8"))


def last_lines(text):
    return " | ".join(text.strip().splitlines()[-3:])


def read_test_report(path):
    """Counts of a GoogleTest report, and the names of what failed."""
    tests = [test for suite in json.loads(path.read_text(encoding="utf-8"))["testsuites"] for test in suite["testsuite"]]
    skipped = [test for test in tests if test.get("result") == "SKIPPED"]
    failed = [f"{test['classname']}.{test['name']}" for test in tests if test.get("failures")]
    return {"passed": len(tests) - len(skipped) - len(failed), "skipped": len(skipped), "failed": failed}


def compare_curves(name, ours, theirs, tolerance):
    """The largest relative difference, and whether it is within the tolerance."""
    same_length = len(ours) == len(theirs) > 0
    difference = max(abs(a / b - 1) for a, b in zip(ours, theirs)) if same_length else float("inf")
    return {"name": name, "difference": difference, "tolerance": tolerance, "ok": difference <= tolerance}


def collect(curves):
    curves = list(curves)
    wrong = [f"{curve['name']}: {curve['difference']:.2g}" for curve in curves if not curve["ok"]]
    if wrong:
        raise Failed("; ".join(wrong), curves)
    return curves


def summarize_steps(steps):
    """Medians over the steps but the first ones; `step_s` is wall time from the end of one to the end of the next."""
    times = [b["time"] - a["time"] for a, b in zip(steps, steps[1:])]
    later = steps[len(steps) // 4 :]
    found = {key: statistics.median(step[key] for step in later) for key in ("sample_s", "load_s", "compute_s", "edges", "input_rows")}
    return {"step_s": statistics.median(times[len(steps) // 4 :]), **found, "last_loss": steps[-1]["loss"]}


def read_profile(text):
    """By kernel: launches, and the sum over them of microseconds, megabytes of DRAM and of L2."""
    rows = list(csv.DictReader(io.StringIO(text[text.index('"ID"') :])))
    units, launches = rows[0], rows[1:]
    scale = {"ns": 1e-3, "us": 1, "usecond": 1, "nsecond": 1e-3, "ms": 1e3, "byte": 1e-6, "Kbyte": 1e-3, "Mbyte": 1, "Gbyte": 1e3}
    kernels = {}
    for launch in launches:
        kernel = kernels.setdefault(launch["Kernel Name"][:90], {"launches": 0, "us": 0.0, "dram_mb": 0.0, "l2_mb": 0.0})
        kernel["launches"] += 1
        for key, metric in (("us", "gpu__time_duration.sum"), ("dram_mb", "dram__bytes.sum"), ("l2_mb", "lts__t_bytes.sum")):
            kernel[key] += float(launch[metric].replace(",", "")) * scale.get(units[metric], 1)
    return dict(sorted(kernels.items(), key=lambda item: -item[1]["us"]))


def parse_arguments():
    parser = argparse.ArgumentParser(description="verifies gsplit on the GPU of this machine")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("verification"))
    parser.add_argument("--only", default="", help="steps, with commas between")
    parser.add_argument("--cora", type=pathlib.Path, help="directory of the Cora dataset, for its known accuracy")
    parser.add_argument("--profile", default="fp32,bf16", help="precisions of the steps that ncu looks at")
    parser.add_argument("--rehearse", action="store_true", help="under gpu-on-cpu: no sanitizer, no profiler, sizes small")
    parser.add_argument("--sanitizer-seconds", type=int, default=150)
    return parser.parse_args()


def checked(verification):
    """Steps that may run side by side, by name."""
    steps = {"tests": verification.tests, "curves": verification.curves, "shared_gpu": verification.shared_gpu, "blocks": verification.blocks, "repeatable": verification.repeatable, "accuracy": verification.accuracy,
             "products": lambda: str(verification.products())}
    if not verification.rehearsal:
        for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
            steps[f"{tool}_conformance"] = lambda tool=tool: verification.sanitizer(tool, "cuda_conformance_test", "*")
        steps["memcheck_model"] = lambda: verification.sanitizer("memcheck", "cuda_model_test", "*")
        steps["memcheck_streams"] = lambda: verification.sanitizer("memcheck", "cuda_streams_test", "*")
    return steps


def timed(verification):
    """Steps that need the machine to themselves."""
    return {"spmm": verification.spmm, "steps": verification.steps, "kernels": verification.kernels, **({} if verification.rehearsal else {"pyg": verification.pyg})}


def carry_out(name, step):
    """The step's entry in the report; printed as well."""
    start = time.monotonic()
    entry = {"ok": True}
    try:
        entry["found"] = step()
    except Failed as failure:
        entry = {"ok": False, "problem": str(failure), "found": failure.found}
    except Exception:  # pylint: disable=broad-exception-caught
        entry = {"ok": False, "problem": traceback.format_exc(limit=3)}
    entry["seconds"] = round(time.monotonic() - start, 1)
    print(f"{'ok    ' if entry['ok'] else 'FAILED'} {name} ({entry['seconds']} s) {entry.get('problem', '')}", flush=True)
    return entry


def main():
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    only = set(filter(None, arguments.only.split(",")))
    with tempfile.TemporaryDirectory(prefix="gsplit-verify-") as scratch:
        verification = Verification(arguments, pathlib.Path(scratch))
        report = {"machine": carry_out("machine", verification.machine)}
        wanted = {name: step for name, step in checked(verification).items() if not only or name in only}
        with concurrent.futures.ThreadPoolExecutor(max(1, 2 if arguments.rehearse else len(wanted))) as pool:
            report.update(zip(wanted, pool.map(lambda name: carry_out(name, wanted[name]), wanted)))
        for name, step in timed(verification).items():
            if not only or name in only:
                report[name] = carry_out(name, step)
            (arguments.out / "verification.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    failed = [name for name, entry in report.items() if not entry["ok"]]
    print("verified" if not failed else f"FAILED: {', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
