"""What the inputs of a Chain Stage ask for, of the node that runs and of those that the graph holds behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..pipelines.errors import Refusal
from ..pipelines.timeline.clips import Carry, Join, Length, Transition

if TYPE_CHECKING:
    import torch

    from ..pipelines.chain.chain import Chain
    from ..pipelines.model.bundle import VideoModel
    from ..pipelines.model.variant import Settings
    from ..pipelines.stage.guides import Guide
    from ..pipelines.stage.stage import Stage

ONE_CLIP, AS_CHAIN = "one clip", "chain"


def join_of(transition: Mapping[str, Any] | None, model: VideoModel, chain: Chain | None) -> Join:
    """The join that a transition input asks for; the first stage of a chain is a cut whatever it says."""
    if chain is None:
        return Join(Transition.CUT)
    if not transition or transition.get("transition") not in {choice.value for choice in Transition}:
        raise Refusal("none is given; choose smooth, cut or fade.", field="transition")
    overlap = transition.get("overlap", {}).get("overlap_frames", model.variant.overlap)
    carry = transition.get("carry_over", {}).get("carry_over", Carry.PIXELS)
    return Join.of(Transition(transition["transition"]), overlap, transition.get("fade_frames", 0), Carry(carry))


def length_of(length: Mapping[str, Any] | None) -> Length:
    unit = (length or {}).get("length")
    amount = (length or {}).get(unit or "")
    if unit not in ("seconds", "frames") or amount is None:
        raise Refusal("none is given; give seconds or frames.", field="length")
    return Length(**{unit: amount})


def stages_of(model: VideoModel, chain: Chain | None, long_stages: str = ONE_CLIP, **inputs: Any) -> Sequence[Stage]:
    """What the inputs of a Chain Stage ask for, behind a chain: one stage, or a long one as a chain of them.

    Raises:
        Refusal: the inputs leave it open, or what is asked cannot be.
    """
    from ..pipelines.stage.check import split_stage

    try:
        stage = stage_of(model, chain, **inputs)
        return split_stage(stage, model, chain) if long_stages == AS_CHAIN else [stage]
    except Refusal as refusal:
        raise refusal.at(stage=1 if chain is None else len(chain.links) + 1) from None


def stage_of(
    model: VideoModel,
    chain: Chain | None,
    length: Mapping[str, Any] | None = None,
    transition: Mapping[str, Any] | None = None,
    prompt: str = "",
    negative_prompt: str = "",
    size: Mapping[str, Any] | None = None,
    seed: int = 0,
    start_image: torch.Tensor | None = None,
    end_image: torch.Tensor | None = None,
    sampling: Settings | None = None,
    guides: Mapping[str, Guide] | None = None,
    take: Mapping[str, Any] | None = None,
    **_: Any,
) -> Stage:
    """What the inputs of a Chain Stage ask for, behind a chain; raises `Refusal` where they leave it open."""
    from ..pipelines.stage.guides import guided
    from ..pipelines.stage.stage import Stage

    width, height = size_of(size or {})
    stage = Stage(
        prompt=prompt,
        negative_prompt=negative_prompt,
        length=length_of(length),
        seed=seed,
        join=join_of(transition, model, chain),
        width=width,
        height=height,
        start_image=start_image,
        end_image=end_image,
        anchor_image=(transition or {}).get("carry_over", {}).get("anchor_image"),
        sampling=sampling,
        take=(take or {}).get("number", 0),
    )
    return guided(stage, (guides or {}).values())


def size_of(size: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a size input; zeros where it is automatic."""
    return size.get("width", 0), size.get("height", 0)
