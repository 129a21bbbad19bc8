"""ComfyUI's eight templates and the same films of this pack's nodes, rendered on one server and compared."""

from __future__ import annotations

import pytest

from tests.host.server import Server
from tests.host.templates.cases import CASES, Case, put_case_inputs
from tests.host.templates.compare import measure


@pytest.fixture(scope="session")
def prepared(server: Server) -> Server:
    put_case_inputs(server.input)
    return server


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.template} {case.title}")
def test_the_pack_renders_what_the_template_renders(prepared: Server, case: Case) -> None:
    found = measure(prepared, case)
    print(found)
    assert found.frames <= 1
