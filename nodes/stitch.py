"""From a chain to frames: Stitch Chain, Chain to Images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..host.progress import watch_encoding
from ..pipelines.errors import Refusal
from ..pipelines.takes import store
from .types import FILM, Chain

if TYPE_CHECKING:
    from ..pipelines.chain.chain import Chain as ChainValue
    from ..pipelines.film.stitch import Film


class StitchChain(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeStitchChain",
            display_name="Stitch Chain",
            category=FILM,
            description="Joins the stages of a chain to one video. Overlaps are shown once, fades are blended, and "
            "nothing is held in memory: frames are made while the video is saved. Sound is joined on the film's clock.",
            search_aliases=["film", "movie", "transition", "concatenate clips", "join videos", "chain to video"],
            inputs=[Chain.Input("chain", tooltip="The chain of rendered stages to show as one film."), _match_input()],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The film, for Encode Video or ComfyUI's Save Video.")
            ],
        )

    @classmethod
    def execute(cls, chain: ChainValue, match_colour: bool = True) -> io.NodeOutput:
        from ..pipelines.film.soundtrack import soundtrack
        from ..pipelines.media.video import LazyVideo

        return io.NodeOutput(LazyVideo(_film(chain, match_colour), soundtrack(chain), watch_encoding))


class ChainToImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeChainToImages",
            display_name="Chain to Images",
            category=FILM,
            description="Gives frames of a film as images. All of them are in memory at once: a minute of 832x480 at "
            "16 fps is 4.6 GB. To save a film use Stitch Chain and Encode Video, which need no such memory.",
            search_aliases=["chain to frames", "extract frames"],
            inputs=[
                Chain.Input("chain", tooltip="The chain of rendered stages."),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Frame of the film to begin with, counted from 0.",
                ),
                io.Int.Input(
                    "frame_count",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="How many frames; 0 is all to the end. Each takes 4.8 MB of memory at 832x480 and 11 MB "
                    "at 1280x720, and every node the images pass through may take as much again.",
                ),
                _match_input(),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The frames, [frames, height, width, 3].")],
        )

    @classmethod
    def execute(cls, chain: ChainValue, first_frame: int, frame_count: int, match_colour: bool = True) -> io.NodeOutput:
        from ..pipelines.media.frames import as_images

        film = _film(chain, match_colour)
        if first_frame >= film.frame_count:
            raise Refusal(
                f"{first_frame} is given; the film has the frames 0 to {film.frame_count - 1}", field="first_frame"
            )
        if first_frame + frame_count > film.frame_count:
            raise Refusal(
                f"{frame_count} is given; from frame {first_frame} on the film has {film.frame_count - first_frame}",
                field="frame_count",
            )
        return io.NodeOutput(as_images(film, first_frame, first_frame + frame_count if frame_count else None))


def _match_input() -> io.Boolean.Input:
    return io.Boolean.Input(
        "match_colour",
        default=True,
        optional=True,
        tooltip="Takes back the drift of colour and contrast over smooth seams. Both clips of a seam show the frames "
        "of the overlap; what differs there, and after it too, is drift. Off: clips are shown as they were rendered.",
    )


def _film(chain: ChainValue, match_colour: bool) -> Film:
    from ..host.decoding import decoding
    from ..pipelines.film.colour import Match
    from ..pipelines.film.stitch import Film
    from ..pipelines.takes.derived import Derived

    opened, kept = decoding(chain), Derived(store.here())
    return Film(chain, opened, Match(chain, opened, kept) if match_colour else None, kept)


NODES = [StitchChain, ChainToImages]
