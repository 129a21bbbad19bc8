"""ComfyUI's own canvas in a headless Chromium: for making workflow files and pictures, never for `dev.py test`."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.host.server import Server

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


def chromium() -> str:
    """Path of the Chromium of this machine; raises SystemExit with how to get one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    raise SystemExit("no Chromium was found; install one, on Debian: apt-get install chromium")


class Canvas:
    """The page of a running server.

    Attributes:
        page: the browser's page, ready to use.
        mistakes: errors that the page threw, and extensions that did not load.
    """

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        self.mistakes: list[str] = []
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        page.on("console", lambda line: self._listen(line.text))

    def _listen(self, line: str) -> None:
        if "Error loading extension" in line:
            self.mistakes.append(line)

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
def canvas(
    server: Server, *, nodes_2: bool = False, size: tuple[int, int] = (1600, 1000), scale: float = 1
) -> Iterator[Canvas]:
    """Open the canvas of `server` in a fresh profile; nothing outside the server can be reached.

    Args:
        nodes_2: with the newer renderer, Nodes 2.0, in place of the classic canvas.
        size: of the window, in pixels before `scale`.
        scale: device pixels for each of those.
    """
    server.post("/settings", {**SETTINGS, "Comfy.VueNodes.Enabled": nodes_2})
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), headless=True, args=list(FLAGS))
        try:
            page = browser.new_page(
                viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale, service_workers="block"
            )
            inside = (server.url, "data:", "blob:")
            page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(inside) else r.abort())
            opened = Canvas(page, server)
            opened.open()
            yield opened
        finally:
            browser.close()
