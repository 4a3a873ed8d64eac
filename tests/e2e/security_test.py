#!/usr/bin/env python3
"""Strangers at the coordinator's port, a coordinator of its own, and where secrets must not be.

GSPLIT_FULL_TESTS=1: also what becomes of a run whose gsplit coordinator ends.
"""

import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

import harness

CONNECTIONS = 10000
CALLERS = 4  # at once
MAX_STRANGERS = 64
PATIENCE = 5  # seconds until a stranger is put out
MIB = 1 << 20


def anybody():
    """TLS as a stranger does it: no certificate is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header without compression; both are shorter than 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def call_headers(method, token=None):
    headers = (literal(b":method", b"POST") + literal(b":scheme", b"https") + literal(b":path", b"/gsplit.v1.Coordinator/" + method)
               + literal(b":authority", b"x") + literal(b"te", b"trailers") + literal(b"content-type", b"application/grpc"))
    if token is not None:
        headers += literal(b"authorization", b"Bearer " + token)
    return frame(1, 4, 1, headers)


class Stranger:
    """A way to be a nuisance; all are short but for the ones that hold the connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.context = anybody()
        self.held = []

    def tcp(self):
        connection = socket.create_connection(self.address, timeout=10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
        return connection

    def tls(self):
        return self.context.wrap_socket(self.tcp())

    def come_and_go(self):
        self.tcp().close()

    def garbage(self):
        with self.tcp() as connection:
            connection.sendall(os.urandom(512))

    def plain_call(self):
        with self.tcp() as connection:
            connection.sendall(PREFACE + call_headers(b"Stop"))

    def flood(self):
        """More than any buffer takes, before the handshake."""
        with self.tcp() as connection:
            connection.setblocking(False)
            try:
                for _ in range(64):
                    connection.send(b"\x16\x03\x01\xff\xff" + bytes(1 << 16))
            except OSError:
                pass

    def hold(self):
        """Half open: neither speaks nor leaves."""
        self.held.append(self.tcp())
        if len(self.held) > 200:
            self.held.pop(0).close()

    def handshake(self):
        self.tls().close()

    def wrong_protocol(self):
        with self.tls() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

    def without_token(self):
        with self.tls() as connection:
            connection.sendall(PREFACE + call_headers(b"Stop") + frame(0, 1, 1, bytes(5)))

    def wrong_token(self):
        with self.tls() as connection:
            connection.sendall(PREFACE + call_headers(b"Stop", b"0" * 64) + frame(0, 1, 1, bytes(5)))

    def broken_frames(self):
        with self.tls() as connection:
            connection.sendall(PREFACE + frame(1, 4, 1, os.urandom(64)) + frame(9, 0, 3, bytes(100)))

    def kinds(self):
        cheap = [self.come_and_go, self.garbage, self.plain_call, self.hold, self.come_and_go, self.hold, self.garbage]
        return cheap * 2 + [self.flood, self.handshake, self.wrong_protocol, self.without_token, self.wrong_token, self.broken_frames]


def bother(address, connections):
    """So many bad connections; returns how many were made, and cut in the midst of it."""
    counts = {"made": 0, "cut": 0}
    lock = threading.Lock()

    def call(share):
        stranger = Stranger(address)
        kinds = stranger.kinds()
        cut = 0
        for i in range(share):
            try:
                kinds[i % len(kinds)]()
            except OSError:  # ssl.SSLError too: put out in the middle of it
                cut += 1
        for connection in stranger.held:
            connection.close()
        with lock:
            counts["made"] += share
            counts["cut"] += cut

    callers = [threading.Thread(target=call, args=(connections // CALLERS,)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return counts


def resident_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) << 10


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class SecurityTest(harness.Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runtime = cls.scratch / "runtime"
        cls.runtime.mkdir(mode=0o700)
        cls.dataset = cls.generate("graph", nodes=2000, degree=8, features=8, classes=4)
        cls.flags = ["--hidden", "8", "--fanout", "5,5", "--batch-size", "100", "--threads", "1", "--eval-every", "0", "--partition", "random"]

    @classmethod
    def environment(cls):
        return dict(super().environment(), XDG_RUNTIME_DIR=str(cls.runtime))

    def start(self, name, *arguments, ranks=2, command="train"):
        """A process in the background, its output in files."""
        run_dir = self.scratch / name
        out = open(self.scratch / f"{name}.out", "w", encoding="utf-8")
        err = open(self.scratch / f"{name}.err", "w", encoding="utf-8")
        line = [harness.GSPLIT, command]
        if command == "train":
            line += [str(self.dataset), "--run-dir", str(run_dir), *self.flags]
        line += map(str, arguments)
        if ranks is not None:
            line = [*harness.MPIRUN, str(ranks), *line]
        process = subprocess.Popen(line, env=self.environment(), stdout=out, stderr=err)
        out.close()
        err.close()
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.terminate()
            process.wait(30)

    def output(self, name):
        return "".join((self.scratch / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("out", "err"))

    def await_text(self, name, pattern, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, self.output(name))
            if found:
                return found
            time.sleep(0.02)
        self.fail(f"{pattern} is not in:\n{self.output(name)}")

    def await_steps(self, name, steps):
        run_dir = self.scratch / name
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (run_dir / "events.jsonl").exists() and len(harness.losses(run_dir)) >= steps:
                return
            time.sleep(0.05)
        self.fail(f"no {steps} steps:\n{self.output(name)}")

    def processes(self, launcher):
        """The launcher and the ranks, by rank."""
        ranks = {}
        for pid in harness.children(launcher.pid):
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            rank = [item for item in environment if item.startswith(b"OMPI_COMM_WORLD_RANK=")]
            if rank and harness.is_gsplit(pid):
                ranks[int(rank[0].split(b"=")[1])] = pid
        return ranks


class Strangers(SecurityTest):
    def assert_slow_ones_are_put_out(self, address):
        """Half open, at each stage; and one who sends a byte now and then."""
        stranger = Stranger(address)
        in_the_header = stranger.tls()
        in_the_header.sendall(PREFACE + call_headers(b"Stop")[:20])
        in_the_message = stranger.tls()
        in_the_message.sendall(PREFACE + call_headers(b"Stop") + frame(0, 0, 1, b"\0\0"))
        trickling = stranger.tcp()
        connections = [stranger.tcp(), stranger.tls(), in_the_header, in_the_message, trickling]
        begin = time.monotonic()
        for connection in connections:
            connection.settimeout(0.5)
            while self.is_open(connection):
                self.assertLess(time.monotonic() - begin, PATIENCE + 5)
                try:
                    trickling.send(b"\x16")
                except OSError:
                    pass
        for connection in connections:
            connection.close()
        print(f"slow ones are put out after {time.monotonic() - begin:.1f} s")

    @staticmethod
    def is_open(connection):
        try:
            return bool(connection.recv(4096))
        except (TimeoutError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False

    def test_a_run_goes_on_undisturbed(self):
        run = self.start("bothered", "--epochs", 1000000)
        address = self.await_text("bothered", r"coordinator: (\S+:\d+)")[1]
        self.await_steps("bothered", 5)
        server = self.processes(run)[0]

        bother(address, 600)  # what the server keeps for reuse it has by now
        time.sleep(0.3)
        memory, files = resident_bytes(server), descriptors(server)
        most_files = [files]
        watching = threading.Event()

        def watch():
            while not watching.wait(0.05):
                most_files[0] = max(most_files[0], descriptors(server))

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.monotonic()
        counts = bother(address, CONNECTIONS)
        seconds = time.monotonic() - begin
        watching.set()
        watcher.join()
        # While they come and afterwards the run's user gets through.
        self.assertIn("2 of 2 workers", self.must("status", address).stdout)
        end = time.monotonic() + PATIENCE + 3
        while descriptors(server) > files and time.monotonic() < end:
            time.sleep(0.1)
        grown = resident_bytes(server) - memory
        print(f"{counts['made']} bad connections in {seconds:.1f} s, {counts['cut']} cut; resident memory {memory / MIB:.1f} MiB "
              f"{grown / MIB:+.1f}; descriptors {files}, at most {most_files[0]}, then {descriptors(server)}")
        self.assertLessEqual(descriptors(server), files)
        # Two of each stranger's connection: the server's and the doorman's; some are about to be closed.
        self.assertLessEqual(most_files[0], files + 2 * MAX_STRANGERS + 64)
        self.assertLess(grown, 24 * MIB)

        self.assert_slow_ones_are_put_out(address)

        self.must("stop", address)
        run.wait(30)
        self.assertEqual(run.returncode, 130)
        self.assertNotIn("gsplit:", self.output("bothered"))
        bothered = harness.losses(self.scratch / "bothered")
        reference = self.scratch / "reference"
        self.must("train", self.dataset, "--run-dir", reference, *self.flags, "--max-steps", len(bothered), ranks=2)
        self.assertEqual(bothered, harness.losses(reference))
        print(f"{len(bothered)} steps with the losses of an undisturbed run")


class Secrets(SecurityTest):
    def test_are_nowhere_but_in_the_users_own_folder(self):
        run = self.start("secret", "--epochs", 1000000, "--checkpoint-every-steps", 5)
        address = self.await_text("secret", r"coordinator: (\S+:\d+)")[1]
        self.await_steps("secret", 12)
        folder = self.runtime / "gsplit"
        card = folder / address
        self.assertEqual((folder.stat().st_mode & 0o777, card.stat().st_mode & 0o777), (0o700, 0o600))
        token = card.read_text(encoding="utf-8").splitlines()[1].encode()
        self.assertEqual(len(token), 64)
        pids = [run.pid, *self.processes(run).values()]
        self.assertEqual(len(pids), 3)
        for pid in pids:
            for name in ("cmdline", "environ"):
                self.assertNotIn(token, pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
        self.assertNotIn("PRIVATE KEY", card.read_text(encoding="utf-8"))
        status = self.must("status", address, "--json").stdout
        self.must("stop", address)
        run.wait(30)
        self.assertFalse(card.exists())
        looked_at = 0
        for path in [*(self.scratch / "secret").rglob("*"), *(self.scratch / "cache").rglob("*"),
                     self.scratch / "secret.out", self.scratch / "secret.err"]:
            if path.is_file():
                content = path.read_bytes()
                self.assertNotIn(token, content, path)
                self.assertNotIn(b"PRIVATE KEY", content, path)
                looked_at += 1
        self.assertGreater(looked_at, 8)
        self.assertNotIn(token.decode(), status)


full = unittest.skipUnless(os.environ.get("GSPLIT_FULL_TESTS"), "only with GSPLIT_FULL_TESTS=1")


class OwnProcess(SecurityTest):
    """gsplit coordinator."""

    def credentials(self, name):
        folder = self.scratch / name
        self.must("coordinator", "--make-credentials", folder)
        return folder

    def refused(self, *arguments, code=2):
        done = self.gsplit(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.stderr

    def test_serves_a_run_by_files_and_ends_with_it(self):
        folder = self.credentials("made")
        coordinator = self.start("coordinator", "--workers", 2, "--listen", "0.0.0.0:0", "--tls-cert", folder / "cert.pem", "--tls-key",
                                 folder / "key.pem", "--token-file", folder / "token", command="coordinator", ranks=None)
        port = self.await_text("coordinator", r"coordinator: \S+:(\d+), waiting for 2 workers")[1]
        flags = ["--coordinator", f"localhost:{port}", "--tls-ca", folder / "cert.pem", "--token-file"]
        wrong = self.gsplit("train", self.dataset, "--run-dir", self.scratch / "wrong", *self.flags, *flags,
                            self.credentials("other") / "token", ranks=2)
        self.assertEqual(wrong.returncode, 2)
        self.assertRegex(wrong.stderr, r"gsplit: the coordinator at localhost:\d+ does not take this token; give the --token-file")
        self.must("train", self.dataset, "--run-dir", self.scratch / "apart", *self.flags, *flags, folder / "token", "--max-steps", 7, ranks=2)
        self.assertEqual(coordinator.wait(30), 0)
        self.must("train", self.dataset, "--run-dir", self.scratch / "inside", *self.flags, "--max-steps", 7, ranks=2)
        self.assertEqual(harness.losses(self.scratch / "apart"), harness.losses(self.scratch / "inside"))

    @full
    def test_on_loopback_nothing_is_configured_and_its_death_is_told(self):
        coordinator = self.start("mortal", "--workers", 2, command="coordinator", ranks=None)
        address = self.await_text("mortal", r"coordinator: (\S+:\d+)")[1]
        run = self.start("orphan", "--epochs", 1000000, "--coordinator", address)
        self.await_steps("orphan", 3)
        coordinator.kill()
        self.assertNotEqual(run.wait(30), 0)
        self.assertRegex(self.output("orphan"), rf"gsplit: lost: the coordinator at {address} is gone \(.*\); run it again with --resume")

    @full
    def test_a_stop_of_the_coordinator_stops_the_run(self):
        coordinator = self.start("stopping", "--workers", 2, command="coordinator", ranks=None)
        address = self.await_text("stopping", r"coordinator: (\S+:\d+)")[1]
        run = self.start("stopped", "--epochs", 1000000, "--coordinator", address)
        self.await_steps("stopped", 3)
        coordinator.terminate()
        self.assertEqual((coordinator.wait(30), run.wait(30)), (130, 130))
        end = harness.events(self.scratch / "stopped", "run_end")[0]
        self.assertEqual((end["status"], end["reason"]), ("stopped", "SIGTERM to the coordinator"))

    def test_refuses_an_open_network_without_tls_and_token(self):
        folder = self.credentials("refusing")
        for listen in ("0.0.0.0:0", "[::]:0", "10.0.0.1:0", "example.org:1"):
            self.assertIn("--make-credentials", self.refused("coordinator", "--workers", 1, "--listen", listen))
        half = ["--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]
        self.assertIn("--token-file", self.refused("coordinator", "--workers", 1, "--listen", "0.0.0.0:0", *half))
        (folder / "token").chmod(0o644)
        line = self.refused("coordinator", "--workers", 1, "--listen", "0.0.0.0:0", *half, "--token-file", folder / "token")
        self.assertIn("chmod 600", line)
        run = ["train", self.dataset, "--run-dir", self.scratch / "refused"]
        self.assertIn("belong together", self.refused(*run, "--coordinator", "localhost:1", "--tls-ca", folder / "cert.pem"))
        self.assertIn("no token for the coordinator", self.refused(*run, "--coordinator", "localhost:1"))


if __name__ == "__main__":
    unittest.main()
