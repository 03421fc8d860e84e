"""What is written for systemd, launchd and the Windows Task Scheduler, read by their own rules."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fluxhive.cli.service_units import (
    TASK_NAMESPACE,
    Part,
    Service,
    launchd_plist,
    systemd_unit,
    unit_name,
    windows_task,
)

AWKWARD = 'a b "c" %d $HOME \\e'


def service(part: Part = Part.AGENT, user: str | None = None) -> Service:
    return Service(
        part=part,
        command=("/opt/my tools/bin/python", "-m", "fluxhive.cli.fluxhive", *part.words),
        environment={"PATH": "/usr/bin:/bin", "FLOWHIVE_LABEL": AWKWARD},
        directory="/",
        log="/tmp/agent.log",
        user=user,
    )


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(key + "=")]


def test_an_agents_unit_leaves_its_tasks_alone() -> None:
    text = systemd_unit(service())
    assert lines(text, "KillMode") == ["process"]
    assert lines(text, "OOMPolicy") == ["continue"]
    assert lines(text, "Delegate") == ["yes"]
    assert lines(text, "Restart") == ["always"]
    assert lines(text, "WantedBy") == ["default.target"]
    assert lines(text, "User") == []


def test_a_unit_of_the_machine_names_its_user_and_waits_for_the_network() -> None:
    text = systemd_unit(service(user="ann"))
    assert lines(text, "User") == ["ann"]
    assert lines(text, "WantedBy") == ["multi-user.target"]
    assert lines(text, "After") == ["network-online.target"]


def test_words_mean_to_systemd_what_they_meant() -> None:
    text = systemd_unit(service())
    assert lines(text, "ExecStart")[0].startswith('"/opt/my tools/bin/python" -m ')
    assert lines(text, "Environment")[1] == '"FLOWHIVE_LABEL=a b \\"c\\" %%d $HOME \\\\e"'


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, part: Part, user: str | None) -> None:
    """It ends with 0 for a key that it does not know, and says so: nothing may be said."""
    path = tmp_path / unit_name(part)
    real = service(part, user)._replace(command=("/bin/true", *part.words))
    path.write_text(systemd_unit(real))
    assert verified(path) == ""
    path.write_text(systemd_unit(real).replace("KillMode", "KilMode"))
    if part is Part.AGENT:
        assert "KilMode" in verified(path)


def verified(path: Path) -> str:
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stderr


def test_launchd_reads_the_list_and_keeps_the_process_group() -> None:
    job = plistlib.loads(launchd_plist(service()))
    assert job["AbandonProcessGroup"] is True
    assert job["KeepAlive"] is True
    assert job["ProgramArguments"][0] == "/opt/my tools/bin/python"
    assert job["EnvironmentVariables"]["FLOWHIVE_LABEL"] == AWKWARD
    assert "UserName" not in job
    assert plistlib.loads(launchd_plist(service(user="ann")))["UserName"] == "ann"


def test_the_task_scheduler_reads_the_xml_and_never_ends_the_agent_for_its_age() -> None:
    root = ElementTree.fromstring(windows_task(service()))
    spaces = {"t": TASK_NAMESPACE}
    assert root.findtext("t:Settings/t:ExecutionTimeLimit", namespaces=spaces) == "PT0S"
    assert root.findtext("t:Settings/t:MultipleInstancesPolicy", namespaces=spaces) == "IgnoreNew"
    assert root.find("t:Triggers/t:LogonTrigger", spaces) is not None
    arguments = root.findtext("t:Actions/t:Exec/t:Arguments", namespaces=spaces) or ""
    assert 'set "PATH=/usr/bin:/bin"' in arguments
    assert '"/opt/my tools/bin/python" -m' in arguments
    order = [child.tag.rpartition("}")[2] for child in root]
    assert order == ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"]
