"""JSON that tells when it has been changed since it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .reading import Damaged, Unreadable

SEAL = "check"


def sealed(document: Mapping[str, Any]) -> bytes:
    """JSON with a hash of itself in it; `unsealed` reads it.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    return json.dumps({**document, SEAL: _hash(document)}, allow_nan=False).encode()


def unsealed(data: bytes, formats: tuple[str, ...]) -> dict[str, Any]:
    """A document that `sealed` wrote, in one of the formats that can be read.

    Raises:
        Damaged: it is none, or has changed since.
        Unreadable: it is whole, and of another version's format.
    """
    document = parsed(data)
    if document.pop(SEAL, None) is None:
        raise Damaged("not a file that was written here")
    # Byte for byte, because the last digit of a long number can change without changing the number.
    try:
        whole = sealed(document) == data
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not what is written here ({error})") from None
    if not whole:
        raise Damaged("its content has changed since it was written")
    if document.get("format") not in formats:
        raise Unreadable(
            f"of the format {document.get('format')}, and this version reads {', '.join(formats)}. It stays as it is; "
            "use the version that wrote it, or remove it."
        )
    return document


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object; raises `Damaged` where it is none."""
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise Damaged("not a file that was written here")
    return document


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
