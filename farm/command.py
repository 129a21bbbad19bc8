"""python -m farm film.json: render a film on many ComfyUI servers.

film.json is an API prompt with a Render Storyboard node (Workflow > Export (API)). Without more, a ComfyUI is started
for each GPU of this computer and ended afterwards. docs/farm.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .server import TOKEN_IN, Gone, Refused, Unfit

MISSING = 'a farm needs Dask: python -m pip install "distributed>=2024.8"'


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    try:
        import distributed  # noqa: F401 - said in a sentence where it is not there
    except ModuleNotFoundError:
        print(MISSING, file=sys.stderr)
        return 2
    from .film import FilmFailed
    from .scenes import NotAFilm

    # A farm that is ended in any way ends what it has begun.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _render(options)
    except KeyboardInterrupt:
        print("cancelled; what is rendered is stored, and the same command goes on from there.", file=sys.stderr)
        return 130
    except (NotAFilm, FilmFailed, Unfit, Gone, Refused) as error:
        print(error, file=sys.stderr)
        return 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m farm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("film", type=Path, help="an API prompt with a Render Storyboard node")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--servers", nargs="+", metavar="URL", help="ComfyUI servers that run")
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask cluster that runs")
    parser.add_argument("--devices", nargs="+", metavar="N", help="GPUs to start a server on; without it, all of them")
    parser.add_argument("--comfyui", type=Path, help="the ComfyUI to start; without it, the one this pack lies in")
    parser.add_argument("--comfyui-options", metavar="TEXT", help="more arguments for the servers that are started")
    parser.add_argument("--input", type=Path, help="where the film's images and sounds are; else beside film.json")
    parser.add_argument("--output", type=Path, help="where to put the film of servers that run; else beside film.json")
    parser.add_argument(
        "--takes", metavar="s3://BUCKET/FOLDER", help="an object store that takes come from and are kept in"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="render N takes, seeds moved by 0 to N - 1, and a contact sheet",
    )
    parser.add_argument("--node", help="the id of the Render Storyboard node, where there are several")
    return parser


def _render(options: argparse.Namespace) -> int:
    from . import scenes
    from .bucket import Bucket
    from .film import Film, render_film, storyboard_of
    from .progress import Progress
    from .server import Server

    graph = _read(options.film)
    board = scenes.board_of(graph, options.node)
    takes = options.takes or ""
    if takes:
        _check_takes(Bucket(takes), options)
    with _cluster(options) as connect:
        document = storyboard_of(connect, graph[board]["inputs"]["storyboard"])
        graph, document, files = _with_inputs(graph, board, document, options.input or options.film.resolve().parent)
        if options.seeds:
            films = [
                Film(scenes.with_seed(graph, board, document, n), board, files, takes) for n in range(options.seeds)
            ]
            return _choose(connect, films, options)
        progress = Progress()
        try:
            report = render_film(connect, Film(graph, board, files, takes), progress)
        finally:
            progress.close()
        print(report.text())
        for file in report.files:
            if options.servers:
                print(Server(report.server).download(file, options.output or options.film.resolve().parent))
            else:
                print(f"{Path(file['subfolder']) / file['filename']}, in the output folder of {report.server}")
    return 0


def _check_takes(bucket: Any, options: argparse.Namespace) -> None:
    """Check that takes can be kept in an object store, before a server is asked for anything."""
    bucket.check()
    if options.servers and not os.environ.get(TOKEN_IN):
        raise Unfit(f"with --takes servers give and take takes; start them and this command with one {TOKEN_IN}.")
    if not options.scheduler:
        os.environ.setdefault(TOKEN_IN, secrets.token_urlsafe())  # of servers that are started here


def _choose(connect: Callable[[], Any], films: Sequence[Any], options: argparse.Namespace) -> int:
    """Render the same film with other seeds at once, and write a contact sheet of them."""
    from .film import cancel_films, render_film
    from .progress import Progress
    from .sheet import pictures_of, write_sheet

    names = [f"seeds + {number}" for number in range(len(films))]
    with ThreadPoolExecutor(len(films)) as all_at_once:
        rendering = [
            all_at_once.submit(render_film, connect, film, Progress(name=name), False)
            for name, film in zip(names, films, strict=True)
        ]
        try:
            reports = [film.result() for film in rendering]
        except BaseException:
            cancel_films(connect, films)
            raise
    with connect() as client:
        rows = {name: pictures_of(client, report.keys) for name, report in zip(names, reports, strict=True)}
    path = (options.output or options.film.resolve().parent) / f"{options.film.stem}.seeds.png"
    write_sheet(path, rows)
    for name, report in zip(names, reports, strict=True):
        print(f"{name}\n{report.text()}")
    print(path)
    return 0


def _read(path: Path) -> Any:
    from .scenes import NotAFilm

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotAFilm(f"{path} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise NotAFilm(f"{path} is no JSON ({error}).") from None


def _with_inputs(graph: Any, board: str, document: Any, folder: Path) -> tuple[Any, Any, dict[str, bytes]]:
    """Prompt and storyboard with their files named by their contents, and those contents.

    A file that is not found here keeps its name.
    """
    from . import scenes

    files: dict[str, bytes] = {}

    def rename(name: str) -> str:
        path = (folder / name).resolve()
        if folder.resolve() not in path.parents or not path.is_file():
            return name
        content = path.read_bytes()
        named = scenes.content_name(name, content)
        files[named] = content
        return named

    document = scenes.document_with_files(document, rename)
    return scenes.with_storyboard(scenes.with_files(graph, rename), board, document), document, files


@contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[Callable[[], Any]]:
    from . import cluster
    from .comfyui import Installed

    if options.scheduler:
        yield lambda: cluster.connect(options.scheduler)
        return
    if options.servers:
        servers = [cluster.attached(url) for url in dict.fromkeys(url.rstrip("/") for url in options.servers)]
    else:
        if options.comfyui:
            os.environ["LONGTAKE_COMFYUI"] = str(options.comfyui)
        if options.comfyui_options:
            os.environ["LONGTAKE_COMFYUI_OPTIONS"] = options.comfyui_options
        servers = [cluster.owned(device) for device in options.devices or Installed.here().devices()]
    with cluster.cluster_of(servers) as address:
        yield lambda: cluster.connect(address)
