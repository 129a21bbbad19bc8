"""The stages of a storyboard: which files each names, when they are read, and what a refusal says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.plan import plan
from longtake.pipelines.storyboard.stages import files_named, loras_named, stages_of
from longtake.pipelines.timeline.clips import Carry, Transition

from .documents import WAN, stages

PICTURES = {"a.png": torch.zeros(1, 8, 8, 3), "b.png": torch.ones(1, 8, 8, 3)}
SONG = {"waveform": torch.zeros(1, 2, 48000), "sample_rate": 48000}


class Files:
    """A folder of two pictures and a song that writes down what is read of it."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def check_image(self, name: str) -> None:
        if name not in PICTURES:
            raise Refusal(f"there is no image {name!r}.")

    def image(self, name: str) -> torch.Tensor:
        self.read.append(name)
        return PICTURES[name]

    def sound(self, name: str) -> dict[str, Any]:
        self.read.append(name)
        return SONG


def planned(*entries: dict[str, Any], files: Files | None = None, start_image: torch.Tensor | None = None) -> list[Any]:
    board = stages(*entries)
    return stages_of(board, plan(board, WAN), files or Files(), start_image)


def test_an_image_is_looked_for_at_once_and_read_when_it_is_used() -> None:
    files = Files()
    [stage] = planned({"start_image": "a.png", "keyframes": [{"image": "b.png", "frame": 9}]}, files=files)
    assert files.read == []
    assert stage.start_image() is PICTURES["a.png"]
    assert stage.keyframes[0].image() is PICTURES["b.png"]
    assert files.read == ["a.png", "b.png"]


def test_a_file_that_is_not_there_is_refused_with_its_stage_and_field() -> None:
    smooth = {"transition": "smooth"}
    with pytest.raises(Refusal, match=r"stage 2, end_image: there is no image 'c\.png'"):
        planned({}, {**smooth, "end_image": "c.png"})
    with pytest.raises(Refusal, match=r"stage 1, keyframes: there is no image 'c\.png'"):
        planned({"keyframes": [{"image": "c.png", "frame": 0}]})


def test_a_connected_image_takes_the_place_of_none_in_the_document() -> None:
    connected = torch.full((1, 8, 8, 3), 0.5)
    first, second = planned({}, {"start_image": "a.png", "transition": "cut"}, start_image=connected)
    assert first.start_image is connected
    assert second.start_image() is PICTURES["a.png"]
    with pytest.raises(Refusal, match="stage 1, start_image: an image is connected and the document names one too"):
        planned({"start_image": "a.png"}, start_image=connected)


def test_an_anchor_is_the_last_start_image_before_the_stage() -> None:
    svi = {"transition": "smooth", "carry_over": "svi", "anchor": "start_image"}
    parts = planned({"start_image": "a.png"}, svi, {"start_image": "b.png", "transition": "cut"}, svi, svi)
    anchors = [stage.anchor_image and stage.anchor_image() for stage in parts]
    expected = [None, "a.png", None, "b.png", "b.png"]
    assert all(anchor is (name and PICTURES[name]) for anchor, name in zip(anchors, expected, strict=True))
    with pytest.raises(Refusal, match="stage 2, anchor: start_image is given, and no stage before it has one"):
        planned({}, svi)


def test_a_stage_says_all_that_its_entry_says() -> None:
    _, stage = planned(
        {"start_image": "a.png"},
        {
            "prompt": "a fox",
            "negative_prompt": "blurry",
            "seed": 7,
            "frames": 33,
            "transition": "smooth",
            "overlap": 9,
            "carry_over": "latents",
            "take": 2,
            "soundtrack": "song.wav",
        },
    )
    assert (stage.prompt, stage.negative_prompt, stage.seed, stage.take) == ("a fox", "blurry", 7, 2)
    assert stage.length.frames == 33
    assert (stage.join.transition, stage.join.overlap, stage.join.carry) == (Transition.SMOOTH, 9, Carry.LATENTS)
    assert stage.soundtrack is SONG


def test_the_files_of_a_storyboard_are_those_that_any_stage_names() -> None:
    lora = {"high": "style_high.safetensors", "low": "none"}
    board = stages(
        {"start_image": "a.png", "soundtrack": "song.wav"},
        {"end_image": "b.png", "keyframes": [{"image": "a.png", "frame": 0}], "loras": [lora]},
    )
    assert files_named(board) == {"a.png", "b.png", "song.wav"}
    assert loras_named(board) == {"style_high.safetensors", "none"}
