# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey for AWX asks for variables of the role `backup`, as the role has them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from harness.ansible import ROOT
from harness.awx import survey_error

SURVEY = json.loads((ROOT / "playbooks" / "files" / "awx_survey.json").read_text(encoding="utf-8"))
ROLE = yaml.safe_load(
    (ROOT / "roles" / "backup" / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
)["argument_specs"]["main"]["options"]
#: The types of the role's options that can be asked for, and of the questions. AWX gives no lists of
#: anything, and would ask for a boolean as for a string.
QUESTION_TYPES = {"str": "text", "path": "text", "int": "integer"}

questions = pytest.mark.parametrize("question", SURVEY["spec"], ids=lambda question: question["variable"])


def test_awx_accepts_it() -> None:
    assert survey_error(SURVEY) is None


@questions
def test_its_variable_is_one_of_the_role(question: dict[str, Any]) -> None:
    assert question["variable"] in ROLE


@questions
def test_its_type_is_the_roles(question: dict[str, Any]) -> None:
    option = ROLE[question["variable"]]
    expected = "multiplechoice" if "choices" in option else QUESTION_TYPES[option["type"]]
    assert question["type"] == expected


@questions
def test_its_choices_are_the_roles(question: dict[str, Any]) -> None:
    assert question.get("choices") == ROLE[question["variable"]].get("choices")


@questions
def test_it_is_required_if_the_role_requires_it(question: dict[str, Any]) -> None:
    assert question["required"] == ROLE[question["variable"]].get("required", False)


@questions
def test_unanswered_it_gives_the_roles_default(question: dict[str, Any]) -> None:
    """To the role an empty string is the same as no value."""
    assert question["default"] == ROLE[question["variable"]].get("default", "")


def test_it_asks_what_to_back_up_from_a_target() -> None:
    """One of these is needed, so a survey without one of them could not ask for all."""
    asked = {question["variable"] for question in SURVEY["spec"]}
    assert {"backup_dir", "backup_tree", "backup_postgresql", "backup_command"} <= asked
