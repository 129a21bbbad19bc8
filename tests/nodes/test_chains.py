"""When Load Chain and Load Take are asked anew: the name moved, something was deleted, an input is a link."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from longtake.pipelines.chain import record
from longtake.pipelines.chain.chain import Chain, Link
from longtake.pipelines.errors import Refusal
from longtake.pipelines.takes import chains
from longtake.pipelines.takes.store import Store
from longtake.pipelines.takes.take import Take
from longtake.pipelines.timeline.clips import Clip, Join


@pytest.fixture
def store(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return Store(tmp_path / "longtake")


def written(store: Store, letter: str, name: str = "") -> Take:
    take = store.write(letter * 64, {"latent": torch.zeros(1)}, {})
    take.note(name=name)
    return take


def chain_of(take: Take) -> Chain:
    return Chain("wan22", 96, 64, Fraction(16), (Link(Clip(5, Join(), 5), take, None),))


def test_load_take_is_asked_anew_when_its_name_moves_to_another_take(store: Store) -> None:
    from longtake.nodes.chains import LoadTake

    first, second = written(store, "a", "fox"), written(store, "b")
    before = LoadTake.fingerprint_inputs(take="fox")
    assert LoadTake.fingerprint_inputs(take="fox") == before
    first.note(name="")
    second.note(name="fox")
    assert LoadTake.fingerprint_inputs(take="fox") != before


@pytest.mark.parametrize("node", ["LoadChain", "LoadTake"])
def test_nodes_are_asked_anew_when_a_take_is_deleted(store: Store, node: str) -> None:
    from longtake.nodes import chains as nodes

    take = written(store, "a", "fox")
    before = getattr(nodes, node).fingerprint_inputs()
    store.delete(take)
    assert getattr(nodes, node).fingerprint_inputs() != before


def test_linked_inputs_are_not_known_yet_and_nothing_fails(store: Store) -> None:
    from longtake.nodes.chains import LoadChain, LoadTake
    from longtake.nodes.lora import ApplyLora

    for _ in range(2):
        assert LoadChain.fingerprint_inputs(model=None, chain=None, first_stage=1) == f" {store.deletions()}"
        assert LoadTake.fingerprint_inputs(model=None, take=None) == f" {store.deletions()}"
        assert ApplyLora.fingerprint_inputs(high_noise_lora=None, low_noise_lora=None) == []


def test_a_chain_is_kept_by_name_and_the_name_moves(store: Store) -> None:
    from longtake.nodes.chains import KeepChain

    first, second = (chain_of(written(store, letter)) for letter in "ab")
    KeepChain.execute(first, "film")
    KeepChain.execute(second, "film")
    assert chains.find(store, "film").id == record.id_of(second)
    assert chains.find(store, record.id_of(first)).name == ""
    with pytest.raises(Refusal, match="none is given"):
        KeepChain.execute(first, " ")
