"""The clip that a node has rendered, playable on the node."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..pipelines.chain import Chain
from ..pipelines.errors import Refusal
from ..pipelines.film.preview import write_preview
from .encode import decoding
from .progress import NodeProgress


def preview_of(chain: Chain, progress: NodeProgress) -> ui.PreviewVideo | None:
    """The last clip of a chain, as what the node shows that rendered it.

    A stage that was rendered just now is decoded for this; one that was stored is shown where its frames are at hand,
    and no model is loaded to look at it. Where none can be written the node says why, and the stage is no worse for it.
    """
    take = chain.links[-1].take
    if take is None:
        return None
    path = take.preview_path
    if not path.exists():
        if not progress.rendered and not take.frames_path.exists():
            return None
        try:
            write_preview(chain, decoding(chain), path)
        except (OSError, Refusal) as error:
            progress.doing(f"{'rendered' if progress.rendered else 'stored'}; no preview: {error}")
            return None
        progress.at_rest()
    return ui.PreviewVideo([ui.SavedResult(path.name, path.parent.name, io.FolderType.temp)])
