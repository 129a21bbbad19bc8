"""The table of LoRA formats says what is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.pipelines.lora.table import TABLE, table


def test_the_table_of_formats_is_current_and_all_of_it_works(comfyui: Path, tiny_models: Path) -> None:
    import comfyui_version

    measured = table(tiny_models)
    rows = [line.split(" | ") for line in measured.splitlines() if line.startswith("| ") and "alone" not in line]
    assert len(rows) == 26
    assert all(row[2] == "yes" and row[4].startswith(("yes", " |")) for row in rows)
    page = TABLE.read_text(encoding="utf-8")
    (host,) = re.findall("ComfyUI ([0-9.]+) alone", page)
    if host != comfyui_version.__version__:
        pytest.skip(f"what is loaded without the pack was written down on ComfyUI {host}")
    assert measured == page, "write it anew with: python tests/run.py pipelines.lora.table"
