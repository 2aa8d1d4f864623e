"""What is cited can be read: rules, invariants, kill points, variants, faults, attacks, facts and decisions."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT, blocks, text_of, unfenced
from tests.docs.test_what_is_named import HEADING, slug

CODE = sorted(path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py"))
PROSE = (*PAGES, *sorted(ROOT.glob("tests/**/README.md")))
ELSEWHERE = re.compile(r"\b(?:ROTATION|FAULTS|INTERFACE|DESIGN|(?:NAMES|STYLE)\.md|CLOUDBEDS sections?)\b")
RULES = re.compile(r"\brules?[\s-]+\d+(?:(?:,|\s+and|\s+to)\s+(?:rule-)?\d+)*", re.IGNORECASE)
FACTS = re.compile(r"\bcloudbeds-facts\.md sections?\s+\d+(?:(?:,|\s+and)\s+\d+)*")
DECISIONS = re.compile(r"\b(?:ADR|[Dd]ecision) \d{4}\b")
IDS = re.compile(r"\b(?:I\d{1,2}|K\d{1,2}p?|V\d|[FA]\d{2,3})\b")
ANCHORS = re.compile(r"\bdocs/([\w-]+\.md)#([\w-]+)")
LINTERS = re.compile(r"\bnoqa\b.*")
AN_ID = re.compile(r"I\d{1,2}|K\d{1,2}p?|[FA]\d{2,3}")
MARK = "pytest.mark.row"


@cache
def readable() -> frozenset[str]:
    """Everything that may be cited: headings of rules, invariants and facts, rows of tables, decisions, anchors."""
    rotation, faults, facts = (text_of(f"docs/{name}.md") for name in ("rotation", "faults", "cloudbeds-facts"))
    found = {f"rule {number}" for number in re.findall(r"^### Rule (\d+)$", rotation, re.MULTILINE)}
    found |= set(re.findall(r"^### (I\d+)$", rotation, re.MULTILINE))
    found |= set(re.findall(r"^\| ([KV]\d+p?) \|", rotation, re.MULTILINE))
    found |= set(re.findall(r"^\| ([FA]\d+) \|", faults, re.MULTILINE))
    found |= {f"fact {number}" for number in re.findall(r"^## (\d+)\. ", facts, re.MULTILINE)}
    found |= {f"decision {path.name[:4]}" for path in (ROOT / "docs/adr").glob("0*.md")}
    for page in PAGES:
        found |= {f"{page.name}#{slug(heading)}" for heading in HEADING.findall(page.read_text("utf-8"))}
    found |= {one.id.rpartition("/")[2] for one in blocks()}
    return frozenset(found)


def citations(text: str) -> Iterator[str]:
    """What a text cites; a range names its ends."""
    text = LINTERS.sub("", text)
    for kind, pattern in (("rule", RULES), ("fact", FACTS), ("decision", DECISIONS)):
        for cited in pattern.findall(text):
            yield from (f"{kind} {number}" for number in re.findall(r"\d+", cited))
    yield from IDS.findall(text)
    yield from (f"{page}#{anchor}" for page, anchor in ANCHORS.findall(text))
    yield from ELSEWHERE.findall(text)


def written(source: str) -> Iterator[str]:
    """Comments and docstrings of a program, and the strings in it that are ids, as those of marks are."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and AN_ID.fullmatch(node.value):
            yield node.value


def astray_in(source: str) -> set[str]:
    """What a program's comments, docstrings and marks cite; only what its text cites at all is looked for there."""
    return astray(written(source)) if astray(iter([source])) else set()


def astray(texts: Iterator[str]) -> set[str]:
    """The citations that lead nowhere, or out of the project."""
    return {cited for text in texts for cited in citations(text)} - readable()


def test_what_code_cites_can_be_read() -> None:
    """Each comment, docstring and mark of `src` and `tests`; pages that are not in the project are not cited."""
    found = {str(path.relative_to(ROOT)): astray_in(path.read_text("utf-8")) for path in CODE if path != Path(__file__)}
    assert not {path: cited for path, cited in found.items() if cited}


def test_what_pages_cite_can_be_read() -> None:
    """Each page, also those beside the tests; links are followed by a test of their own."""
    found = {str(page.relative_to(ROOT)): astray(iter([unfenced(page.read_text("utf-8"))])) for page in PROSE}
    assert not {page: cited for page, cited in found.items() if cited}


@pytest.mark.parametrize(
    "text",
    ["rule 99", "rules 1, 99", "Rules 4 and 99", "rule-99", "I99", "K99", "V9", "F999", "A999",
     "docs/rotation.md#nowhere", "cloudbeds-facts.md sections 2 and 99", "decision 9999", "ADR 9999",
     "ROTATION section 3", "FAULTS.md", "DESIGN"],
)  # fmt: skip
def test_a_citation_that_leads_nowhere_is_found(text: str) -> None:
    """In a comment, a docstring, or a page; what else the text cites is found as well."""
    assert len(astray_in(f"# as {text} says, which I1 checks\n")) == 1
    assert len(astray_in(f'"""As {text} says, which I1 checks."""\n')) == 1
    assert len(astray(iter([f"As {text} says, which I1 checks."]))) == 1


def test_a_mark_that_leads_nowhere_is_found() -> None:
    """The row of a mark is a string, also where it is a parameter."""
    assert astray_in(f'@{MARK}("F999")\ndef test_it() -> None: ...\n') == {"F999"}
    assert astray_in('ROWS = [("F22", 1), ("A999", 2)]\n') == {"A999"}
    assert astray_in('TEXT = "what F999 does"\n') == set(), "no mark, and no comment"


def test_every_rule_is_numbered_without_a_gap() -> None:
    """Sixteen rules, sixteen invariants, fourteen kill points and eight variants are described."""
    for kind, numbers in {"rule ": range(1, 17), "I": range(1, 17), "K": range(14), "V": range(8)}.items():
        assert {f"{kind}{number}" for number in numbers} <= readable()
