"""What the pages say can be typed and found: commands, options, scripts, links."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctcnet.cli.main import build_parser

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for place in ("*.md", "models/**/*.md", "scripts/**/*.md", "configs/**/*.md")
    for page in ROOT.glob(place)
    if "node_modules" not in page.parts
)
_BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:ctcnet|python scripts/\S+\.py|scripts/\S+\.py) [^`]+)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def _commands(text: str) -> Iterator[str]:
    """Lines of shell of a page, one command each, without comments."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.split(" #")[0].strip()
            yield from (part.strip() for part in command.split("&&") if part.strip())


def _parsers(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    found: dict[str, ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found |= action.choices
    return found


def _options_of(words: list[str]) -> set[str]:
    """Options that the verb (and its part, as in `simulate crops`) of a command takes."""
    parser = _parsers(build_parser())[words[1]]
    parts = _parsers(parser)
    if parts and words[2] in parts:
        parser = parts[words[2]]
    return {option for action in parser._actions for option in action.option_strings}


def _heading_anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_pages():
    assert {"README.md", "models/README.md", "scripts/benchmarks/README.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_taken(page):
    for command in _commands(page.read_text(encoding="utf-8")):
        words = shlex.split(command)
        if words[0] == "ctcnet":
            build_parser().parse_args(words[1:])
        if words[0] == "python" and words[1].endswith(".py"):
            script = ROOT / words[1]
            assert script.is_file(), command
            if words[1] != "train.py":
                named = {word for word in words if word.startswith("--")}
                assert all(f'"{option}"' in script.read_text(encoding="utf-8") for option in named), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_named_in_the_text_of_a_page_are_there(page):
    for command in _INLINE.findall(page.read_text(encoding="utf-8")):
        words = command.split()
        named = {word.split("=")[0].rstrip(",)") for word in words if word.startswith("--")}
        if words[0] == "ctcnet" and words[1] not in ("train",) and named:
            assert named <= _options_of(words), command
        elif words[0] != "ctcnet":
            script = next(word for word in words if word.endswith(".py"))
            assert (ROOT / script).is_file(), command
            assert all(f'"{option}"' in (ROOT / script).read_text(encoding="utf-8") for option in named), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page):
    for path, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path) if path else page
        assert target.exists(), (path, anchor)
        if anchor:
            assert anchor in _heading_anchors(target), (path, anchor)
