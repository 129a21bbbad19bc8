"""A model as diffusers saves it: a folder with an index, and for each component a config and its weights.

Nothing here imports diffusers. Only JSON and safetensors files are read, and only names that stay in the folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import Refusal
from ...weights.outline import outline
from ...weights.stored import Stored, stored_in

if TYPE_CHECKING:
    import torch

Weight = TypeVar("Weight")

INDEX = "model_index.json"
OWN = "from the folder"  # the upscaler that lies beside the pipeline's components
DEFAULT = "default"  # the weights that carry no variant in their names
VARIANTS = (DEFAULT, "fp16", "bf16", "fp32", "fp8")

# What diffusers and transformers call a component's weights.
_STEMS = ("diffusion_pytorch_model", "model")


@dataclass(frozen=True)
class Component:
    """One part of a folder: its config, and the safetensors files that hold its weights.

    Args:
        name: of its own folder, as errors call it.
    """

    name: str
    config: Mapping[str, Any]
    files: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The diffusers or transformers class it was saved from."""
        return str(
            self.config.get("_class_name") or next(iter(self.config.get("architectures") or ()), "nothing named")
        )

    def outline(self) -> dict[str, torch.Tensor]:
        """Its tensors by their diffusers names, as meta tensors that hold no values."""
        try:
            return _together(outline(path).tensors for path in self.files)
        except Refusal as refusal:
            raise Refusal(f"{self.name}: {refusal.message}", field="folder") from None

    def stored(self) -> dict[str, Stored]:
        """Where its tensors lie, by their diffusers names."""
        return _together(stored_in(path).tensors for path in self.files)

    def load(self) -> dict[str, torch.Tensor]:
        """Its tensors by their diffusers names, mapped from their files."""
        import comfy.utils

        return _together(comfy.utils.load_torch_file(path) for path in self.files)


def check_fixed(config: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    """Raise `Refusal` where a config says other than what ComfyUI has fixed in its code.

    Args:
        fixed: what ComfyUI computes; a config that leaves one out means the same.
        where: folder and component, for the error.
    """
    for key, value in fixed.items():
        stated = config.get(key, value)
        if (list(stated) if isinstance(stated, tuple) else stated) != value:
            raise Refusal(f"{where}: {key} is {stated}; ComfyUI computes {value}.", field="folder")


def _together(shards: Iterable[Mapping[str, Weight]]) -> dict[str, Weight]:
    tensors: dict[str, Weight] = {}
    for shard in shards:
        if twice := sorted(tensors.keys() & shard.keys()):
            raise Refusal(f"{twice[0]} is in two of its files.", field="folder")
        tensors.update(shard)
    return tensors


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder with a model_index.json.

    Args:
        name: as the loader node names it.
        index: what model_index.json says.
        variant: which weights are read: "fp16" for `model.fp16.safetensors`, `DEFAULT` for `model.safetensors`.
    """

    name: str
    path: Path
    index: Mapping[str, Any]
    variant: str = DEFAULT

    @property
    def pipeline(self) -> str:
        return str(self.index.get("_class_name", "no pipeline"))

    def has(self, component: str) -> bool:
        """Whether the index names such a component; `[null, null]` stands for none."""
        entry = self.index.get(component)
        return isinstance(entry, list) and any(entry)

    def config(self, component: str, file: str = "config.json") -> dict[str, Any]:
        """A JSON file of a component."""
        return _read_json(self.path / component / file, f"{self.name}/{component}/{file}")

    def component(self, name: str, *kinds: str, listed: bool = True) -> Component:
        """A component of one of the classes among `kinds`.

        Args:
            listed: whether the index must name it; some lie beside those of the pipeline.

        Raises:
            Refusal: it is not there, of another class, or its weights are not there as asked.
        """
        if listed and not self.has(name):
            raise Refusal(f"{self.name} has no {name}, which its kind of model needs.", field="folder")
        if (package := self.path / name / "0.safetensors").is_file():  # as MLX-Gen saves one, without its config
            Component(name, {}, (str(package),)).outline()
        component = Component(name, self.config(name), ())
        if component.kind not in kinds:
            raise Refusal(
                f"{self.name}: {name} is a {component.kind}; {' or '.join(kinds)} can be loaded.", field="folder"
            )
        return Component(name, component.config, self._weights(name))

    def _weights(self, component: str) -> tuple[str, ...]:
        folder = self.path / component
        variant = "" if self.variant == DEFAULT else self.variant
        for stem in _STEMS:
            index = folder / ".".join(filter(None, (stem, "safetensors", "index", variant, "json")))
            if index.is_file():
                return tuple(str(path) for path in _shards(folder, index, f"{self.name}/{component}"))
            single = folder / ".".join(filter(None, (stem, variant, "safetensors")))
            if single.is_file():
                return (str(single),)
        raise Refusal(self._why_no_weights(component), field="variant")

    def _why_no_weights(self, component: str) -> str:
        folder = self.path / component
        files = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        there = sorted({_variant_of(name) for name in files if name.endswith(".safetensors")})
        if there:
            return f"{self.name}: {component} has no {self.variant} weights; it has {', '.join(there)}."
        if any(name.endswith((".bin", ".pt", ".pth")) for name in files):
            return (
                f"{self.name}: {component} is saved as a pickle, which can run code when it is opened and is not read. "
                "Save it again with safe_serialization=True."
            )
        return f"{self.name}: {component} has no weights. Was the folder downloaded whole?"


def _shards(folder: Path, index: Path, where: str) -> list[Path]:
    """The files that an index names: each in the index's own folder, and each there."""
    names = sorted(set(_read_json(index, f"{where}/{index.name}").get("weight_map", {}).values()))
    shards = []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise Refusal(
                f"{where}/{index.name} names {name!r}, which is not a file of its own folder.", field="folder"
            )
        if not (folder / name).is_file():
            raise Refusal(f"{where} lacks {name}. Was the folder downloaded whole?", field="folder")
        shards.append(folder / name)
    if not shards:
        raise Refusal(f"{where}/{index.name} names no files.", field="folder")
    return shards


def _variant_of(file: str) -> str:
    """`model.fp16-00001-of-00002.safetensors` -> fp16."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", file.removesuffix(".safetensors"))
    return stem.partition(".")[2] or DEFAULT


def folders_below(roots: Iterable[str], names: Collection[str] = (INDEX,)) -> dict[str, str]:
    """Every folder below the roots that holds files of these names: name with forward slashes -> path."""
    folders: dict[str, str] = {}
    for root in roots:
        for path in _walk(root, names):
            folders.setdefault(Path(path).relative_to(root).as_posix(), path)
    return dict(sorted(folders.items()))


def _walk(root: str, names: Collection[str]) -> Iterator[str]:
    for path, folders, files in os.walk(root, followlinks=True):
        if set(names) <= set(files) and path != root:
            folders.clear()
            yield path
        # A folder of folders is as deep as people file them: kind/author/model.
        if len(Path(path).relative_to(root).parts) >= 3:
            folders.clear()


def open_folder(name: str, roots: Iterable[str], variant: str = DEFAULT) -> DiffusersFolder:
    """A folder by the name that `folders_below` gives it; no other name leads anywhere.

    Raises:
        Refusal: there is no such folder, or its index cannot be read.
    """
    folders = folders_below(roots)
    if name not in folders:
        raise Refusal(
            f"{name} given; the diffusers folders are {', '.join(folders) or 'none: put one into models/diffusers'}.",
            field="folder",
        )
    path = Path(folders[name])
    return DiffusersFolder(name, path, _read_json(path / INDEX, f"{name}/{INDEX}"), variant)


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{where} is missing. Was the folder downloaded whole?", field="folder") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"{where} cannot be read ({error}).", field="folder") from None
    if not isinstance(value, dict):
        raise Refusal(f"{where} holds no JSON object.", field="folder")
    return value
