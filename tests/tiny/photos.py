"""Real photographs for tests and the demo: those that scikit-image's own package carries, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

# From skimage.data; public domain (NASA: astronaut, rocket) and CC0 (chelsea the cat, coffee).
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def put_photos(folder: Path) -> dict[str, Path]:
    """Write every photograph as NAME.png into `folder`, where it is not there yet; return name -> file."""
    from PIL import Image
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.png" for name in PHOTOS}
    for name, file in files.items():
        if not file.exists():
            Image.fromarray(getattr(data, name)()).save(file)
    return files
