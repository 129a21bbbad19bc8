"""What ComfyUI translates of the nodes: English as the schemas say it, and Chinese for all of that."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.host.locales import Words, read, words_of
from tests.host.server import Server

# What Wan users call by the same word in Chinese.
SAME = re.compile(r"[\x00-\x7f]{1,12}")


def places(words: Words, where: str = "") -> Iterator[tuple[str, str]]:
    for name, value in words.items():
        if isinstance(value, dict):
            yield from places(value, f"{where}{name}/")
        else:
            yield f"{where}{name}", value


def test_the_english_words_are_those_of_the_schemas(server: Server) -> None:
    assert read("en") == words_of(server.object_info()), "write it anew: python tests/run.py host.locales"


def test_the_server_hands_the_page_both_languages(server: Server) -> None:
    answer = server.get("/i18n")
    for language in ("en", "zh"):
        ours = {name: words for name, words in answer[language]["nodeDefs"].items() if name.startswith("Longtake")}
        assert ours == read(language)


@pytest.mark.parametrize("language", ["zh"])
def test_a_translation_misses_nothing_and_has_no_leftovers(language: str) -> None:
    wanted, there = dict(places(read("en"))), dict(places(read(language)))
    assert sorted(wanted.keys() - there.keys()) == []
    assert sorted(there.keys() - wanted.keys()) == []
    left = {where: text for where, text in there.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert {where: text for where, text in left.items() if where.endswith("/tooltip") or not SAME.fullmatch(text)} == {}
