"""A contact sheet: the same film with other seeds, a row for each, to choose from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .worker import thumbnail

if TYPE_CHECKING:
    from distributed import Client
    from PIL import Image

GAP, MARGIN = 4, 90  # pixels between pictures, and for the name of a row


def pictures_of(client: Client, keys: Sequence[str]) -> list[Image.Image | None]:
    """The pictures of takes, from whichever server has them."""
    from PIL import Image

    pictures: list[Image.Image | None] = []
    for key in keys:
        answers = (png for png in client.run(thumbnail, key, on_error="ignore").values() if png)
        png = next(answers, None)
        pictures.append(None if png is None else Image.open(io.BytesIO(png)))
    return pictures


def write_sheet(path: Path, rows: Mapping[str, Sequence[Image.Image | None]]) -> None:
    """Write the pictures of several takes of a film, a row for each by its name, a column for each stage."""
    from PIL import Image, ImageDraw

    there = [picture for pictures in rows.values() for picture in pictures if picture is not None]
    width = max((picture.width for picture in there), default=1) + GAP
    height = max((picture.height for picture in there), default=1) + GAP
    columns = max(map(len, rows.values()), default=0)
    sheet = Image.new("RGB", (MARGIN + columns * width, len(rows) * height), "black")
    draw = ImageDraw.Draw(sheet)
    for row, (name, pictures) in enumerate(rows.items()):
        draw.text((GAP, row * height + GAP), name, fill="white")
        for column, picture in enumerate(pictures):
            if picture is not None:
                sheet.paste(picture, (MARGIN + column * width, row * height))
    sheet.save(path)
