"""Saved workflows keep the values of widgets by position: their order may only grow at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.host.server import Server

RECORD = Path(__file__).with_name("widgets.json")


def order_of(info: dict[str, Any]) -> list[str]:
    """Names of a node's inputs in the order of its schema; those of a dynamic combo behind it, choice by choice."""
    names: list[str] = []

    def add(inputs: dict[str, Any], prefix: str) -> None:
        for section in ("required", "optional"):
            for name, (kind, *more) in inputs.get(section, {}).items():
                names.append(prefix + name)
                for option in more[0].get("options", ()) if kind == "COMFY_DYNAMICCOMBO_V3" else ():
                    add(option["inputs"], f"{prefix}{name}={option['key']}.")

    add(info["input"], "")
    return names


def test_widgets_are_only_appended(server: Server) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    ours = {name: info for name, info in server.object_info().items() if re.match("Longtake(?!Test)", name)}
    orders = {name: order_of(info) for name, info in ours.items()}
    assert orders.keys() == recorded.keys()
    for name, order in orders.items():
        # A new choice of a dynamic combo brings inputs of its own, which stand behind no other node's values.
        kept = [entry for entry in order if entry in recorded[name]]
        assert kept == recorded[name], name
        plain = [entry for entry in order if "=" not in entry]
        assert plain[: len(before := [entry for entry in recorded[name] if "=" not in entry])] == before, name
