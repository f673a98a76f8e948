# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook awx_setup makes in AWX what a nightly backup needs, with the real modules of awx.awx.
AWX is played by `harness.awx`, which has its rules."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from harness.ansible import ROOT, Ansible
from harness.awx import COLLECTIONS, Awx

PLAYBOOK = "dds.socketpipe.awx_setup"
SURVEY = json.loads((ROOT / "playbooks" / "files" / "awx_survey.json").read_text(encoding="utf-8"))
NIGHTLY = "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=1"
#: What is enough.
FEW: dict[str, Any] = {
    "awx_setup_project_url": "https://git.example.com/backup.git",
    "awx_setup_hosts": {"db1": None, "web1": {"ansible_host": "192.0.2.7"}},
    "awx_setup_login": {"username": "backup", "ssh_key_data": "the private key"},
    "awx_setup_answers": {"backup_dir": "/backup", "backup_tree": "/srv"},
}

Setup = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def setup(ansible: Ansible, awx: Awx) -> Setup:
    """Runs the playbook with these variables; None takes one away from the few."""
    assert COLLECTIONS.exists(), "awx.awx is missing: make integration, or make .cache/awx"
    ansible.environment.update(awx.environment)
    ansible.environment["ANSIBLE_COLLECTIONS_PATH"] += f":{COLLECTIONS}"

    def run(*options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        told = {**FEW, **{f"awx_setup_{name}": value for name, value in variables.items()}}
        path = ansible.folder / "variables.yml"
        path.write_text(yaml.safe_dump({name: value for name, value in told.items() if value is not None}))
        return ansible.command("ansible-playbook", PLAYBOOK, "-e", f"@{path}", *options)

    return run


def changes_of(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.partition("changed=")[2].split()[0])


def fields(what: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: what[name] for name in names}


def test_all_that_a_nightly_backup_needs_is_made(setup: Setup, awx: Awx) -> None:
    assert changes_of(setup()) == 6
    organization = awx.only("organizations")["id"]

    project = awx.only("projects")
    assert "scm_update_on_launch" not in project
    assert fields(project, "name", "organization", "scm_type", "scm_url") == {
        "name": "Backup playbooks",
        "organization": organization,
        "scm_type": "git",
        "scm_url": "https://git.example.com/backup.git",
    }
    inventory = awx.only("inventories")
    assert fields(inventory, "name", "organization") == {
        "name": "Backup targets",
        "organization": organization,
    }
    hosts = {host["name"]: json.loads(host["variables"]) for host in awx.all("hosts")}
    assert hosts == {"db1": {}, "web1": {"ansible_host": "192.0.2.7"}}
    assert {host["inventory"] for host in awx.all("hosts")} == {inventory["id"]}
    credential = awx.only("credentials")
    assert fields(credential, "name", "credential_type", "inputs") == {
        "name": "Backup login",
        "credential_type": awx.named("credential_types", "Machine"),
        "inputs": {"username": "backup", "ssh_key_data": "$encrypted$"},
    }
    assert awx.secrets(credential) == {"ssh_key_data": "the private key"}

    template = awx.only("job_templates")
    told = ("name", "job_type", "project", "playbook", "inventory", "become_enabled", "extra_vars")
    assert fields(template, *told, "allow_simultaneous", "ask_limit_on_launch", "survey_enabled") == {
        "name": "Backup",
        "job_type": "run",
        "project": project["id"],
        "playbook": "backup.yml",
        "inventory": inventory["id"],
        "become_enabled": False,
        "extra_vars": "{}",
        "allow_simultaneous": False,
        "ask_limit_on_launch": True,
        "survey_enabled": True,
    }
    assert awx.associated(template, "credentials") == [credential["id"]]
    assert awx.survey(template) == SURVEY
    schedule = awx.only("schedules")
    assert fields(schedule, "name", "unified_job_template", "rrule", "extra_data", "enabled") == {
        "name": "Backup schedule",
        "unified_job_template": template["id"],
        "rrule": NIGHTLY,
        "extra_data": {"backup_dir": "/backup", "backup_tree": "/srv"},
        "enabled": True,
    }


def test_a_second_run_sends_nothing(setup: Setup, ansible: Ansible, awx: Awx) -> None:
    """Even as a part of the user's own playbook, and not the secrets that AWX has."""
    setup()
    sent = len(awx.sent)
    variables = {**FEW, "awx_setup_login": {"username": "backup", "ssh_key_data": "another key"}}
    (ansible.folder / "variables.yml").write_text(yaml.safe_dump(variables))
    playbook = ansible.folder / "all.yml"
    playbook.write_text(yaml.safe_dump([{"import_playbook": PLAYBOOK}]))
    assert changes_of(ansible.command("ansible-playbook", str(playbook), "-e", "@variables.yml")) == 0
    assert awx.sent[sent:] == []


def test_a_later_run_changes_what_is_different(setup: Setup, awx: Awx) -> None:
    setup()
    sent = len(awx.sent)
    rrule = "DTSTART;TZID=Europe/Berlin:20260101T013000 RRULE:FREQ=WEEKLY;BYDAY=SU;INTERVAL=1"
    login = {"username": "backup", "ssh_key_data": "another key"}
    changes_of(setup(rrule=rrule, become=True, login=login, update_login=True))
    credential, template, schedule = (
        awx.only(kind) for kind in ("credentials", "job_templates", "schedules")
    )
    assert [(each.method, each.path) for each in awx.sent[sent:]] == [
        ("PATCH", changed["url"]) for changed in (credential, template, schedule)
    ]
    assert awx.secrets(credential) == {"ssh_key_data": "another key"}
    assert (template["become_enabled"], schedule["rrule"]) == (True, rrule)


def test_a_schedule_that_is_not_wanted_any_more_is_removed(setup: Setup, awx: Awx) -> None:
    setup()
    sent = len(awx.sent)
    url = awx.only("schedules")["url"]
    other = awx.add("schedules", name="By hand", unified_job_template=awx.only("job_templates")["id"])
    assert changes_of(setup(rrule="")) == 1
    assert [(each.method, each.path) for each in awx.sent[sent:]] == [("DELETE", url)]
    assert awx.all("schedules") == [other]
    assert changes_of(setup(rrule="")) == 0


def test_what_is_left_out_later_is_left_as_it_is(setup: Setup, awx: Awx) -> None:
    setup(inventory_file="hosts.yml")
    sent = len(awx.sent)
    assert changes_of(setup(hosts={"web1": {"ansible_host": "192.0.2.7"}})) == 0
    assert awx.sent[sent:] == []
    assert {host["name"] for host in awx.all("hosts")} == {"db1", "web1"}
    assert awx.only("inventory_sources")["update_on_launch"] is True
    assert awx.only("projects")["scm_update_on_launch"] is True


def test_check_mode_sends_nothing(setup: Setup, awx: Awx) -> None:
    """Before the first run it can not come further than to what needs an inventory."""
    done = setup("--check")
    assert done.returncode != 0
    assert "TASK [Make the hosts of the inventory]" in done.stdout
    assert "Make the credential of the login" not in done.stdout
    assert awx.sent == []
    setup()
    sent = len(awx.sent)
    assert changes_of(setup("--check", become=True, rrule="")) == 2
    assert awx.sent[sent:] == []
    assert (awx.only("job_templates")["become_enabled"], len(awx.all("schedules"))) == (False, 1)


def test_what_else_can_be_told(setup: Setup, awx: Awx) -> None:
    awx.add("organizations", name="Storage")
    for number in range(2):
        awx.add("instance_groups", name=f"pods {number}")
    git = awx.add("credentials", name="git", credential_type=awx.named("credential_types", "Source Control"))
    login = awx.add("credentials", name="root", credential_type=awx.named("credential_types", "Machine"))
    awx.playbooks = ["nightly.yml"]
    changes_of(
        setup(
            name="By hand",
            organization="Storage",
            project_branch="stable",
            project_credential="git",
            playbook="nightly.yml",
            hosts=None,
            inventory_file="inventory/hosts.yml",
            login=None,
            credential="root",
            extra_vars={"socketpipe_progress": 300, "backup_exclude": ["./cache"]},
            forks=20,
            execution_environment="socketpipe",
            execution_environment_image="registry.example.com/socketpipe-ee",
            instance_groups=["pods 1", "pods 0"],
            rrule="",
            answers=None,
        )
    )
    project, template = awx.only("projects"), awx.only("job_templates")
    assert fields(project, "scm_branch", "credential") == {"scm_branch": "stable", "credential": git["id"]}
    assert {awx.only(kind)["organization"] for kind in ("projects", "inventories", "job_templates")} == {
        awx.named("organizations", "Storage")
    }
    assert fields(awx.only("inventory_sources"), "source", "source_project", "source_path") == {
        "source": "scm",
        "source_project": project["id"],
        "source_path": "inventory/hosts.yml",
    }
    assert fields(awx.only("inventory_sources"), "update_on_launch", "overwrite", "overwrite_vars") == {
        "update_on_launch": True,
        "overwrite": True,
        "overwrite_vars": True,
    }
    assert project["scm_update_on_launch"] is True, "else AWX reads the file of an old commit"
    assert (awx.all("hosts"), awx.all("schedules")) == ([], [])
    assert awx.associated(template, "credentials") == [login["id"]]
    assert awx.associated(template, "instance_groups") == [
        awx.named("instance_groups", "pods 1"),
        awx.named("instance_groups", "pods 0"),
    ]
    environment = awx.only("execution_environments")
    assert environment["image"] == "registry.example.com/socketpipe-ee"
    assert fields(template, "name", "playbook", "forks", "execution_environment") == {
        "name": "By hand",
        "playbook": "nightly.yml",
        "forks": 20,
        "execution_environment": environment["id"],
    }
    assert json.loads(template["extra_vars"]) == {"socketpipe_progress": 300, "backup_exclude": ["./cache"]}


def test_the_survey_asks_what_it_is_told_to(setup: Setup, awx: Awx) -> None:
    """What it does not ask stays with the inventory; if it asks nothing, there is none."""
    hosts = {"db1": {"backup_postgresql": "shop"}, "web1": {"backup_tree": "/srv/www"}}
    answers = {"backup_dir": "/b", "backup_keep": 7}
    changes_of(setup(hosts=hosts, questions=["backup_dir", "backup_keep"], answers=answers))
    template, schedule = awx.only("job_templates"), awx.only("schedules")
    assert [question["variable"] for question in awx.survey(template)["spec"]] == list(answers)
    assert schedule["extra_data"] == answers

    assert changes_of(setup(hosts=hosts, questions=[], answers={}, extra_vars=answers)) == 2
    assert (template["survey_enabled"], awx.survey(template)) == (False, {})
    assert schedule["extra_data"] == {}

    told = {"backup_dir": "/b", "backup_command": "dump"}
    changes_of(setup(hosts={"db1": {"backup_name": "shop"}}, questions=[], answers={}, extra_vars=told))
    assert json.loads(template["extra_vars"]) == told


@pytest.mark.parametrize("token", ["the right one", "another17"])
def test_secrets_are_never_shown(setup: Setup, ansible: Ansible, awx: Awx, token: str) -> None:
    """Not even with all that Ansible can show, and not if it fails."""
    ansible.environment["ANSIBLE_DISPLAY_ARGS_TO_STDOUT"] = "true"
    if token != "the right one":
        ansible.environment["CONTROLLER_OAUTH_TOKEN"] = token
    login = {"username": "backup", "ssh_key_data": "the private key", "become_password": "secret17"}
    done = setup("-vvv", login=login)
    assert (done.returncode == 0) is (token == "the right one")
    for secret in ("the private key", "secret17", ansible.environment["CONTROLLER_OAUTH_TOKEN"]):
        assert secret not in done.stdout + done.stderr


def test_a_project_that_can_not_be_read_fails(setup: Setup, awx: Awx) -> None:
    awx.update_status = "failed"
    done = setup()
    assert "Project update failed" in done.stdout
    assert awx.all("job_templates") == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no repository": ({"project_url": None}, "missing required arguments: awx_setup_project_url"),
    "no targets": ({"hosts": None}, "There are no targets: give awx_setup_hosts"),
    "a name misspelt": ({"brunch": "main"}, "This playbook knows no awx_setup_brunch."),
    "hosts of another type": ({"hosts": "db1,web1"}, "awx_setup_hosts"),
    "forks of another type": ({"forks": "many"}, "awx_setup_forks"),
    "an input that no login has": ({"login": {"user": "root"}}, "has no input user:"),
    "a question that the survey has not": (
        {"questions": ["backup_dir", "backup_device"]},
        "The survey has no question for backup_device:",
    ),
    "a variable said twice": (
        {"extra_vars": {"backup_keep": 3}},
        "The survey asks for backup_keep, and its answer would hide",
    ),
    "an answer to no question": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_mode": "0640"}},
        "The survey does not ask for backup_mode:",
    ),
    "no answer where one is needed": (
        {"answers": {"backup_tree": "/srv"}},
        "backup_dir has to be a string of at most 1024 characters, and may not be missing.",
    ),
    "an empty answer where one is needed": (
        {"answers": {"backup_dir": "", "backup_tree": "/srv"}},
        "backup_dir has to be a string of at most 1024 characters, and may not be missing.",
    ),
    "a place that is not absolute": (
        {"answers": {"backup_dir": "backup", "backup_tree": "/srv"}},
        "backup_dir has to be an absolute path, and 'backup' is not.",
    ),
    "a place beside the survey that is not absolute": (
        {
            "questions": ["backup_keep"],
            "answers": {},
            "rrule": "",
            "extra_vars": {"backup_dir": "/b", "backup_tree": "srv"},
        },
        "backup_tree has to be an absolute path, and 'srv' is not.",
    ),
    "a command without a name": (
        {"answers": {"backup_dir": "/b", "backup_command": "dump"}},
        "backup_command needs a backup_name in awx_setup_answers:",
    ),
    "an image without a name": (
        {"execution_environment_image": "registry.example.com/socketpipe-ee"},
        "give awx_setup_execution_environment, too.",
    ),
    "a number as a string": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_keep": "7"}},
        "backup_keep has to be an integer from 0 to 10000.",
    ),
    "a number that is too small": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_keep": -1}},
        "backup_keep has to be an integer from 0 to 10000.",
    ),
    "a number that is too large": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_keep": 10001}},
        "backup_keep has to be an integer from 0 to 10000.",
    ),
    "an answer that is too long": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_name": 129 * "x"}},
        "backup_name has to be a string of at most 128 characters.",
    ),
    "a choice that there is not": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_compression": "xz"}},
        "backup_compression has to be one of none, auto, zstd, gzip.",
    ),
    "nothing to back up": ({"answers": {"backup_dir": "/b"}}, "exactly one thing to back up"),
    "two things to back up": (
        {"answers": {"backup_dir": "/b", "backup_tree": "/srv", "backup_postgresql": "shop"}},
        "exactly one thing to back up",
    ),
    "a rule without a time zone": (
        {"rrule": "DTSTART:20260101T030000 RRULE:FREQ=DAILY;INTERVAL=1"},
        "AWX would not take",
    ),
    "a rule without an interval": (
        {"rrule": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY"},
        "AWX would not take",
    ),
    "a rule with an interval of nothing": (
        {"rrule": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=0"},
        "AWX would not take",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_before_anything_is_sent(setup: Setup, awx: Awx, wrong: str) -> None:
    variables, words = WRONG[wrong]
    done = setup(**variables)
    assert done.returncode != 0, done.stdout
    assert words in " ".join((done.stdout + done.stderr).split())
    assert awx.sent == []
