#!/usr/bin/env python3
"""Completions of the shells: of all that --help has, and as the shells see them."""

import re
import shutil
import subprocess
import tempfile
import unittest

import harness

SHELLS = ("bash", "zsh", "fish")


def say(*arguments):
    return subprocess.run([harness.GSPLIT, *arguments], text=True, capture_output=True, check=True).stdout


def names_in(text, pattern):
    return sorted(set(re.findall(pattern, text, re.MULTILINE)))


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scripts = {shell: say("completion", shell) for shell in SHELLS}
        cls.commands = names_in(say("--help").split("Subcommands:")[1], r"^  ([a-z]+) ")

    def script(self, shell):
        file = tempfile.NamedTemporaryFile("w", suffix=f".{shell}")
        self.addCleanup(file.close)
        file.write(self.scripts[shell])
        file.flush()
        return file.name

    def shell(self, *command):
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split("\n")

    def test_knows_every_command_and_flag_of_help(self):
        self.assertGreater(len(self.commands), 10)
        self.assertNotIn("completion", self.commands)
        for command in self.commands:
            flags = names_in(say(command, "--help"), r"^ +(?:-\w,)?(--[a-z][-a-z]*)")
            self.assertIn("--help", flags)
            lines = {
                "bash": re.search(rf"^ *{command}\) words='(.*)'", self.scripts["bash"], re.MULTILINE)[1].split(),
                "zsh": re.findall(r"'(--[-a-z]+)", re.search(rf"^ *{command}\) _arguments(.*?);;", self.scripts["zsh"], re.MULTILINE | re.DOTALL)[1]),
                "fish": ["--" + name for name in re.findall(rf"from {command}' -l ([-a-z]+)", self.scripts["fish"])],
            }
            for shell in SHELLS:
                self.assertEqual(sorted(lines[shell]), flags, f"{command} in {shell}")

    def test_the_manual_page_has_them_too(self):
        page = say("manual")
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, text=True, capture_output=True, check=True)
            self.assertEqual(done.stderr, "")
        sections = dict(zip(re.findall(r'^\.SS "gsplit (\w+)"', page, re.MULTILINE), re.split(r"^\.S[SH] .*", page, flags=re.MULTILINE)[4:]))
        self.assertEqual(sorted(sections), self.commands)
        for command in self.commands:
            described = re.findall(r"(--[a-z][-a-z]*)", " ".join(re.findall(r'^\.B "(.*)"', sections[command].replace("\\-", "-"), re.MULTILINE)))
            missing = set(names_in(say(command, "--help"), r"^ +(?:-\w,)?(--[a-z][-a-z]*)")) - set(described)
            self.assertEqual(missing, set(), command)

    def bash(self, line):
        """What bash makes of a line that ends where the cursor is."""
        words = " ".join(f"'{word}'" for word in line.split(" "))
        code = f"source {self.script('bash')}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _gsplit; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return [word for word in self.shell("bash", "-c", code) if word]

    def test_bash_completes(self):
        self.assertEqual(self.bash("gsplit tr"), ["train"])
        self.assertEqual(sorted(set(self.commands) - set(self.bash("gsplit "))), [])
        self.assertEqual(sorted(self.bash("gsplit train graph --mod")), ["--mode", "--model"])
        self.assertEqual(self.bash("gsplit train --model "), ["gat", "gcn", "gin", "sage"])
        self.assertEqual(self.bash("gsplit train --model g"), ["gat", "gcn", "gin"])
        self.assertEqual(self.bash("gsplit train --run-dir "), [])  # files
        self.assertEqual(self.bash("gsplit train --device "), ["auto", "cpu", "cuda"])

    def test_zsh_reads_it(self):
        if shutil.which("zsh") is None:
            self.skipTest("no zsh (Debian: zsh)")
        self.shell("zsh", "-f", "-n", self.script("zsh"))
        code = f"autoload -U compinit; compinit -u -D; source {self.script('zsh')} 2>/dev/null; whence -w _gsplit"
        self.assertIn("_gsplit: function", "\n".join(self.shell("zsh", "-f", "-c", code)))

    def test_fish_completes(self):
        if shutil.which("fish") is None:
            self.skipTest("no fish (Debian: fish)")
        def complete(line):
            code = f"source {self.script('fish')}; complete -C {line!r}"
            return [entry.split("\t")[0] for entry in self.shell("fish", "--no-config", "-c", code) if entry]
        self.assertEqual(complete("gsplit tr"), ["train"])
        self.assertEqual(sorted(complete("gsplit train --model ")), ["gat", "gcn", "gin", "sage"])
        self.assertIn("--model", complete("gsplit train --mod"))


if __name__ == "__main__":
    unittest.main()
