#!/usr/bin/env python3
"""What is installed: by cmake --install, and with GSPLIT_FULL_TESTS=1 the Debian package in a bare Debian 12.

GSPLIT_CHROOT names a folder with a bare Debian (debootstrap --variant=minbase bookworm); it is changed. Otherwise one is made, which needs
root, a network and some minutes.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness

BUILD = pathlib.Path(harness.GSPLIT).resolve().parent
FULL = os.environ.get("GSPLIT_FULL_TESTS")
MIRROR = "http://deb.debian.org/debian"
SHARED = ["share/bash-completion/completions/gsplit", "share/zsh/vendor-completions/_gsplit", "share/fish/vendor_completions.d/gsplit.fish", "share/man/man1/gsplit.1",
          "share/doc/gsplit/copyright", "share/doc/gsplit/README.md", "share/doc/gsplit/docs/security.md"]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gsplit-package-"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch, ignore_errors=True)

    def test_runs_from_another_prefix(self):
        if not (BUILD / "cmake_install.cmake").exists():
            self.skipTest("the executable is not in a build folder of cmake")
        prefix = self.scratch / "prefix"
        run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "runtime")
        for name in SHARED:
            self.assertGreater((prefix / name).stat().st_size, 0, name)
        gsplit = prefix / "bin" / "gsplit"
        self.assertIn("gsplit ", run(gsplit, "--version"))
        # Nothing of the build folder is looked for.
        self.assertNotIn(str(BUILD), run("readelf", "-d", gsplit))
        if (BUILD / "libgsplit_cuda.so").exists():
            run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "cuda")
            environment = {name: value for name, value in os.environ.items() if name != "GSPLIT_CUDA_MODULE"}
            found = subprocess.run([gsplit, "doctor"], env=environment, text=True, capture_output=True, check=False)
            self.assertNotIn("libgsplit_cuda.so: cannot open", found.stdout)  # its own libraries may be missing


@unittest.skipUnless(FULL, "the package in a chroot: only with GSPLIT_FULL_TESTS=1")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = None
        for tool in ("debootstrap", "dpkg-shlibdeps", "chroot"):
            if shutil.which(tool) is None:
                raise unittest.SkipTest(f"{tool} is missing (Debian: debootstrap dpkg-dev)")
        if os.geteuid() != 0:
            raise unittest.SkipTest("a chroot needs root")
        cls.chroot = os.environ.get("GSPLIT_CHROOT")
        if cls.chroot is None:
            cls.made = cls.chroot = tempfile.mkdtemp(prefix="gsplit-chroot-", dir="/var/tmp")
            run("debootstrap", "--variant=minbase", "bookworm", cls.chroot, MIRROR)
        cls.chroot = pathlib.Path(cls.chroot)
        run("mount", "-t", "proc", "proc", cls.chroot / "proc")

    @classmethod
    def tearDownClass(cls):
        if isinstance(cls.chroot, pathlib.Path):
            run("umount", cls.chroot / "proc")
        if cls.made:
            run("rm", "-rf", "--one-file-system", cls.made)

    def inside(self, command):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C",
                       "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_plm": "isolated"}
        done = run("chroot", self.chroot, "sh", "-ec", command, env=environment)
        print(f"# {command}\n{done[-1500:]}")
        return done

    def test_installs_and_trains_in_a_bare_debian(self):
        run(harness.SOURCE / "deploy" / "package.sh")
        deb = next((BUILD / "packages").glob("gsplit_*.deb"))
        print(run("dpkg-deb", "--info", deb))
        shutil.copy(deb, self.chroot / "tmp" / "gsplit.deb")
        shutil.copy("/etc/resolv.conf", self.chroot / "etc" / "resolv.conf")
        self.inside("apt-get update -qq; apt-get install -y -qq --no-install-recommends /tmp/gsplit.deb openmpi-bin >/tmp/apt.log 2>&1; dpkg -s gsplit | grep Status")
        self.inside("gsplit --version; gsplit doctor || true")
        self.inside("cd /tmp; rm -rf graph run; gsplit generate --kind sbm --nodes 2000 --degree 10 --features 8 --classes 4 --out graph")
        log = self.inside("cd /tmp; mpirun --oversubscribe --bind-to none -n 2 gsplit train graph --run-dir run --epochs 3 --fanout 5,5 --hidden 16 "
                          "--batch-size 100")
        self.assertIn("done after", log)
        self.assertIn("_gsplit", self.inside("bash -c 'source /usr/share/bash-completion/completions/gsplit; complete -p gsplit'"))
        self.inside("apt-get remove -y -qq gsplit >/dev/null 2>&1; ! test -e /usr/bin/gsplit; ! test -e /usr/share/doc/gsplit")


if __name__ == "__main__":
    unittest.main()
