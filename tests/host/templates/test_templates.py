"""ComfyUI's eight templates and the same films of this pack's nodes, rendered by one server and compared."""

from __future__ import annotations

import pytest

from tests.host.server import Server
from tests.host.templates.cases import CASES, Case, put_case_inputs
from tests.host.templates.compare import measure
from tests.host.templates.table import keys
from tests.host.templates.template import ObjectInfo
from tests.oracle.table import DOCUMENT


@pytest.fixture(scope="module")
def known(server: Server) -> ObjectInfo:
    """The nodes of a server whose input folder holds what the cases name."""
    put_case_inputs(server.input)
    return server.object_info()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.template}: {case.title}")
def test_the_pack_renders_what_the_template_renders(server: Server, known: ObjectInfo, case: Case) -> None:
    found = measure(server, case, known)

    if not case.same:
        assert found.frames > 1, "the table says that they differ; it must say so no longer"
        return
    assert found.latent <= 1e-6  # euler_ancestral with no noise is euler, but for its rounding
    assert found.frames <= 1
    if case.sound:
        assert found.sound_latent is not None
        assert found.sound_latent <= 1e-6
        assert found.sound is not None
        assert found.sound <= 1


def test_the_table_has_a_row_for_every_film_and_no_other() -> None:
    rows = keys(DOCUMENT.read_text(encoding="utf-8"))
    assert rows == [(case.title, case.template) for case in CASES], f"{DOCUMENT} is not current"
