"""Slurm on the hosts of hosts.py: munged, slurmctld on the first host, slurmd on each."""

import os
import pathlib
import shutil
import subprocess
import time

import hosts

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged")
# cred_expire: a job that is queued again waits for as long as its credentials of before live, by default two minutes.
CONFIG = """\
ClusterName=gsplit
SlurmctldHost={first}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}/socket,cred_expire=5
CredType=cred/munge
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=1
SlurmctldPidFile={scratch}/slurmctld.pid
SlurmdPidFile={scratch}/slurmd-%n.pid
StateSaveLocation={scratch}/state
SlurmdSpoolDir={scratch}/spool-%n
SlurmctldLogFile={scratch}/slurmctld.log
SlurmdLogFile={scratch}/slurmd-%n.log
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why there can be no Slurm here; None where there can."""
    for program in PROGRAMS:
        if shutil.which(program) is None and not pathlib.Path("/usr/sbin", program).exists():
            return f"Slurm needs {program} (Debian: slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)"
    return hosts.missing()


class Slurm:
    """Daemons that end with close(), before that of the hosts."""

    def __init__(self, on_hosts, cpus=2):
        self.hosts, self.scratch = on_hosts, on_hosts.scratch / "slurm"
        self.config = self.scratch / "slurm.conf"
        self.daemons = []
        for folder in (self.scratch, self.scratch / "state", self.scratch / "munge"):
            folder.mkdir(mode=0o755)
        self.start_munge()
        nodes = "\n".join(f"NodeName={host.name} NodeAddr={host.address} CPUs={cpus} State=UNKNOWN" for host in on_hosts.hosts.values())
        self.config.write_text(CONFIG.format(first=on_hosts.names()[0], munge=self.scratch / "munge", scratch=self.scratch, nodes=nodes),
                               encoding="utf-8")
        (self.scratch / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n", encoding="utf-8")
        self.start(on_hosts.names()[0], "slurmctld", "-D", "-i", "-f", self.config)
        for name in on_hosts.names():
            self.start(name, "slurmd", "-D", "-N", name, "-f", self.config)
        self.await_nodes()

    def start_munge(self):
        munge = self.scratch / "munge"
        self.hosts.scratch.chmod(0o755)  # its user must get there
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o600)
        for path in (munge, munge / "key"):
            shutil.chown(path, "munge", "munge")
        # The folders above it are not its own, which it would refuse.
        self.daemons.append(subprocess.Popen(
            ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", "--force",
             f"--socket={munge}/socket", f"--key-file={munge}/key", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed",
             "--num-threads=2"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
        end = time.monotonic() + 10
        while not (munge / "socket").exists():
            if time.monotonic() > end:
                raise RuntimeError("munged does not start")
            time.sleep(0.05)

    def environment(self):
        return {**os.environ, "SLURM_CONF": str(self.config)}

    def start(self, name, *command):
        with open(self.scratch / f"{command[0]}-{name}.out", "wb") as out:
            self.daemons.append(subprocess.Popen([*self.hosts[name].enter(), *map(str, command)], env=self.environment(),
                                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True))

    def command(self, *words, check=True, **environment):
        """sbatch, scontrol and the like, on the first host."""
        return self.hosts.on(self.hosts.names()[0], *words, check=check, env={**self.environment(), **environment}).stdout

    def logs(self):
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.scratch.glob("*.log"))

    def await_nodes(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            states = self.command("sinfo", "--noheader", "--Node", "--format=%t", check=False).split()
            if len(states) == len(self.hosts.names()) and set(states) == {"idle"}:
                return
            time.sleep(0.2)
        raise RuntimeError(f"Slurm's nodes are {states}:\n{self.logs()}")

    def job(self, number):
        """What scontrol tells of a job."""
        words = self.command("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def close(self):
        for daemon in reversed(self.daemons):
            daemon.kill()
            daemon.wait()
