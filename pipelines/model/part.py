"""A part of a model bundle, loaded through ComfyUI when it is first needed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from ..identity import Source, Unidentified, canonical
from ..weights.outline import Outline, misfit
from ..weights.stored import StoredWeights


class Part:
    """One model of a bundle. Bundles made from one another share their parts, so each is loaded once.

    Args:
        name: what errors call it, usually the file name.
        load: reads it through ComfyUI; called at most once, by the first `get`.
        source: what identifies its weights. None where nothing does: then takes made with it are kept and never found
            again.
        header: names and shapes of its weights as ComfyUI spells them, where its files tell them.
        stored: what a file holds that it could be read from, tensor by tensor; such a file need not be there.
        base: the part that it is a patched copy of.
        patch: what it is patched with.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Any],
        source: Source | None = None,
        *,
        header: Callable[[], Outline] | None = None,
        stored: Callable[[], StoredWeights] | None = None,
        base: Part | None = None,
        patch: Hashable = None,
    ):
        self.name = name
        self.source = source
        self.header = header
        self.stored = stored
        self.base = base
        self.patch = patch
        self._identity: Any = None
        self._load = load
        self._loaded: Any = None
        self._lock = threading.Lock()
        self._patched: weakref.WeakValueDictionary[Hashable, Part] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, name: str, loaded: Any, source: Source | None = None) -> Part:
        """A part that some other loader has loaded already."""
        part = cls(name, lambda: loaded, source)
        part.get()
        return part

    @property
    def loaded(self) -> bool:
        return self._loaded is not None

    @property
    def identity(self) -> Any:
        """What the key of a take counts of it: the content of its files at the time they were read, and its patches.

        Raises:
            Unidentified: nothing tells its weights from others.
        """
        if self._identity is None:
            if self.base is not None:
                self._identity = {"base": self.base.identity, "patch": canonical(self.patch)}
            elif self.source is not None:
                self._identity = canonical(self.source)
            else:
                raise Unidentified(f"the {self.name} comes from nodes that cannot be identified")
        return self._identity

    @property
    def root(self) -> Part:
        """The part as it was before any patch."""
        return self if self.base is None else self.base.root

    @property
    def patches(self) -> tuple[Hashable, ...]:
        """What it is patched with, in the order it was put on."""
        return () if self.base is None else (*self.base.patches, self.patch)

    def get(self) -> Any:
        """The model, loaded where it is not yet.

        Raises:
            Refusal: its weights do not fit the model that ComfyUI builds for them.
        """
        with self._lock:
            if self._loaded is None:
                # A file that is replaced later is not what these weights came from.
                with suppress(Unidentified):
                    _ = self.identity
                try:
                    self._loaded = self._load()
                except RuntimeError as error:
                    refusal = misfit(self.name, error)
                    if refusal is None:
                        raise
                    raise refusal from error
            return self._loaded

    def patched(self, key: Hashable, patch: Callable[[Any], Any]) -> Part:
        """A part that is made from this one when it is first needed.

        Two stages that ask for the same `key` get the same part, so that ComfyUI sees one patched model and leaves its
        weights where they are between them.

        Args:
            key: what the patch depends on.
            patch: takes the loaded model and returns a patched clone that shares its weights.
        """
        with self._lock:
            part = self._patched.get(key)
            if part is None:
                part = Part(self.name, lambda: patch(self.get()), stored=self.stored, base=self, patch=key)
                self._patched[key] = part
            return part
