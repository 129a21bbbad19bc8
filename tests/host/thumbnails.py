"""Draw the pictures that ComfyUI's list of templates shows: python tests/run.py host.thumbnails

Each is a strip of frames that the demo model renders for it, of what its workflow does, with a sound where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.host.inprocess import enter_comfyui
from tests.host.place import Place
from tests.host.workflows import api_names, canvas_file

SIZE = (640, 400)  # shown at about half of it
GROUND, INK, MARK, SOUND = (24, 24, 28), (236, 236, 236), (255, 183, 77), (128, 203, 196)
TYPE, GAP = 30, 16
QUALITY = 85
FRAMES = 33
WHOLE, HEAD, TAIL = range(FRAMES), range(16), range(17, FRAMES)
LASTING = 0.7  # of the spread of the first clip that every frame of a film keeps


@dataclass(frozen=True)
class Frame:
    """A frame of a strip.

    Attributes:
        words: below it.
        marked: with an edge: what was there before the model rendered.
        fine: pixels each way that are left of its 64.
    """

    picture: Image.Image
    words: str = ""
    marked: bool = False
    fine: int = 64


class Studio:
    """Clips of the demo model by the fast way through it."""

    def __init__(self) -> None:
        from longtake.demo_model import folder

        self.model = folder.read()

    def clip(self, prompt: str, before: Any = None, end: Any = None, seed: int = 3) -> Any:
        """Pixels (1, 3, t, 64, 64) in -1..1."""
        import torch

        with torch.inference_mode():
            return self.model.render([prompt], seed, FRAMES, before, end)

    def film(self, *prompts: str) -> list[Any]:
        """Clips, each going on from the five last frames of the one before it, none of which fades into its ground."""
        for seed in range(3, 103, 10):
            clips: list[Any] = []
            for number, prompt in enumerate(prompts):
                clips.append(self.clip(prompt, clips[-1][:, :, -5:] if clips else None, seed=seed + number))
            if min(float(clip[:, :, at].std()) for clip in clips for at in range(FRAMES)) > LASTING * clips[0].std():
                return clips
        raise SystemExit(f"no seed shows {prompts[0]} to the end")


def frame(clip: Any, part: range, words: str = "", marked: bool = False, fine: int = 64) -> Frame:
    """The frame of a part of a clip in which the shape is nearest to the middle; on a torus it may lie on an edge."""
    from longtake.demo_model import measure

    away = (measure.look(clip[:, :, part.start : part.stop]).centre[0] % 64 - 32).norm(dim=1)
    index = part.start + int(away.argmin())
    pixels = ((clip[0, :, index].permute(1, 2, 0).numpy().clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return Frame(Image.fromarray(pixels), words, marked, fine)


def draw(rows: Sequence[Sequence[Frame]], sound: bool = False) -> Image.Image:
    """Rows of frames, and a waveform below them."""
    card = Image.new("RGB", SIZE, GROUND)
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(TYPE)
    lowest = SIZE[1] - (96 if sound else 0)
    captions = TYPE + 8 if any(frame.words for row in rows for frame in row) else 0
    side = min(
        (SIZE[0] - GAP) // max(map(len, rows)) - GAP, (lowest - GAP) // len(rows) - GAP - captions,
    )  # fmt: skip
    top = (lowest - len(rows) * (side + captions + GAP) + GAP) // 2
    for row in rows:
        left = (SIZE[0] - len(row) * (side + GAP) + GAP) // 2
        for shown in row:
            coarse = shown.picture.resize((shown.fine, shown.fine), Image.Resampling.BOX)
            card.paste(coarse.resize((side, side), Image.Resampling.LANCZOS), (left, top))
            if shown.marked:
                pen.rectangle((left - 4, top - 4, left + side + 3, top + side + 3), outline=MARK, width=4)
            pen.text((left + side / 2, top + side + 6), shown.words, MARK if shown.marked else INK, font, "mt")
            left += side + GAP
        top += side + captions + GAP
    if sound:
        _waveform(pen, lowest + 40)
    return card


def _waveform(pen: ImageDraw.ImageDraw, middle: int) -> None:
    for x in range(GAP, SIZE[0] - GAP, 5):
        swell = abs(np.sin(x / 57)) * abs(np.sin(x / 23 + 1)) + 0.08
        pen.line((x, middle - 40 * swell, x, middle + 40 * swell), SOUND, 3)


def i2v_long_film(studio: Studio) -> Image.Image:
    turns = studio.film(*(f"a red circle moves {way} on black" for way in ("right", "down", "left")))
    strip = [frame(turns[0], range(1), "image", marked=True)]
    return draw([strip + [frame(clip, TAIL, f"stage {n}") for n, clip in enumerate(turns, 1)]])


def long_film_5b(studio: Studio) -> Image.Image:
    clips = studio.film(*(f"a cyan triangle moves {way} on white" for way in ("up", "up", "right")))
    return draw([[frame(clip, TAIL, f"stage {n}") for n, clip in enumerate(clips, 1)]])


def _bridge(studio: Studio, prompt: str, words: str) -> Image.Image:
    (first,) = studio.film(prompt)
    bridge = studio.clip(prompt, first[:, :, :1], first[:, :, -1], seed=8)
    ends = [frame(first, part, words, marked=True) for part, words in ((range(1), "first"), (range(32, 33), "last"))]
    return draw([[ends[0], frame(bridge, range(8, 25), words), ends[1]]])


def first_last_bridge(studio: Studio) -> Image.Image:
    return _bridge(studio, "a purple square moves right on gray", "between")


def first_last_8_steps(studio: Studio) -> Image.Image:
    return _bridge(studio, "a green triangle moves right on gray", "8 steps")


def t2v_then_i2v(studio: Studio) -> Image.Image:
    clips = studio.film("a orange circle moves down on white", "a orange circle moves left on white")
    strip = [frame(clips[0], HEAD, "text"), frame(clips[0], TAIL, "to video")]
    return draw([[*strip, frame(clips[1], HEAD, "goes on"), frame(clips[1], TAIL, "from it")]])


def _scenes(studio: Studio, *prompts: str) -> list[list[Frame]]:
    shown = [frame(*studio.film(prompt), WHOLE) for prompt in prompts]
    return [shown[:3], shown[3:]]


def storyboard(studio: Studio) -> Image.Image:
    return draw(
        _scenes(
            studio,
            *("a red circle moves right on black", "a yellow square moves down on gray"),
            *("a cyan triangle moves up on white", "a green circle moves left on white"),
            *("a blue square moves right on black", "a pink triangle moves down on gray"),
        )
    )


def ltx2_storyboard(studio: Studio) -> Image.Image:
    return draw(
        _scenes(
            studio,
            *("a green square moves right on gray", "a pink circle moves down on black"),
            *("a blue triangle moves up on gray", "a yellow circle moves left on black"),
            *("a purple triangle moves right on white", "a orange square moves down on white"),
        ),
        sound=True,
    )


def film_with_sound(studio: Studio) -> Image.Image:
    clips = studio.film(*["a green circle moves right on black"] * 3)
    return draw([[frame(clip, TAIL, f"stage {n}") for n, clip in enumerate(clips, 1)]], sound=True)


def soundtrack_to_film(studio: Studio) -> Image.Image:
    (clip,) = studio.film("a pink circle moves right on white")
    parts = ((range(8), "your"), (range(8, 20), "music"), (range(20, 33), "leads"))
    return draw([[frame(clip, part, words) for part, words in parts]], sound=True)


def extend_video(studio: Studio) -> Image.Image:
    clips = studio.film("a blue square moves right on white", "a blue square moves down on white")
    video = [frame(clips[0], part, words, marked=True) for part, words in ((HEAD, "your"), (TAIL, "video"))]
    return draw([[*video, frame(clips[1], HEAD, "goes"), frame(clips[1], TAIL, "on")]])


def retake(studio: Studio) -> Image.Image:
    (clip,), (again,) = (studio.film(f"a {colour} circle moves right on gray") for colour in ("yellow", "red"))
    ends = [frame(clip, part, "kept", marked=True) for part in (HEAD, TAIL)]
    return draw([[ends[0], frame(again, WHOLE, "new"), ends[1]]])


def _two_passes(clip: Any, words: str) -> Image.Image:
    return draw([[frame(clip, WHOLE, "half size", fine=12), frame(clip, WHOLE, words)]])


def two_pass_film(studio: Studio) -> Image.Image:
    return _two_passes(*studio.film("a purple circle moves up on black"), "full size")


def dev_two_pass_film(studio: Studio) -> Image.Image:
    return _two_passes(*studio.film("a green triangle moves up on white"), "dev, full size")


CARDS: dict[str, Callable[[Studio], Image.Image]] = {
    "ltx2_dev_two_pass_film": dev_two_pass_film,
    "ltx2_extend_video": extend_video,
    "ltx2_film_with_sound": film_with_sound,
    "ltx2_retake": retake,
    "ltx2_soundtrack_to_film": soundtrack_to_film,
    "ltx2_storyboard": ltx2_storyboard,
    "ltx2_two_pass_film": two_pass_film,
    "wan22_5b_long_film": long_film_5b,
    "wan22_first_last_8_steps": first_last_8_steps,
    "wan22_first_last_bridge": first_last_bridge,
    "wan22_i2v_long_film": i2v_long_film,
    "wan22_storyboard": storyboard,
    "wan22_t2v_then_i2v": t2v_then_i2v,
}


def main() -> None:
    if missing := set(api_names()) ^ set(CARDS):
        raise SystemExit(f"no picture, or no workflow, is called {', '.join(sorted(missing))}")
    enter_comfyui(Place.here().comfyui)
    studio = Studio()
    for name, card in CARDS.items():
        path = canvas_file(name).with_suffix(".jpg")
        card(studio).save(path, quality=QUALITY, optimize=True)
        print(f"{path} {path.stat().st_size / 1000:.0f} KB", flush=True)


if __name__ == "__main__":
    main()
