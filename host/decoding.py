"""Opening the frames of a chain, said on the node that waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..pipelines.chain.chain import Chain as ChainValue
from ..pipelines.chain.chain import Link
from ..pipelines.chain.decode import decoded, frames_path
from ..pipelines.media.footage import FootageFrames
from .progress import announce_decoding, say_on_running

if TYPE_CHECKING:
    import numpy as np


def decoding(chain: ChainValue) -> Callable[[Link], np.ndarray | FootageFrames]:
    """What opens the frames of a link, and says so on the node that has to wait for them."""

    def opened(link: Link) -> np.ndarray | FootageFrames:
        if link.footage is None and not frames_path(link).exists():
            number = chain.links.index(link) + 1
            say_on_running(f"Decoding stage {number} of {len(chain.links)}")
            announce_decoding(number, len(chain.links), link.clip.frames)
        return decoded(link, chain)

    return opened
