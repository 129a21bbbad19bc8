from __future__ import annotations

import pytest
from longtake.pipelines.errors import Refusal
from longtake.pipelines.storyboard.selection import stages_chosen


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", {1, 2, 3, 4, 5}), ("  ", {1, 2, 3, 4, 5}), ("5", {5}), ("2-4", {2, 3, 4}), (" 1, 3 - 4 ,3", {1, 3, 4})],
)
def test_stages_are_chosen_as_a_person_writes_them(text: str, numbers: set[int]) -> None:
    assert stages_chosen(text, 5) == numbers


@pytest.mark.parametrize("text", ["6", "0", "0-2", "4-6", "3-2", "2-99999"])
def test_a_stage_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="the film has stages 1 to 5"):
        stages_chosen(text, 5)


@pytest.mark.parametrize("text", ["all", "1-", "-2", "1;2", "1,,2", "1.5", "9999999"])
def test_what_is_no_list_of_stages_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="as in 5, 2-4 or 1, 5-6"):
        stages_chosen(text, 5)
