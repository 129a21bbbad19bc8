"""python -m farm, in the folder of the pack; or python path/to/the/pack/farm from anywhere."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from farm.command import main

if __name__ == "__main__":
    raise SystemExit(main())
