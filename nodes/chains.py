"""Chains and takes out of the store: Load Chain, Load Take, Keep Chain."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui

from ..host.progress import say
from ..pipelines.errors import Refusal
from ..pipelines.takes import chains, store
from .types import TAKES, Chain, ModelBundle

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain as ChainValue
    from ..pipelines.model.bundle import VideoModel

MODEL_TIP = "A bundle of the family it was rendered with; its VAE decodes it. No diffusion weights are loaded."


class LoadChain(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadChain",
            display_name="Load Chain",
            category=TAKES,
            description="Opens a chain that was rendered before, also one that failed or was cancelled half-way, to "
            "stitch it, deliver it or go on from it.",
            search_aliases=["resume", "partial chain", "open chain"],
            inputs=[
                ModelBundle.Input("model", tooltip=MODEL_TIP),
                io.String.Input(
                    "chain",
                    tooltip="Name or id of the chain, or a film that Encode Video saved in the output folder, such as "
                    "longtake/film_00001_.mp4. Empty: the one rendered last.",
                ),
                io.Int.Input("first_stage", default=1, min=1, max=1000, tooltip="Stage to begin with, counted from 1."),
                io.Int.Input("last_stage", default=0, min=0, max=1000, tooltip="Stage to end with. 0: the last one."),
            ],
            outputs=[
                Chain.Output(
                    display_name="chain",
                    tooltip="The chain from the store, for Stitch Chain or a Chain Stage that goes on.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, chain: str | None = None, **_: Any) -> str:
        # A linked input is not known yet; what it turns out to be, ComfyUI sees by itself.
        takes = store.here()
        opened = None
        with contextlib.suppress(Refusal):
            opened = _opened(takes, chain.strip()) if chain is not None else None
        return f"{opened.id if opened else ''} {takes.deletions()}"

    @classmethod
    def execute(cls, model: VideoModel, chain: str, first_stage: int, last_stage: int) -> io.NodeOutput:
        from ..pipelines.chain import record

        takes = store.here()
        opened = _opened(takes, chain.strip())
        if opened is None:
            names = ", ".join(stored.name or stored.id for stored in chains.list_chains(takes)[:5]) or "none yet"
            raise Refusal(f"there is no chain {chain!r}; stored chains: {names}.", field="chain")
        count = len(opened.entries)
        if not first_stage <= (last_stage or count) <= count:
            raise Refusal(
                f"stages {first_stage} to {last_stage or count} asked for; the chain has the stages 1 to {count}.",
                field="last_stage",
            )
        text = f"{opened.name or opened.id}: {count} stages, {float(opened.frames / opened.fps):.2f} s"
        say(cls.hidden.unique_id, text)
        return io.NodeOutput(record.opened(takes, opened, model, first_stage, last_stage or count))


class LoadTake(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadTake",
            display_name="Load Take",
            category=TAKES,
            description="Opens one stored take as a chain of one stage, to look at it or to export it as a clip.",
            search_aliases=["export clip", "open take"],
            inputs=[
                ModelBundle.Input("model", tooltip=MODEL_TIP),
                io.String.Input("take", tooltip="Name of the take, or its key or the beginning of it (8 digits)."),
            ],
            outputs=[Chain.Output(display_name="chain", tooltip="The take as a chain of one stage.")],
        )

    @classmethod
    def fingerprint_inputs(cls, take: str | None = None, **_: Any) -> str:
        takes = store.here()
        try:
            opened = takes.named(take.strip()).key if take is not None else ""
        except Refusal:
            opened = ""
        return f"{opened} {takes.deletions()}"

    @classmethod
    def execute(cls, model: VideoModel, take: str) -> io.NodeOutput:
        from ..pipelines.chain import record

        takes = store.here()
        return io.NodeOutput(record.single(takes, takes.named(take.strip()), model))


class KeepChain(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeKeepChain",
            display_name="Keep Chain",
            category=TAKES,
            description="Gives a chain a name. Takes of a named chain are never pruned, and Load Chain opens it by "
            "that name.",
            search_aliases=["name chain", "save chain"],
            inputs=[
                Chain.Input("chain", tooltip="The chain to keep."),
                io.String.Input("name", tooltip="Its name. A chain that had it before loses it."),
            ],
            outputs=[Chain.Output(display_name="chain", tooltip="The same chain.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, chain: ChainValue, name: str) -> io.NodeOutput:
        from ..pipelines.chain import record

        takes = store.here()
        name = name.strip()
        if not name:
            raise Refusal("none is given.", field="name")
        mine = record.stored(chain)
        if mine is None:
            raise Refusal(
                "nothing of it is rendered: it is the video it begins with; connect the chain of a stage behind it.",
                field="chain",
            )
        holder = next((stored for stored in chains.list_chains(takes) if stored.name == name), None)
        try:
            if holder is not None and holder.id != mine.id:
                chains.rename(takes, holder, "")
            chains.rename(takes, mine, name)
        except OSError as error:
            raise Refusal(f"the chain cannot be kept, {takes.root} cannot be written ({error.strerror}).") from error
        return io.NodeOutput(chain, ui=ui.PreviewText(f"{name}: chain {mine.id}"))


def _opened(takes: store.Store, named: str) -> chains.StoredChain | None:
    """A chain of the store, or the one that a saved film was made of."""
    from ..host.films import chain_in

    return chains.find(takes, named) or chain_in(named)


NODES = [LoadChain, LoadTake, KeepChain]
