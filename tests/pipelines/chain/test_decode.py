"""Decoded clips: kept while there is room, and what a film reads next rather than what it has passed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.timeline.clips import Clip, Join, Transition

STAGES, FRAMES, OVERLAP = 12, 9, 5
WIDTH, HEIGHT = 64, 32
SIZE = FRAMES * WIDTH * HEIGHT * 6 + 128  # bytes of a decoded clip


@dataclass
class StoredTake:
    """A take of which only the number is known."""

    key: str

    @property
    def frames_path(self) -> Path:
        from longtake.pipelines.takes import temp

        return temp.temp_folder() / f"{self.key}.frames.npy"

    @property
    def sound_path(self) -> Path:
        from longtake.pipelines.takes import temp

        return temp.temp_folder() / f"{self.key}.sound.safetensors"

    def latent(self) -> int:
        return int(self.key)

    def audio(self) -> int:
        return int(self.key)

    def facts(self) -> dict[str, Any]:
        return {}


@dataclass
class DecodesSound:
    """Sound of a family that decodes a number to a ramp on two channels."""

    decoded: list[int]

    def decode(self, model: Any, number: int) -> tuple[torch.Tensor, int]:
        self.decoded.append(number)
        return torch.linspace(-1, 1, 2000).reshape(2, 1000), 16000


@dataclass
class Decodes:
    """A family, and a model of it, that decodes a number to grey frames."""

    decoded: list[int] = field(default_factory=list)
    tiled: bool = False

    @property
    def family(self) -> Decodes:
        return self

    def decode(self, model: Any, number: int) -> torch.Tensor:
        self.decoded.append(number)
        return torch.full((FRAMES, HEIGHT, WIDTH, 3), number / 100)

    @property
    def sound(self) -> DecodesSound:
        return DecodesSound(self.decoded)


@pytest.fixture
def film(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A chain of smooth stages, and how many decodes reading its film takes where `clips` of them find room."""
    import folder_paths
    from longtake.pipelines.chain.decode import decoded
    from longtake.pipelines.film.colour import Match
    from longtake.pipelines.film.stitch import Film
    from longtake.pipelines.takes import decoded as cache

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    model = Decodes()
    links, end = [], 0
    for number in range(STAGES):
        end += FRAMES - (OVERLAP if number else 0)
        join = Join(Transition.SMOOTH, OVERLAP) if number else Join()
        links.append(Link(Clip(FRAMES, join, end), StoredTake(f"{number:02}"), model))
    chain = Chain("wan22", WIDTH, HEIGHT, Fraction(16), tuple(links))

    def read(clips: int, shown: Chain = chain) -> int:
        monkeypatch.setattr(cache, "DECODED_LIMIT", clips * SIZE)
        before = len(model.decoded)

        def opened(link: Link) -> Any:
            return decoded(link, shown)

        assert sum(1 for _ in Film(shown, opened, Match(shown, opened)).frames()) == shown.frames
        return len(model.decoded) - before

    read.chain = chain  # type: ignore[attr-defined]
    return read


@pytest.mark.parametrize(("clips", "again"), [(12, 0), (11, 2), (8, 6), (4, 10), (2, 12)])
def test_a_film_that_does_not_fit_decodes_little_more_than_what_finds_no_room(
    film: Any, clips: int, again: int
) -> None:
    assert film(clips) == STAGES
    assert max(film(clips) for _ in range(3)) <= again


def test_clips_of_another_film_make_room_first(film: Any) -> None:
    other = replace(
        film.chain,
        links=tuple(replace(link, take=StoredTake(str(int(link.rendered.key) + 20))) for link in film.chain.links),
    )
    assert film(STAGES) == STAGES
    assert film(STAGES, other) == STAGES
    assert film(STAGES, other) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_refused_with_their_stage_and_frame(film: Any, value: float) -> None:
    @dataclass
    class Wrong(Decodes):
        def decode(self, model: Any, number: int) -> torch.Tensor:
            frames = super().decode(model, number)
            frames[2, 0, 1, 0] = value
            return frames

    links = list(film.chain.links)
    links[1] = replace(links[1], model=Wrong())
    with pytest.raises(Refusal, match=r"stage 2: frame 2 of its clip.*not finite numbers"):
        film(STAGES, replace(film.chain, links=tuple(links)))
    assert not links[1].rendered.frames_path.exists()


def test_frames_that_were_cut_short_are_decoded_again(film: Any) -> None:
    film(STAGES)
    path = film.chain.links[4].rendered.frames_path
    path.write_bytes(path.read_bytes()[:1000])
    assert film(STAGES) == 1
    path.write_bytes(b"")
    assert film(STAGES) == 1


@pytest.mark.parametrize("harm", ["not there", "cut in its header", "cut in its samples", "empty", "other", "a folder"])
def test_sound_that_is_not_what_was_written_is_decoded_again(film: Any, harm: str) -> None:
    from longtake.pipelines.chain.decode import decoded_sound

    link = film.chain.links[4]
    first, rate = decoded_sound(link)
    path, whole = link.rendered.sound_path, link.rendered.sound_path.read_bytes()
    path.unlink()
    if harm == "a folder":
        path.mkdir()
    elif harm != "not there":
        path.write_bytes(
            {"cut in its header": whole[:40], "cut in its samples": whole[:-7], "empty": b"", "other": b"{}" * 99}[harm]
        )
    for _ in range(2):
        again = decoded_sound(link)
        assert (again[0] == first).all()
        assert again[1] == rate == 16000
    assert link.model.decoded == [4, 4], "once more, and then it is kept"
    assert path.read_bytes() == whole


def test_nothing_that_can_be_made_again_is_flushed_to_the_disk(film: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    assert film(STAGES) == STAGES
    assert flushed == []


def test_frames_decoded_in_tiles_are_others(film: Any) -> None:
    from longtake.pipelines.film.colour import seen_of

    tiled = replace(film.chain, links=tuple(replace(link, model=Decodes(tiled=True)) for link in film.chain.links))
    film(STAGES)
    film(STAGES, tiled)
    assert len(tiled.links[0].model.decoded) == 1
    whole = replace(film.chain.links[0], model=SimpleNamespace(vae="vae", tiled=False))
    assert seen_of(whole) != seen_of(replace(whole, model=SimpleNamespace(vae="vae", tiled=True)))
