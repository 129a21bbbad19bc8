"""The table of docs/hosts.md, every name of ComfyUI that the pack uses: `python tests/run.py hosts.page` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.hosts.api import ROOT, names_used
from tests.hosts.newest import Newest

PAGE = ROOT / "docs" / "hosts.md"
BEGIN, END = "<!-- names: begin -->", "<!-- names: end -->"


def table(host: Path) -> str:
    """A row a name: where the pack uses it, whether it is ComfyUI's own affair, whether it was read in the newest."""
    newest = Newest.read()
    rows = ["| module | name | uses | in | | newest |", "|---|---|---|---|---|---|"]
    for name in names_used(host):
        folders = sorted({file.rpartition("/")[0] or file for file in name.files})
        private = "private" if name.private else ""
        read = "read" if newest.knows(name) else ""
        rows.append(f"| `{name.module}` | `{name.path}` | {name.uses} | {', '.join(folders)} | {private} | {read} |")
    return "\n".join(rows)


def with_table(page: str, rows: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def main() -> None:
    from tests.host.place import Place

    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(Place.here().comfyui)), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
