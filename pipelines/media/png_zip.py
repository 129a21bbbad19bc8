"""A film as PNG files in a ZIP, for whoever works on with its frames."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from .ahead import ahead
from .frames import FrameSource
from .pixels import pictures, to_pixels


def write_png_zip(
    source: FrameSource,
    target: str | io.BytesIO,
    pixels: str,
    metadata: dict[str, str],
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write frame_00001.png and so on, and film.json with the frame rate and the metadata; return how many frames."""
    import av

    done = 0
    # The pictures are compressed already.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for picture in ahead(pictures(source, to_pixels(pixels))):
            encoder: Any = av.VideoCodecContext.create("png", "w")
            encoder.width, encoder.height, encoder.pix_fmt = source.width, source.height, pixels
            encoder.time_base, picture.pts = Fraction(1, 1), 0
            done += 1
            archive.writestr(
                f"frame_{done:05}.png", b"".join(map(bytes, [*encoder.encode(picture), *encoder.encode()]))
            )
            if progress:
                progress(done, source.frame_count)
        facts = {"frame_rate": str(source.frame_rate), "frames": done}
        archive.writestr("film.json", json.dumps({**facts, **{key: json.loads(v) for key, v in metadata.items()}}))
    return done
