"""What ComfyUI has to import of the pack at each start."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What acts, and takes the most to import; of each a node needs it once it runs.
ACTS = (
    "pipelines/families/ltx2.py",
    "pipelines/families/wan22.py",
    "pipelines/film/",
    "pipelines/load/diffusers/bundle.py",
    "pipelines/load/files.py",
    "pipelines/media/encode.py",
    "pipelines/media/interpolate.py",
    "pipelines/media/video.py",
    "pipelines/model/bundle.py",
    "pipelines/stage/",
    "pipelines/storyboard/",
)


def test_a_start_imports_none_of_what_stages_films_and_loaders_act_with():
    imported = {path.relative_to(ROOT).as_posix() for path in imported_from(ROOT / "nodes/__init__.py")}
    assert {"nodes/stage.py", "host/routes.py", "pipelines/errors.py"} <= imported  # imports are followed
    assert sorted(path for path in imported if path.startswith(ACTS)) == []


def imported_from(start: Path) -> set[Path]:
    """The files of the pack that importing one imports, by the imports at their heads."""
    files, waiting = set(), [start]
    while waiting:
        file = waiting.pop()
        if file not in files and file.is_file():
            files.add(file)
            waiting += named(file)
    return files


def named(file: Path) -> Iterator[Path]:
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and statement.level:
            folder = file.parents[statement.level - 1].joinpath(*(statement.module or "").split("."))
            for path in (folder, *(folder / alias.name for alias in statement.names)):
                yield path.with_suffix(".py")
                yield path / "__init__.py"
