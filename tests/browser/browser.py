"""ComfyUI's own canvas in a headless Chromium: for tests, and for making workflow files and pictures."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.host.place import ROOT, Place
from tests.host.server import PACK_FOLDER, Server
from tests.host.workflows import put_inputs
from tests.tiny.models import tiny_models

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# The window answers only when every extension is set up and the default graph is loaded.
READY = (
    "() => window.app?.extensionManager && window.app.vueAppReady === true"
    " && window.app.extensionManager.spinner === false"
)
# What a first visit shows on top of the canvas; the server keeps these for the next visit.
SETTINGS: dict[str, Any] = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.47.12",
    "Comfy.Workflow.Persist": False,
    "Comfy.Validation.Workflows": True,
    "Comfy.NodeSearchBoxImpl.FollowCursor": False,
    "Comfy.Toast.DisableReconnectingToast": True,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Window.UnloadConfirmation": False,
    "Comfy.Appearance.DisableAnimations": True,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Pointer.DoubleClickTime": 1000,
}


def find_chromium() -> str | None:
    """Path of the Chromium of this machine, where it has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


NO_CHROMIUM = "no Chromium was found; install one, on Debian: apt-get install chromium"


class Canvas:
    """The page of a running server.

    Attributes:
        page: the browser's page, ready to use.
        mistakes: errors that the page threw, what our scripts said in the console, and extensions that did not load.
    """

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        self.mistakes: list[str] = []
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, line: ConsoleMessage) -> None:
        # ComfyUI says much there in every session; of errors, only ours count.
        ours = line.type == "error" and PACK_FOLDER in line.text + line.location.get("url", "")
        if ours or "Error loading extension" in line.text or "vite:preloadError" in line.text:
            self.mistakes.append(line.text)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.server.url + path, wait_until="domcontentloaded")
        self.page.wait_for_function(READY, timeout=60_000)

    def ask(self, script: str, argument: Any = None) -> Any:
        """Call the JavaScript function `script` and return its JSON: undefined values are left out, not turned null."""
        answer = self.page.evaluate(f"async (argument) => JSON.stringify(await ({script})(argument) ?? null)", argument)
        return json.loads(answer)

    def load(self, workflow: dict[str, Any], name: str) -> None:
        self.ask("async ([graph, name]) => { await app.loadGraphData(graph, true, true, name) }", [workflow, name])
        self.settle(600)

    def settle(self, milliseconds: int = 300) -> None:
        """Let the canvas draw what has changed."""
        self.ask("() => { app.canvas.setDirty(true, true) }")
        self.page.wait_for_timeout(milliseconds)

    def fit(self) -> None:
        """Zoom and move so that all nodes are seen."""
        self.ask("async () => { await app.extensionManager.command.execute('Comfy.Canvas.FitView') }")
        self.settle(800)

    def complaints(self) -> list[str]:
        """Toasts and the card about missing nodes or models, as far as they are shown."""
        shown = self.page.locator(".p-toast-message, [data-testid=error-overlay]")
        return [" ".join(text.split()) for text in shown.all_inner_texts()]


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """A headless Chromium; raises SystemExit with how to get one where there is none."""
    path = find_chromium()
    if path is None:
        raise SystemExit(NO_CHROMIUM)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser,
    server: Server,
    *,
    nodes_2: bool = False,
    size: tuple[int, int] = (1600, 1000),
    scale: float = 1,
    **settings: Any,
) -> Iterator[Canvas]:
    """Open the canvas of `server` in a fresh profile; nothing outside the server can be reached.

    Args:
        nodes_2: with the newer renderer, Nodes 2.0, in place of the classic canvas.
        size: of the window, in pixels before `scale`.
        scale: device pixels for each of those.
        settings: of ComfyUI, further ones; "Comfy." is left out of their names.
    """
    further = {f"Comfy.{name}": value for name, value in settings.items()}
    server.post("/settings", {**SETTINGS, "Comfy.Locale": "en", "Comfy.VueNodes.Enabled": nodes_2, **further})
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale, service_workers="block"
    )
    try:
        inside = (server.url, "data:", "blob:")
        page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(inside) else r.abort())
        canvas = Canvas(page, server)
        canvas.open()
        yield canvas
    finally:
        page.close()


@contextlib.contextmanager
def tiny_server(folder: Path = ROOT / "build" / "browser") -> Iterator[Server]:
    """A server of tiny models in `folder`, the workflows' images in its input."""
    place = Place.here()
    with Server(place, folder, tiny_models(place)) as server:
        put_inputs(server.input)
        yield server


@contextlib.contextmanager
def canvas(server: Server, **how: Any) -> Iterator[Canvas]:
    """The canvas of `server`, as `opened`, in a Chromium of its own."""
    with running_chromium() as browser, opened(browser, server, **how) as page:
        yield page
