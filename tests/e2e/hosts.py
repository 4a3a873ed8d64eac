"""Several hosts on one machine: network namespaces around a switch, with a real sshd in each.

A host has its own network, name, /tmp and /dev/shm; it shares the rest of the files with this machine, as over NFS.
What is cut off the switch drops every packet and keeps its link, which is how a broken network looks.

Needs root, namespaces and Debian's openssh-server; missing() says what is not there.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

PROGRAMS = ("ip", "nsenter", "unshare", "mount", "ssh", "ssh-keygen", "/usr/sbin/sshd", "mpirun")
SSHD = """\
Port 22
ListenAddress {address}
HostKey {key}
AuthorizedKeysFile {key}.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
SetEnv OMP_WAIT_POLICY=passive
"""
SSH = """\
IdentityFile {key}
User root
BatchMode yes
ConnectTimeout 5
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
"""


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def missing():
    """Why there can be no hosts here; None where there can."""
    if os.geteuid() != 0:
        return "several hosts on one machine need root"
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"several hosts on one machine need {program}"
    if run("unshare", "--net", "--mount", "--uts", "true", check=False).returncode != 0:
        return "several hosts on one machine need namespaces, which this system does not grant"
    return None


class Host:
    """A name, an address, and a process that keeps the namespaces: its sshd."""

    def __init__(self, name, address, network, link):
        self.name, self.address, self.network, self.link = name, address, network, link
        self.sshd = None

    def enter(self):
        """What to put before a command to run it there."""
        return ["nsenter", "--target", str(self.sshd.pid), "--net", "--uts", "--mount", "--"]


class Hosts:
    """A few hosts, named h1, h2, ...; close() ends them and all that runs there."""

    def __init__(self, count, scratch=None, first="h"):
        # Not below /tmp, which each host has for itself.
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gsplit-hosts-", dir=scratch or "/var/tmp"))
        self.switch = f"gs{os.getpid()}x{time.monotonic_ns() % 10**6}"
        self.key = self.scratch / "key"
        self.ssh_config = self.scratch / "ssh_config"
        self.hosts = {}
        try:
            self.build([f"{first}{number}" for number in range(1, count + 1)])
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, name):
        return self.hosts[name]

    def names(self):
        return list(self.hosts)

    def build(self, names):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.ssh_config.write_text(SSH.format(key=self.key), encoding="utf-8")
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "bridge", "up")
        for number, name in enumerate(names, start=1):
            self.hosts[name] = Host(name, f"10.77.0.{number}", f"{self.switch}-{name}", f"port{number}")
        lines = [f"{host.address} {host.name}" for host in self.hosts.values()]
        (self.scratch / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n", encoding="utf-8")
        for host in self.hosts.values():
            self.plug_in(host)
            self.boot(host)
        for host in self.hosts.values():
            self.await_ssh(host)

    def plug_in(self, host):
        run("ip", "netns", "add", host.network)
        run("ip", "-n", self.switch, "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.network)
        run("ip", "-n", self.switch, "link", "set", host.link, "master", "bridge", "up")
        run("ip", "-n", host.network, "address", "add", f"{host.address}/24", "dev", "eth0")
        run("ip", "-n", host.network, "link", "set", "eth0", "up")
        run("ip", "-n", host.network, "link", "set", "lo", "up")

    def boot(self, host):
        config = self.scratch / f"sshd-{host.name}"
        config.write_text(SSHD.format(address=host.address, key=self.key), encoding="utf-8")
        # Not `ip netns exec`, which mounts /sys anew, and Slurm's daemon dies of that.
        script = (f"hostname {host.name} && mount --bind {self.scratch}/hosts /etc/hosts && "
                  f"mount -t tmpfs -o mode=1777 tmpfs /tmp && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && "
                  f"exec /usr/sbin/sshd -D -e -f {config}")
        with open(self.scratch / f"sshd-{host.name}.log", "wb") as log:
            host.sshd = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{host.network}", "unshare", "--uts", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def await_ssh(self, host):
        end = time.monotonic() + 10
        while run(*self.ssh(host.name), "true", check=False).returncode != 0:
            if time.monotonic() > end or host.sshd.poll() is not None:
                raise RuntimeError((self.scratch / f"sshd-{host.name}.log").read_text(encoding="utf-8"))
            time.sleep(0.05)

    def ssh(self, name):
        """A command line that opens a shell there, from the first host."""
        return [*next(iter(self.hosts.values())).enter(), "ssh", "-F", str(self.ssh_config), name]

    def on(self, name, *command, check=True, **options):
        """Runs a command there, without ssh."""
        return run(*self.hosts[name].enter(), *command, check=check, **options)

    def hostfile(self, slots=1, names=None):
        path = self.scratch / f"hostfile-{time.monotonic_ns()}"
        path.write_text("".join(f"{name} slots={slots}\n" for name in names or self.names()), encoding="utf-8")
        return path

    def mpirun(self, ranks, hostfile, exports=(), mca=()):
        """The launcher, as it is started on the first host."""
        words = ["mpirun", "--mca", "plm_rsh_args", f"-F {self.ssh_config}", "--hostfile", str(hostfile), "--bind-to", "none",
                 "--mca", "mpi_yield_when_idle", "1"]
        for name in exports:
            words += ["-x", name]
        return [*words, *mca, "-n", str(ranks)]

    def cut_off(self, name):
        run("ip", "-n", self.switch, "link", "set", self.hosts[name].link, "nomaster")

    def plug_in_again(self, name):
        run("ip", "-n", self.switch, "link", "set", self.hosts[name].link, "master", "bridge")

    def processes(self, name=None):
        """Ids of what runs on a host, or on all, but for the sshd that keeps it."""
        found = []
        networks = {os.stat(f"/run/netns/{host.network}").st_ino: host for host in self.hosts.values()
                    if os.path.exists(f"/run/netns/{host.network}") and name in (None, host.name)}
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                host = networks.get(os.stat(process / "ns" / "net").st_ino)
            except OSError:
                continue
            if host is not None and (host.sshd is None or int(process.name) != host.sshd.pid):
                found.append(int(process.name))
        return found

    def close(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for host in self.hosts.values():
            if host.sshd is not None:
                host.sshd.kill()
                host.sshd.wait()
            run("ip", "netns", "delete", host.network, check=False)
        run("ip", "netns", "delete", self.switch, check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)
