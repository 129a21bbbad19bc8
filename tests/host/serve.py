"""A ComfyUI with this pack and the tiny models, until Ctrl-C: python tests/run.py host.serve [option of main.py ...]"""

from __future__ import annotations

import signal
import sys
import time

from tests.host.place import ROOT, Place
from tests.host.server import Server, ServerDied
from tests.host.workflows import put_inputs
from tests.tiny.models import tiny_models


def main() -> None:
    place = Place.here()
    server = Server(place, ROOT / "build" / "serve", tiny_models(place), sys.argv[1:])
    put_inputs(server.input)
    # Ending this program by a signal must end the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with server:
            print(f"ComfyUI: {server.url}   (Ctrl-C ends it)")
            print(f"its folders: {server.folder}", flush=True)
            while server.alive():
                time.sleep(0.5)
            raise SystemExit(f"ComfyUI ended:\n{server.log_tail()}")
    except ServerDied as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
