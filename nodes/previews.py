"""The clip that a node has rendered, playable on the node."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..pipelines.chain import Chain
from ..pipelines.film.preview import write_preview
from .encode import decoding


def preview_of(chain: Chain, rendered: bool) -> ui.PreviewVideo | None:
    """The last clip of a chain, as what a node shows.

    Args:
        rendered: whether it was rendered just now, so that it is decoded for this; one that is stored is shown where
            its frames are at hand, and no model is loaded to look at it.
    """
    take = chain.links[-1].take
    if take is None:
        return None
    path = take.preview_path
    if not path.exists():
        if not rendered and not take.frames_path.exists():
            return None
        write_preview(chain, decoding(chain), path)
    return ui.PreviewVideo([ui.SavedResult(path.name, path.parent.name, io.FolderType.temp)])
