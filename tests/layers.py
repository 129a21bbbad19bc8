"""Whether imports run one way only, as pyproject.toml says it: python tests/run.py layers

import-linter looks for the repository under the name `longtake`, which it has nowhere but in here.
"""

from __future__ import annotations

from importlinter.cli import lint_imports

if __name__ == "__main__":
    raise SystemExit(lint_imports(no_cache=True, no_logo=True))
