"""What a clip keeps to beside its words: keyframes, an anchor image, a soundtrack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..chain.tail import encoded_sound
from ..errors import Refusal
from ..families.recognise import FAMILIES
from ..media.pictures import check_single
from ..media.sound import Waveform
from ..model.shot import Keyframe
from ..model.variant import Mode
from ..timeline.clips import Carry, Clip, Transition
from .stage import Stage

if TYPE_CHECKING:
    import torch

    from ..chain.tail import Heard
    from ..model.bundle import Family, VideoModel


@dataclass(frozen=True)
class Anchor:
    """An image that a stage keeps looking at.

    Args:
        image: `[1, H, W, C]` in 0..1 at any size.
        strength: how much it counts, 0..1; None is the family's usual.
    """

    image: torch.Tensor
    strength: float | None = None


@dataclass(frozen=True)
class Soundtrack:
    """Sound of the whole film (ComfyUI's AUDIO) that the picture follows."""

    sound: Mapping[str, Any]


Guide: TypeAlias = Keyframe | Anchor | Soundtrack
Kind = TypeVar("Kind", Anchor, Soundtrack)


def guided(stage: Stage, guides: Iterable[Guide]) -> Stage:
    """The stage with its guides.

    Raises:
        Refusal: two anchors or two soundtracks, or an anchor beside the one that a carry-over has of its own.
    """
    guides = tuple(guides)
    for guide in guides:
        if not isinstance(guide, Keyframe | Anchor | Soundtrack):
            raise Refusal(
                f"a {type(guide).__name__} came over the link; what is needed: what Keyframe, Anchor or Soundtrack "
                "gives.",
                field="guides",
            )
    anchor, soundtrack = _only(guides, Anchor, "anchor"), _only(guides, Soundtrack, "soundtrack")
    if anchor is not None and stage.anchor_image is not None:
        raise Refusal("carry-over svi has an anchor image of its own; disconnect the Anchor.", field="guides")
    if anchor is not None:
        stage = replace(stage, anchor_image=anchor.image, anchor_strength=anchor.strength or 0.0)
    if soundtrack is not None:
        stage = replace(stage, soundtrack=soundtrack.sound)
    return replace(stage, keyframes=tuple(guide for guide in guides if isinstance(guide, Keyframe)))


def _only(guides: tuple[Guide, ...], kind: type[Kind], word: str) -> Kind | None:
    of_kind = [guide for guide in guides if isinstance(guide, kind)]
    if len(of_kind) > 1:
        raise Refusal(f"{len(of_kind)} of the guides are {word}s; connect one.", field="guides")
    return of_kind[0] if of_kind else None


def check_given(stage: Stage, model: VideoModel, clip: Clip, shown: int) -> None:
    """Raise `Refusal` for keyframes or a soundtrack that the stage cannot keep to.

    Args:
        shown: frames of the clip up to where the stage ends in the film.
    """
    if stage.keyframes:
        check_able(model, Mode.KEYFRAMES, "keyframes")
        _check_keyframes(stage, shown)
    if stage.soundtrack is not None:
        check_able(model, Mode.SOUNDTRACK, "soundtrack")
        _check_soundtrack(stage, model, clip)
    if stage.anchor_strength and stage.anchor_image is None:
        raise Refusal("there is no anchor image to give a strength.", field="anchor_strength")
    if stage.anchor_strength and stage.join.carry is Carry.SVI:
        raise Refusal("carry-over svi takes its anchor as it is, without a strength.", field="anchor_strength")
    if not 0 <= stage.anchor_strength <= 1:
        raise Refusal(f"{stage.anchor_strength} given; a number from 0 to 1 is needed.", field="anchor_strength")


def given_sound(stage: Stage, model: VideoModel, clip: Clip, start: int) -> torch.Tensor | None:
    """Latents `[1, C, T, F]` of the soundtrack's part that is heard with a clip; None without one.

    Args:
        start: film frame under the clip's frame 0.
    """
    if stage.soundtrack is None or model.family.sound is None:
        return None
    rate = model.family.sound.rate
    return encoded_sound(
        model, rate, Waveform(dict(stage.soundtrack)), Fraction(start) / model.fps, clip.frames / model.fps
    )


def heard_soundtrack(stage: Stage, model: VideoModel, clip: Clip, start: int) -> Heard | None:
    """All that a stage hears of its soundtrack; arguments as of `given_sound`."""
    from ..chain.tail import heard_of

    if stage.soundtrack is None or model.family.sound is None:
        return None
    rate = model.family.sound.rate
    return heard_of(Waveform(dict(stage.soundtrack)), rate, Fraction(start) / model.fps, clip.frames / model.fps)


def check_able(model: VideoModel, mode: Mode, field: str) -> None:
    """Raise `Refusal` for what the bundle's variant cannot do, naming the families that can."""
    if mode not in model.variant.modes:
        able = [family for family in FAMILIES if any(mode in variant.modes for variant in family.variants)]
        raise unable(model, mode.value, able, field)


def unable(model: VideoModel, act: str, able: Iterable[Family], field: str) -> Refusal:
    """What a person is told whose bundle cannot do something.

    Args:
        act: ends the sentence "this model cannot ...".
        able: the families that can.
    """
    titles = " and ".join(family.title for family in able)
    return Refusal(f"{model.variant.name} cannot {act}; {titles} can. Leave it out, or use such a bundle.", field=field)


def _check_keyframes(stage: Stage, frames: int) -> None:
    for keyframe in stage.keyframes:
        if not callable(keyframe.image):
            check_single(keyframe.image, "keyframes")
        if not -frames <= keyframe.frame < frames:
            raise Refusal(
                f"frame {keyframe.frame} given; the stage has frames 0 to {frames - 1} (or -1, the last, to "
                f"-{frames}).",
                field="keyframes",
            )
        if not 0 < keyframe.strength <= 1:
            raise Refusal(
                f"strength {keyframe.strength} given; a number above 0, at most 1, is needed.", field="keyframes"
            )
    pinned_head = (
        stage.join.overlap if stage.join.transition is Transition.SMOOTH else int(stage.start_image is not None)
    )
    pinned_end = int(stage.end_image is not None) if stage.until is None else stage.until.overlap
    counts = Counter(keyframe.frame % frames for keyframe in stage.keyframes)
    for frame, count in counts.items():
        if count > 1:
            raise Refusal(f"{count} keyframes stand on frame {frame}; one a frame.", field="keyframes")
        for first, stop in ((0, pinned_head), (frames - pinned_end, frames)):
            if first <= frame < stop:
                pinned = f"frames {first} to {stop - 1} are" if stop - first > 1 else f"frame {frame} is"
                raise Refusal(
                    f"a keyframe stands on frame {frame}; {pinned} given already, by a stage beside it, the start "
                    "image or the end image.",
                    field="keyframes",
                )


def _check_soundtrack(stage: Stage, model: VideoModel, clip: Clip) -> None:
    sound = Waveform(dict(stage.soundtrack or {}))
    samples = int(sound.waveform.shape[2])
    if samples == 0 or sound.channels == 0:
        raise Refusal("the soundtrack holds no sound.", field="soundtrack")
    if model.audio_vae is None:
        raise Refusal(
            "this bundle has no audio VAE to read a soundtrack with; load a checkpoint that has one. To save a sound "
            "that the picture need not follow, connect it to Encode Video.",
            field="soundtrack",
        )
    end = clip.asked_end / model.fps
    if Fraction(samples, sound.sample_rate) < end:
        raise Refusal(
            f"the soundtrack lasts {samples / sound.sample_rate:.2f} s and this stage ends at {float(end):.2f} s of "
            "the film; give a longer one, or a shorter stage.",
            field="soundtrack",
        )
