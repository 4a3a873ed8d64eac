#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets' corpora: small valid inputs, and inputs wrong in one way each.

Files that fuzzing found (found-*) are left alone. Needs NumPy and the gsplit executable, which GSPLIT names.
    GSPLIT=build/release/gsplit tests/fuzz/make_corpus.py
"""

import ctypes
import gzip
import io
import json
import os
import pathlib
import subprocess
import tempfile
import zipfile

import numpy as np

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
GSPLIT = os.environ.get("GSPLIT", "build/release/gsplit")


def write(target, name, content):
    """One seed."""
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content.encode() if isinstance(content, str) else content)


def npy(array, version=None):
    """The bytes of a .npy file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), version=version)
    return out.getvalue()


def files(contents):
    """Several files as one input."""
    return b"".join(b"==> " + name.encode() + b" <==\n" + content + b"\n" for name, content in contents.items())


def zstd(data):
    """A frame of the system's libzstd."""
    library = ctypes.CDLL("libzstd.so.1")
    packed = ctypes.create_string_buffer(len(data) + 1024)
    library.ZSTD_compress.restype = ctypes.c_size_t
    size = library.ZSTD_compress(packed, ctypes.c_size_t(len(packed)), data, ctypes.c_size_t(len(data)), 3)
    return packed.raw[:size]


def make_npy():
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        write("npy", code, npy(np.arange(6).reshape(2, 3).astype(code)))
    plain = npy(np.arange(3.0))
    for name, content in {
        "version-2": npy(np.arange(3.0), (2, 0)),
        "version-3": npy(np.arange(3.0), (3, 0)),
        "scalar": npy(np.float32(1)),
        "empty": npy(np.zeros((0, 7))),
        "fortran": npy(np.asfortranarray(np.ones((2, 3)))),
        "big-endian": npy(np.arange(3, dtype=">i4")),
        "structured": npy(np.zeros(2, dtype=[("a", "i4")])),
        "complex": npy(np.ones(2, complex)),
        "truncated": plain[:-3],
        "too-long": plain + b"1",
        "header-cut": plain[:30],
        "huge-shape": plain.replace(b"(3,), }   ", b"(4294967296, 4294967296), }")[:200],
        "many-dimensions": b"\x93NUMPY\x02\0\xff\x0f\0\0{'descr': '<f4', 'fortran_order': False, 'shape': ("
                           + b"1, " * 1340 + b")}\n",
    }.items():
        write("npy", name, content)


def npz(compression, **arrays):
    """A zip of arrays, without times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(name + ".npy"), npy(array), compress_type=compression)
    return out.getvalue()


def make_npz():
    edges = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])
    stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    good = npz(deflated, x=np.ones((4, 2), np.float32), edge_index=edges, edge_weight=np.ones(4))
    for name, content in {
        "stored": npz(stored, x=np.ones((4, 2), np.float32)),
        "deflated": good,
        "labels": npz(stored, x=np.array([0, 1, 2, -1])),
        "label-rows": npz(stored, x=np.eye(3, dtype=np.uint8)),
        "mask": npz(stored, x=np.array([True, False])),
        "wide": npz(deflated, x=np.ones((2, 3), np.float64)),
        "edges": npz(stored, edge_index=edges),
        "csr": npz(stored, adj_indptr=np.array([0, 1, 3, 4]), adj_indices=np.array([1, 0, 2, 1])),
        "bomb": npz(deflated, x=np.zeros((1000, 100), np.uint8)),
        "bzip2": npz(zipfile.ZIP_BZIP2, x=np.ones((4, 2), np.float32)),
        "lzma": npz(zipfile.ZIP_LZMA, x=np.ones((4, 2), np.float32)),
        "truncated": good[:-20],
        "nan": npz(stored, x=np.array([[np.nan]], np.float16)),
    }.items():
        write("npz", name, content)


def make_text():
    text = b"0 1\n1 2\n2 0\n"
    for name, content in {
        "plain": text,
        "gzip": gzip.compress(text, mtime=0),
        "gzip-members": gzip.compress(text, mtime=0) * 2,
        "gzip-long": gzip.compress(b"1 2\n" * 20000, mtime=0),
        "gzip-truncated": gzip.compress(text, mtime=0)[:-9],
        "gzip-and-more": gzip.compress(text, mtime=0) + b"0 1\n",
        "zstd": zstd(text),
        "zstd-frames": zstd(text) * 2,
        "zstd-long": zstd(b"1 2\n" * 20000),
        "zstd-truncated": zstd(text)[:-3],
        "zstd-skippable": b"\x50\x2a\x4d\x18\x02\0\0\0xx" + zstd(text),
        "empty": b"",
    }.items():
        write("byte_source", name, content)
    for name, content in {
        "tabs": "0\t1\n1\t2\n", "commas": "0,1\n1,2\n", "weights": "0 1 0.5\n1 2 1e-3\n", "comments": "# a\n% b\n\n0 1\n",
        "no-last-break": "0 1\n1 2", "windows": "0 1\r\n1 2\r\n", "one-column": "0\n", "mixed": "0 1\n1 2 3\n",
        "four": "0 1 2 3\n", "negative": "-1 2\n", "large": "9223372036854775807 0\n", "larger": "99999999999999999999 0\n",
        "nan": "0 1 nan\n", "infinite": "0 1 1e999\n", "negative-weight": "0 1 -1\n", "leading-blanks": "  0  1  \n",
        "gzip": gzip.compress(text, mtime=0), "zstd": zstd(text), "nul": "0 1\0\n",
    }.items():
        content = content.encode() if isinstance(content, str) else content
        write("text_edges", "snap-" + name, b"s" + content)
        write("text_edges", "ogb-" + name, b"o" + content)
    count, nodes, labels, features = 0, 64, 128, 192
    for name, (what, rows, content) in {
        "count": (count, 0, "3\n"), "counts": (count, 0, "3\n3\n"), "no-count": (count, 0, "x\n"),
        "nodes": (nodes, 4, "0\n1\n3\n"), "node-twice": (nodes, 4, "1\n1\n"), "node-out-of-range": (nodes, 4, "4\n"),
        "labels": (labels, 4, "0\n1\n\n2\n"), "label-rows": (labels, 2, "1,0,1\n,nan,0\n"), "label-of-two": (labels, 1, "0,2\n"),
        "features": (features, 4, "0.5,1e3\n1,2\n-3,4.25\n0,0\n"), "short-row": (features, 2, "0.5,1\n1\n"),
        "long-row": (features, 2, "1\n1,2\n"), "few-rows": (features, 8, "1\n2\n"), "many-rows": (features, 1, "1\n2\n"),
        "quotes": (features, 1, '"1"\n'), "windows": (features, 2, "1,2\r\n3,4\r\n"), "infinite": (features, 1, "inf\n"),
        "subnormal": (features, 1, "1e-320\n"), "no-nodes": (features, 0, "1\n"), "empty": (features, 0, ""),
        "gzip": (labels, 3, gzip.compress(b"1\n2\n0\n", mtime=0)),
    }.items():
        content = content.encode() if isinstance(content, str) else content
        write("csv_table", name, bytes([what + rows]) + content)


def make_datasets(work):
    def dataset(name, **changes):
        folder = work / name
        subprocess.run([GSPLIT, "generate", "--kind", "sbm", "--nodes", "12", "--degree", "2", "--features", "2", "--classes",
                        "2", "--out", folder], check=True, stdout=subprocess.DEVNULL)
        for file, change in changes.items():
            path = folder / file.replace("_npy", ".npy").replace("_yaml", ".yaml")
            path.write_bytes(change(path.read_bytes() if path.exists() else b""))
        names = ["metadata.yaml", "edges.npy", "feat.npy", "train_seeds.npy", "train_labels.npy", "valid_seeds.npy",
                 "valid_labels.npy", "weights.npy"]
        return files({n: (folder / n).read_bytes() for n in names if (folder / n).exists()})

    def changed(change):
        return lambda content: npy(change(np.load(io.BytesIO(content))))

    def replaced(old, new):
        return lambda content: content.replace(old, new)

    no_test = replaced(b"    test_set", b"    no_test_set")
    weighted = replaced(b"\nfeature_data:\n", b"\nfeature_data:\n  - {domain: edge, name: weight, format: numpy, path: weights.npy}\n")
    count = len(dataset("plain", metadata_yaml=no_test)) and np.load(work / "plain" / "edges.npy").shape[1]
    write("dataset", "plain", dataset("a", metadata_yaml=no_test))
    write("dataset", "weighted", dataset("b", metadata_yaml=lambda c: weighted(no_test(c)), weights_npy=lambda _: npy(np.ones(count))))
    rows = changed(lambda a: np.eye(2, dtype=np.uint8)[a])
    write("dataset", "multi-label", dataset("c", metadata_yaml=no_test, train_labels_npy=rows, valid_labels_npy=rows))
    write("dataset", "halves", dataset("d", metadata_yaml=no_test, feat_npy=changed(lambda a: a.astype(np.float16))))
    write("dataset", "column-labels", dataset("e", metadata_yaml=no_test, train_labels_npy=changed(lambda a: a[:, None] * 1.0)))
    write("dataset", "node-out-of-range", dataset("f", metadata_yaml=no_test, edges_npy=changed(lambda a: a + 1)))
    write("dataset", "label-out-of-range", dataset("g", metadata_yaml=no_test, train_labels_npy=changed(lambda a: a + 2)))
    write("dataset", "few-features", dataset("h", metadata_yaml=no_test, feat_npy=changed(lambda a: a[:-1])))
    text = (work / "a" / "metadata.yaml").read_text(encoding="utf-8")
    for name, content in {
        "plain": text,
        "weighted": weighted(text.encode()),
        "flow": "{graph: {nodes: [{num: 3}], edges: [{format: csv, path: e.csv}]}, feature_data: [{domain: node, name: feat, "
                "format: numpy, path: f.npy}], tasks: [{num_classes: 2, train_set: [{data: [{name: seeds, format: numpy, path: a}, "
                "{name: labels, format: numpy, path: b}]}]}]}",
        "torch": text.replace("numpy", "torch"), "typed": text.replace("num: 12", "num: 12, type: paper"),
        "no-nodes": text.replace("num: 12", "num: 0"), "many-nodes": text.replace("num: 12", "num: 99999999999999999999"),
        "anchors": "a: &a [1, 2]\ngraph: *a\n", "itself": "graph: &g {nodes: *g}\n", "deep": "graph: " + "[" * 300,
        "cut": text[:150], "list": "- 1\n- 2\n", "empty": "", "tabs": "graph:\n\t- 1\n", "binary": b"\xff\xfe\0g\0r\0",
    }.items():
        write("dataset_description", name, content)


def make_runs(work):
    for parts in (1, 2):
        partition = work / f"parts-{parts}"
        subprocess.run([GSPLIT, "partition", work / "a", "--parts", str(parts), "--method", "range", "--out", partition],
                       check=True, stdout=subprocess.DEVNULL)
        content = {n: (partition / n).read_bytes() for n in ("partition.json", "train_seeds.npy")}
        content.update({p.name: p.read_bytes() for p in sorted((partition / "part-0").iterdir())})
        write("shard", f"parts-{parts}", files(content))
    info = json.loads(content["partition.json"])
    for name, change in {
        "negative-count": {"num_nodes": -1}, "fraction": {"num_parts": 1.5}, "no-bounds": {"bounds": []},
        "other-version": {"format_version": [[1]]}, "multi-label": {"task": "multi-label"}, "word": {"num_edges": "many"},
        "weights": {"edge_weights": True}, "huge": {"bounds": [0, 2**64 - 1]}, "falling": {"bounds": [0, 8, 4]},
    }.items():
        write("shard", name, files({**content, "partition.json": json.dumps({**info, **change}).encode()}))
    far = npy(np.load(io.BytesIO(content["indices.npy"])) + 12)
    write("shard", "neighbor-out-of-range", files({**content, "indices.npy": far}))
    write("shard", "class-out-of-range", files({**content, "labels.npy": npy(np.load(io.BytesIO(content["labels.npy"])) + 9)}))
    run = work / "run"
    subprocess.run([GSPLIT, "train", work / "a", "--run-dir", run, "--fanout", "2", "--hidden", "2", "--epochs", "2",
                    "--batch-size", "2", "--checkpoint-every-steps", "1", "--workers", "1", "--threads", "1"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "GSPLIT_CACHE": str(work / "cache")})
    make_checkpoints(run)


def safetensors(header, data=b""):
    """A file of this header, which may be wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def make_checkpoints(run):
    step = max((run / "checkpoints").glob("step-*"))
    manifest, model = (step / "manifest.json").read_bytes(), (step / "model.safetensors").read_bytes()
    slim = json.loads(manifest)
    slim["files"] = {"model.safetensors": {"bytes": 0, "sha256": ""}}
    for name, change in {
        "plain": {}, "deep": {"state": json.loads("[" * 90 + "]" * 90)}, "negative-step": {"step": -1}, "fraction": {"epoch": 0.5},
        "no-files": {"files": {}}, "list-of-files": {"files": [1]}, "outside": {"files": {"../x": {"bytes": 1, "sha256": ""}}},
        "parent": {"files": {"..": {"bytes": 1, "sha256": ""}}}, "config-is-number": {"config": 3}, "config-is-no-yaml": {"config": "{["},
        "long-name": {"files": {"x" * 300: {"bytes": 1, "sha256": ""}}}, "no-state": {"state": None}, "version": {"format_version": "1"},
    }.items():
        write("checkpoint", name, files({"manifest.json": json.dumps({**slim, **change}).encode(), "model.safetensors": model}))
    write("checkpoint", "too-deep", files({"manifest.json": b'{"format_version": 1, "state": ' + b"[" * 6000, "model.safetensors": model}))
    write("safetensors", "model", model)
    w, b = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, {"dtype": "F64", "shape": [2], "data_offsets": [24, 40]}
    for name, content in {
        "small": safetensors({"w": w, "b": b, "__metadata__": {"a": "b"}}, bytes(40)),
        "unaligned": safetensors(json.dumps({"w": w, "b": b}).encode() + b" ", bytes(40)),
        "overlap": safetensors({"w": w, "b": {**b, "data_offsets": [8, 24]}}, bytes(40)),
        "hole": safetensors({"w": w, "b": {**b, "data_offsets": [32, 48]}}, bytes(48)),
        "trailing": safetensors({"w": w, "b": b}, bytes(50)), "cut": safetensors({"w": w, "b": b}, bytes(30)),
        "negative": safetensors({"w": {**w, "shape": [-2, -3]}}, bytes(24)), "fraction": safetensors({"w": {**w, "shape": [1e300, 3]}}, bytes(24)),
        "overflow": safetensors({"w": {**w, "shape": [2**62, 2**62]}}, bytes(24)), "empty": safetensors({}), "list": safetensors([]),
        "bf16": safetensors({"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}, bytes(12)),
        "no-elements": safetensors({"w": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
        "long-header": (2**63).to_bytes(8, "little"), "deep": safetensors(b'{"w": ' + b"[" * 3000),
    }.items():
        write("safetensors", name, content)
    events = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    write("events", "run", "\x01" + "\n".join(events[:8]) + "\n")
    for name, content in {
        "cut": '\x02{"event": "step", "step": 1}\n{"event": "st', "number": '\x01{"event": 3}\n', "word": '\x01{"event": "step", "step": "x"}\n',
        "negative": '\x01{"event": "step", "step": -1}\n', "fraction": '\x01{"event": "step", "step": 1e300}\n', "list": "\x01[1]\n[\n\n",
        "path": '\x01{"event": "checkpoint", "path": []}\n', "end": '\x09{"event": "run_end"}\n', "empty": "\x01",
    }.items():
        write("events", name, content)
    write_report(run)
    write("run_config", "run", (run / "config.yaml").read_bytes())
    for name, content in {
        "small": "fanout: 2,2\nhidden: 4\n", "underscores": "batch_size: 4\n", "list": "- a\n", "nested": "fanout: [2, 2]\n", "null": "fanout: ~\n",
        "infinite": "fanout: 2\nlr: .inf\n", "large": "fanout: 2\nhidden: 99999999999999999999\n", "word": "fanout: 2\nhidden: many\n",
        "complex-key": "? [a]\n: b\n", "deep": "a: " + "{b: " * 400, "anchors": "a: &a 1\nb: *a\n", "empty": "", "twice": "hidden: 1\nhidden: 2\n",
    }.items():
        write("run_config", name, content)


def write_report(run):
    """What gsplit report reads: a run's events, and such as no run writes."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    write("report", "run", "\n".join(lines[:4] + lines[-3:]) + "\n")
    for name, content in {
        "markup": '{"event":"run_start","dataset":"<img src=x onerror=1>","config":"mode: </script><script>\\n"}\n',
        "workers": '{"event":"step","step":1,"workers":{"steps":2,"edges":[1,"x"],"seeds":{},"peak_rss_bytes":[1e308,null,3]}}\n',
        "layers": '{"event":"step","shuffle_layers":[{"route":[],"bytes":1},null,{"route":"\\u0000\\ud800","bytes":-1e308}]}\n',
        "clocks": '{"event":"run_start","time":1e300}\n{"event":"step","time":-1e300,"loss":1e308}\n{"event":"epoch","time":1e9,"epoch":-1}\n',
        "end": '{"event":"run_end","status":"<b>","reason":7,"test_acc":1e308}\n{"event":"resume","step":1e30,"versions":[]}\n', "cut": '{"event":"step"',
        "config": '{"event":"run_start","config":"a: 1\\n b: 2\\n\\n: \\n#c: 3\\nd:\\ne: \\"x\\""}\n', "empty": "",
    }.items():
        write("report", name, content)


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number % 128 + 128]), number >> 7
    return out + bytes([number])


def field(number, value):
    """Of a protobuf message: a whole number, or bytes."""
    if isinstance(value, int):
        return varint(8 * number) + varint(value)
    return varint(8 * number + 2) + varint(len(value)) + value


def message(kind, *fields):
    """As messages_fuzz.cc reads it."""
    body = b"".join(field(number, value) for number, value in fields)
    return bytes([kind]) + len(body).to_bytes(2, "little") + body


def make_messages():
    """Those of coordinator.proto."""
    attend = [message(0, (1, rank), (2, 7 + rank), (3, b"host")) for rank in range(3)]
    seeds = np.arange(6, dtype="<u8").tobytes()
    opened = message(4, (1, 7), (3, 6), (4, seeds), (5, bytes([0, 2, 4, 6])), (7, 4), (8, 1), (11, 1), (12, b"f"))
    join = [message(1, (1, rank), (2, 3), (3, b"0.1.0"), (4, b"host"), (5, b"cpu"), (6, b"f"), (7, 7 + rank)) for rank in range(3)]
    beat = message(2, (1, 1), (2, 6), (3, 5), (4, 100), (5, 1 << 30), (6, b"host"), (7, 8), (9, 3))
    plans = message(5, (1, 0), (2, 1), (3, 1 << 60))
    failure = field(1, 2) + field(2, b"host") + field(3, 5) + field(4, 9) + field(5, b"it broke; mend it") + field(6, 3)
    job = b"".join(attend) + opened + b"".join(join) + beat + plans
    for name, content in {
        "job": job, "failed": job + message(3, (1, 1), (2, failure)), "missing": job + message(3, (1, 0), (4, b"did not come")),
        "stopped": job + message(7) + plans, "finished": job + message(3, (1, 0), (3, 1)), "answers": message(6, (2, failure), (3, field(1, b"a\nb"))),
        "strangers": message(0, (1, 2**32 - 1)) + message(2, (1, 99), (2, 77)) + message(1, (1, 3), (2, 4)), "empty": b"",
        "two-of-a-rank": attend[0] + message(1, (1, 0), (2, 3), (3, b"0.1.0"), (7, 99)), "no-job": message(4, (2, 2**64 - 1), (3, 2**40), (4, seeds)),
        "unknown-host": message(3, (1, 0), (2, field(1, 1) + field(5, b"gone"))), "cut": job[:-3], "steps": beat + message(2, (1, 2), (3, 2**64 - 1), (7, 9)),
    }.items():
        write("messages", name, content)


def make_credentials(work):
    """Of gsplit coordinator --make-credentials."""
    subprocess.run([GSPLIT, "coordinator", "--make-credentials", work / "made"], check=True, stdout=subprocess.DEVNULL)
    made = {name: (work / "made" / name).read_bytes() for name in ("cert.pem", "key.pem", "token")}
    card = b"127.0.0.1:4711,10.0.0.1:4711\n" + made["token"] + made["cert.pem"]
    for name, content in {
        "made": {**made, "card": card}, "no-key": {**made, "key.pem": b""}, "cut": {**made, "cert.pem": made["cert.pem"][:300], "card": card[:90]},
        "swapped": {"cert.pem": made["key.pem"], "key.pem": made["cert.pem"], "token": made["cert.pem"]}, "short-token": {**made, "token": b"abc"},
        "two-words": {**made, "token": b"a" * 40 + b" " + b"b" * 40}, "encrypted": {**made, "key.pem": made["key.pem"].replace(b"PRIVATE", b"ENCRYPTED PRIVATE")},
        "no-lines": {"card": b"127.0.0.1:4711"}, "blank": {"card": b"\n\n\n", "token": b"\n"},
    }.items():
        write("credentials", name, files(content))


def main():
    for old in CORPUS.glob("*/*"):
        if not old.name.startswith("found-"):
            old.unlink()
    make_npy()
    make_npz()
    make_text()
    make_messages()
    with tempfile.TemporaryDirectory() as work:
        make_datasets(pathlib.Path(work))
        make_runs(pathlib.Path(work))
        make_credentials(pathlib.Path(work))
    print(sum(path.stat().st_size for path in CORPUS.glob("*/*")), "bytes in", len(list(CORPUS.glob("*/*"))), "files")


if __name__ == "__main__":
    main()
