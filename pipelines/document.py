"""Documents people write: telling JSON, TOML and plain prompts apart, and reading their fields strictly."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import PureWindowsPath
from typing import Any

from .errors import Refusal

Check = Callable[[Any], Any]

MAX_SEED = 2**64 - 1
MAX_COUNT = 1_000_000
MAX_SECONDS = 86_400  # a day
MAX_CHARACTERS = 2_000_000  # a thousand stages of two pages each
MAX_LINES = 100_000
MAX_NAME = 1000
MAX_ENTRIES = 1000  # of a list; of stages no chain can have more
MAX_REFUSAL = 300  # characters
JSON_LIST = re.compile(r'\s*\[\s*["\]]')  # a prompt may begin with a bracket too
TOML_LINE = re.compile(
    r"^[ \t]*((schema|stages|total_seconds|total_frames)[ \t]*="
    r"|\[\[?[ \t]*(stages?|defaults|chain)[ \t]*\]{1,2}[ \t\r]*(#.*)?$)",
    re.MULTILINE,
)
# A key of so many parts that tomllib, whose work grows with their square, would be at it for minutes.
DOTTED = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]+[ \t]*\.[ \t]*){100}""")


def check_size(text: str) -> None:
    """Refuse a text that is too long to be a document somebody means, before anything is made of it."""
    if len(text) > MAX_CHARACTERS:
        raise Refusal(f"the document has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    lines = text.count("\n") + 1
    if lines > MAX_LINES:
        raise Refusal(f"the document has {lines} lines; at most {MAX_LINES} are read")


def brief(refusal: Refusal) -> Refusal:
    """The same refusal in one line of at most MAX_REFUSAL characters, whatever of the document it quotes."""
    field = _one_line(refusal.field)[:80] if refusal.field else refusal.field
    message = _one_line(refusal.message)
    over = len(str(Refusal(message, stage=refusal.stage, field=field))) - MAX_REFUSAL
    if over > 0:
        message = message[: -over - 3] + "..."
    return Refusal(message, stage=refusal.stage, field=field)


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:1000])


def looks_like_toml(text: str) -> bool:
    """Whether a line of a text assigns a top-level field of a storyboard or opens one of its tables."""
    return TOML_LINE.search(text) is not None


def read_json(text: str) -> Any:
    """Read JSON; NaN and infinities pass here, so that the field that holds one can be named.

    Raises:
        Refusal: malformed JSON, with line and column, or a name given twice in one object.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise Refusal(f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except Refusal:
        raise
    except (ValueError, RecursionError):
        raise Refusal("not readable as JSON: it nests too deeply or holds a number of thousands of digits") from None


def read_toml(text: str) -> dict[str, Any]:
    """Read TOML.

    Raises:
        Refusal: malformed TOML, with line and column.
    """
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    if DOTTED.search(text):
        raise Refusal("not readable as TOML: a name in it has more than 100 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"not valid TOML: {error}") from None
    except (ValueError, RecursionError):
        raise Refusal("not readable as TOML: it nests too deeply or holds a number of thousands of digits") from None


def read_prompts(text: str) -> tuple[str, ...]:
    """Prompts of a plain text, one a line, or of a JSON list of texts. Blank lines and lines from # on are left out.

    Raises:
        Refusal: no prompt at all, a list that is not JSON, or an entry of it that is empty or no text.
    """
    check_size(text)
    text = text.lstrip("\ufeff")
    lines = [line.strip() for line in text.splitlines()]
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if JSON_LIST.match(text):
        prompts = tuple(_numbered(read_json(text)))
    if not prompts:
        raise Refusal("no prompt is given; write one a line, or a JSON list", field="prompts")
    return prompts


def read_fields(
    table: Any, fields: Mapping[str, Check], *, stage: int | None = None, inside: str = ""
) -> dict[str, Any]:
    """The fields of a table, each passed through its check.

    Args:
        fields: what the table may hold, and the check that returns the value or says what is wrong with it.
        stage: number of the stage the table describes, from 1.
        inside: name of the table, put before the field's name in a refusal.

    Raises:
        Refusal: naming the stage and field; an unknown field comes with the known ones nearest to it.
    """
    if not isinstance(table, Mapping):
        raise Refusal(f"{quoted(table)} is given; a table of fields is needed", stage=stage, field=inside or None)
    values = {}
    for name, value in table.items():
        place = f"{inside}.{name}" if inside else name
        if name not in fields:
            near = get_close_matches(name[:80], fields) or sorted(fields)
            raise Refusal(f"there is no such field; known here: {', '.join(near)}", stage=stage, field=place[:80])
        try:
            values[name] = fields[name](value)
        except Refusal as refusal:
            raise refusal.at(stage=stage, field=place) from None
    return values


# Checks: each takes a value as it came from the document and returns it, or refuses it.


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refusal(f"{quoted(value)} is given; a text is needed")
    return value


def prompt(value: Any) -> str:
    if not text(value).strip():
        raise Refusal("it is empty; say what is to be seen")
    return value


def count(value: Any) -> int:
    """A whole number from 1 to MAX_COUNT."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_COUNT:
        raise Refusal(f"{quoted(value)} is given; a whole number from 1 to {MAX_COUNT} is needed")
    return value


def overlap(value: Any) -> int | None:
    """A whole number of frames, 0 for a plain join; None for the word that leaves it to the model."""
    if value == "automatic":
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise Refusal(f'{quoted(value)} is given; a number of frames is needed, 0 for a plain join, or "automatic"')
    return value


def seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        raise Refusal(f"{quoted(value)} is given; a whole number from 0 to {MAX_SEED} is needed")
    return value


def seconds(value: Any) -> float:
    """A positive number of seconds up to MAX_SECONDS."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= MAX_SECONDS:
        raise Refusal(f"{quoted(value)} is given; a positive number of seconds up to {MAX_SECONDS} is needed")
    return float(value)


def number(value: Any) -> float:
    """A finite number of at most 100 either way."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not -100 <= value <= 100:
        raise Refusal(f"{quoted(value)} is given; a number from -100 to 100 is needed")
    return float(value)


def strength(value: Any) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise Refusal(f"{quoted(value)} is given; a number from 0 to 1 is needed")
    return float(value)


def frame(value: Any) -> int:
    """A whole number of at most MAX_COUNT either way."""
    if not isinstance(value, int) or isinstance(value, bool) or not -MAX_COUNT <= value <= MAX_COUNT:
        raise Refusal(f"{quoted(value)} is given; a whole number is needed, counted from 0, or -1 for the last frame")
    return value


def image_name(value: Any) -> str:
    """The name of a picture in ComfyUI's input folder."""
    return file_name(value, "a picture", "input folder")


def sound_name(value: Any) -> str:
    """The name of a sound in ComfyUI's input folder."""
    return file_name(value, "a sound", "input folder")


def file_name(value: Any, what: str, folder: str) -> str:
    """The name of a file in one of ComfyUI's folders, written with either slash, with forward ones.

    A path that leads out of it, or that is longer than a path can be, is refused.
    """
    name = text(value)
    if len(name) > MAX_NAME:
        raise Refusal(f"{quoted(name)} has {len(name)} characters; a name has at most {MAX_NAME}")
    path = PureWindowsPath(name)  # takes both slashes apart and knows drives, so it is as strict as either system
    if not name.strip() or "\0" in name:
        raise Refusal(f"it is empty; name {what} in ComfyUI's {folder}")
    if path.drive or path.root or ".." in path.parts:
        raise Refusal(f"{quoted(name)} leads out of ComfyUI's {folder}; name {what} inside it")
    return path.as_posix()


def one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise Refusal(f"{quoted(value)} is given; use {', '.join(names[:-1])} or {names[-1]}")
        return value

    return check


def tables(value: Any) -> list[Any]:
    """A list of at most MAX_ENTRIES."""
    if not isinstance(value, list):
        raise Refusal(f"{quoted(value)} is given; a list is needed")
    if len(value) > MAX_ENTRIES:
        raise Refusal(f"{len(value)} are given; at most {MAX_ENTRIES} are read")
    return value


def anything(value: Any) -> Any:
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Refusal("it is given twice in one place; keep one", field=repeated)
    return table


def _numbered(prompts: list[Any]) -> list[str]:
    checked = []
    for number, value in enumerate(prompts, 1):
        try:
            checked.append(prompt(value))
        except Refusal as refusal:
            raise refusal.at(field=f"prompt {number}") from None
    return checked


def quoted(value: Any) -> str:
    """A value of a document as a refusal shows it, at most 60 characters."""
    try:
        shown = repr(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number of thousands of digits"
    except RecursionError:
        return "something that nests too deeply"
    return shown if len(shown) <= 60 else shown[:57] + "..."
