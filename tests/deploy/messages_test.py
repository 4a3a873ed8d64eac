"""Every message that docs/operations.md quotes for troubleshooting is one that the source can print."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("comm", "graph", "kernels", "partition", "runtime")


def source_strings():
    """All string literals; those that the compiler joins are joined, and what fmt fills is "..."."""
    texts = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".cc", ".h"):
                code = re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8"))
                texts += re.findall(r'"((?:[^"\\\n]|\\.)*)"', code)
    return [re.sub(r"\{[^{}]*\}", "\0", text) for text in texts]


def quoted(section):
    """First cells of the tables of a section, in backticks."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    part = text.split("## Troubleshooting", 1)[1].split("### Not gsplit's", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|", part, flags=re.MULTILINE)
    assert section in part
    return found


def pieces(message):
    return [piece for piece in (piece.strip() for piece in message.split("...")) if len(piece) > 1]


class Messages(unittest.TestCase):
    """Quoted and printed."""

    def test_each_is_in_the_source(self):
        strings = source_strings()
        messages = quoted("### Warnings")
        self.assertGreater(len(messages), 35)
        for message in messages:
            for piece in pieces(message):
                # A prefix such as "lost: " is put before the message that it belongs to.
                words = piece.removeprefix("lost: ")
                with self.subTest(message=message, piece=words):
                    self.assertTrue(any(words in text for text in strings), f"'{words}' is nowhere in the source")

    def test_a_message_that_nobody_prints_is_found(self):
        strings = source_strings()
        for words in ("lost: its connection was fine", "no heartbeats"):
            self.assertFalse(any(words in text for text in strings))

    def test_recipes_name_files_that_exist(self):
        text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
        files = set(re.findall(r"\bdeploy/[\w./-]+", text)) - {"deploy.manifests"}
        self.assertGreater(len(files), 3)
        for file in files:
            self.assertTrue((ROOT / file.rstrip(".,")).exists(), file)


if __name__ == "__main__":
    unittest.main()
