"""Text of others: seen as it is, heard by no terminal, the same values to other programs."""

from __future__ import annotations

import json
import tomllib
import unicodedata

import pytest

from augment.contract import Fault
from augment.contract.foreign import LONGEST, between_words, escaped, is_unseen, shown
from augment.contract.terminal import labeled, open_console

NASTY = "a\x1b[31mb\x1b]8;;http://x\x07c\u202ed\u200be\u2028f\r\b\x9b[old]\udc80\n\t\U000e0041"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain [old] :smile: 中文 Ünï 🙂", "plain [old] :smile: 中文 Ünï 🙂"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("\x1b]8;;http://x\x1b\\y", r"\x1b]8;;http://x\x1b\y"),
        ("a\rb\bc\td\ne\x00", r"a\rb\x08c\td\ne\x00"),
        ("\u202eabc\u2066\u200f", r"\u202eabc\u2066\u200f"),
        ("a\u200bb\ufeffc\u2060\xad", r"a\u200bb\ufeffc\u2060\xad"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\udc80.csv", r"\udc80.csv"),
        ("\U000e0041", r"\U000e0041"),
        ("no\xa0break\u3000", "no\xa0break\u3000"),
        (12, "12"),
    ],
)
def test_what_acts_is_made_visible(text: object, seen: str) -> None:
    assert shown(text) == seen


def test_every_control_of_unicode_is_made_visible() -> None:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for char in map(chr, range(0x110000)):
        hidden = unicodedata.category(char) in kinds or ord(char) & 0xFFFE == 0xFFFE
        assert (shown(char) != char) == hidden, hex(ord(char))
    assert shown("a\nb", lines=True) == "a\nb"
    assert not is_unseen("\n", lines=True)


def test_a_long_text_is_shown_by_its_ends() -> None:
    found = shown("a" * 10**6 + "end")

    assert len(found) < LONGEST + 50
    assert found.endswith("end")
    assert "998,004 characters" in found


def test_a_document_keeps_its_values() -> None:
    values = {"key": NASTY, "emoji": "🙂"}
    document = escaped(json.dumps(values, ensure_ascii=False, indent=2), "json")
    toml = escaped('\ta = "\u202ex\x9b\U000e0041🙂"  # \u200b\n', "toml")

    assert json.loads(document) == values
    assert tomllib.loads(toml) == {"a": "\u202ex\x9b\U000e0041🙂"}
    for text in (document, toml):
        assert "🙂" in text
        assert not any(map(is_unseen, text.replace("\n", "").replace("\t", "")))


def test_a_fault_keeps_its_lines() -> None:
    found = Fault(f"{NASTY} is wrong.", "do this\nor\x85that\n").describe()

    assert found.split("\n") == [
        f"error: {shown(NASTY)} is wrong.",
        "       do this",
        r"       or\x85that   (exit 1)",
    ]
    assert (
        Fault("wrong", "\n".join(map(str, range(10**5))))
        .describe()
        .endswith("39\n       … and 99,960 more   (exit 1)")
    )


def test_a_console_has_only_its_own_codes(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print(labeled("a\nb", NASTY), NASTY)
    found = capsys.readouterr().out

    assert found.count("\n") == 2
    assert "[old]" in found
    assert not any(map(is_unseen, found.replace("\n", "")))


def test_a_sentence_ends_between_words() -> None:
    told = (
        "error: there is no model folder nowhere/at/all.\n       Check the name of it.   (exit 4)\n"
    )

    assert between_words(told, 30).split("\n") == [
        "error: there is no model",
        "       folder nowhere/at/all.",
        "       Check the name of it.",
        "       (exit 4)",
        "",
    ]
    assert between_words(told, 80) == told
    assert between_words(told, 3) == told  # no terminal that anyone reads
