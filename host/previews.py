"""The clip that a node has rendered, playable on the node."""

from __future__ import annotations

import logging

from comfy.model_management import InterruptProcessingException, is_oom
from comfy_api.latest import io, ui

from ..pipelines.chain.chain import Chain
from ..pipelines.chain.decode import frames_path
from .decoding import decoding
from .progress import NodeProgress

log = logging.getLogger(__name__)


def preview_of(chain: Chain, progress: NodeProgress, even_stored: bool = False) -> ui.PreviewVideo | None:
    """What the last clip of a chain adds to the film, as what the node shows that rendered it.

    A stage that was rendered just now is decoded for this; one that was stored is shown where its frames are at hand,
    and no model is loaded to look at it, unless `even_stored`. Where none can be written the node says why, and the
    stage is no worse for it.
    """
    take = chain.links[-1].take
    if take is None:
        return None
    try:
        shown = chain.spans[-1]
        path = take.preview_path(shown.first, shown.stop)
        if not path.exists():
            if not (progress.rendered or even_stored or frames_path(chain.links[-1]).exists()):
                return None
            from ..pipelines.film.preview import write_preview

            write_preview(chain, decoding(chain), path)
            progress.at_rest()
    except InterruptProcessingException:
        raise
    except Exception as error:  # no memory, no encoder, no room: whatever it is, the stage is stored
        log.warning("Longtake: no preview of take %s", take.key[:12], exc_info=True)
        full = isinstance(error, MemoryError) or is_oom(error)
        why = "there is not enough memory" if full else (str(error) or type(error).__name__).splitlines()[0]
        progress.doing(f"{'rendered' if progress.rendered else 'stored'}; no preview: {why}")
        return None
    return ui.PreviewVideo([ui.SavedResult(path.name, path.parent.name, io.FolderType.temp)])
