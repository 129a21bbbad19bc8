"""Every row of docs/parity.md is measured again, lies within its bound, and says what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.bench import Bench
from tests.oracle.table import DOCUMENT, Row, figure, read, rows

# Rounding differs between machines and releases of torch; a row that drifts further says so.
DRIFT = 10.0
NOISE = 1e-6


@pytest.fixture(scope="session")
def bench(comfyui: Path, tiny_models: Path) -> Bench:
    return Bench(tiny_models / "diffusers")


@pytest.mark.parametrize("one", rows(), ids=lambda one: one.key)
def test_the_pack_computes_what_diffusers_computes(bench: Bench, one: Row) -> None:
    import torch

    with torch.inference_mode():
        measured = one.measure(bench)

    assert measured <= one.bound
    said, bound = read()[one.key]
    assert bound == figure(one.bound)
    assert measured <= DRIFT * float(said) + NOISE, f"run `python tests/run.py oracle.write` if {measured} is right"


def test_the_table_has_a_line_for_every_row_and_no_other() -> None:
    assert list(read()) == [one.key for one in rows()], f"{DOCUMENT} is not current"
