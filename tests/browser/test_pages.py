"""What a person sees of a node, a GPU and a log, and that the browser tells when a task has ended.

In Debian's Chromium, from the real server, with the files of the pretended GPUs changed under it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fluxhive import testing
from tests.helpers.browser import PATIENCE_MS, Visit
from tests.helpers.cli_hive import CliHive, until

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

#: Holds memory of a GPU without being a task's.
STRANGER = """
import sys, time
from fluxhive.testing import allocate
allocate(sys.argv[-1], 9_000)
print("there", flush=True)
time.sleep(600)
"""
#: Both streams, a progress bar, colours.
OUTPUT = (
    "echo plain; printf '\\033[31mred words\\033[0m\\n'; "
    "for i in $(seq 1 30); do printf 'loading %d %%\\r' $i; done; echo loaded; "
    "echo trouble >&2; echo needle here; echo last"
)
#: Notes what is told; permission and the notification itself stay the browser's.
NOTE = """
window.told = [];
window.Notification = class extends Notification {
  constructor(title, options) { super(title, options); window.told.push(title); }
};
"""


def gpu_files(hive: CliHive) -> Path:
    """Where the pretended GPUs of its node are described."""
    return next((hive.state / "agent").glob("*/fake-gpus"))


@pytest.fixture
def stranger(hive: CliHive, tmp_path: Path) -> Iterator[None]:
    """Somebody's process on GPU 3."""
    directory = gpu_files(hive)
    uuid = json.loads((directory / "gpu-3.json").read_text())["uuid"]
    env = os.environ | {"FLUXHIVE_FAKE_GPUS": str(directory)}
    program = tmp_path / "play.py"
    program.write_text(STRANGER)
    words = [sys.executable, str(program), "--api-key", "1234", uuid]
    started = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    started.stdout.readline()
    yield
    started.kill()
    started.wait()
    started.stdout.close()


def label_of(hive: CliHive) -> str:
    """The label of its only node."""
    (node,) = hive.json("nodes")["nodes"]
    label: str = node["label"]
    return label


def test_a_node_shows_what_is_not_well_and_who_is_on_its_gpus(
    chrome: Browser, hive: CliHive, stranger: None
) -> None:
    directory, label = gpu_files(hive), label_of(hive)
    testing.set_gpu(directory, 2, slowed_by=("power cap",), xids=(79,), ecc_uncorrected=1)
    visit = Visit(chrome, hive)
    visit.sign_in()
    page = visit.page
    page.goto(f"/nodes/{label}")
    for words in ("Xid 79: the GPU has fallen off the bus", "1 not repaired", "clock", "power cap"):
        expect(page.get_by_text(words).first).to_be_visible(timeout=3 * PATIENCE_MS)
    kept_out = page.get_by_role("list", name="Why it is kept out")
    expect(kept_out).to_contain_text("Faulty: Xid 79")
    page.goto(f"/nodes/{label}?gpu=3")
    row = page.get_by_role("listitem").filter(has_text="pid")
    expect(row.first).to_contain_text("--api-key ***", timeout=3 * PATIENCE_MS)
    expect(page.get_by_text("1234")).to_have_count(0)
    assert visit.faults() == []
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("textbox", name="Why").fill("new power supply")
    page.get_by_text("2 h", exact=True).click()
    page.get_by_role("button", name="Drain the node").click()
    expect(
        page.get_by_text(re.compile("drained by .*, until .*: new power supply")).first
    ).to_be_visible()
    page.get_by_role("button", name="Take tasks again").click()
    expect(page.get_by_role("button", name="Drain")).to_be_visible()
    testing.set_gpu(directory, 2, slowed_by=(), ecc_uncorrected=0)
    visit.check_clean()
    visit.close()


def test_the_browser_tells_when_a_task_of_mine_has_ended(chrome: Browser, hive: CliHive) -> None:
    visit = Visit(chrome, hive, permissions=["notifications"])
    visit.context.add_init_script(NOTE)
    visit.sign_in()
    page = visit.page
    page.get_by_role("button", name=re.compile("menu")).click()
    page.get_by_role("menuitem", name="Notify me when mine end").click()
    expect(page.get_by_role("menuitem", name="Notifying when mine end")).to_be_visible()
    page.keyboard.press("Escape")
    hive.submit("--name", "tells", "--", "sh", "-c", "sleep 1; exit 3")
    # Not by `wait_for_function`, which evaluates strings as the policy forbids.
    told = until(lambda: page.evaluate("window.told"), limit_s=60, what="a notification")
    assert told == ["tells failed: own error"]
    visit.check_clean()
    visit.close()


def test_a_browser_that_forbids_notifications_is_not_said_to_tell(
    chrome: Browser, hive: CliHive
) -> None:
    visit = Visit(chrome, hive)
    visit.sign_in()
    visit.page.get_by_role("button", name=re.compile("menu")).click()
    visit.page.get_by_role("menuitem", name="Notify me when mine end").click()
    expect(visit.page.get_by_text(re.compile("does not allow"))).to_be_visible()
    expect(visit.page.get_by_role("menuitem", name="Notify me when mine end")).to_be_visible()
    visit.close()


def test_a_log_is_filtered_searched_unfolded_and_linked_by_line(
    chrome: Browser, hive: CliHive
) -> None:
    task_id = hive.submit("--name", "talks", "--", "sh", "-c", OUTPUT)
    hive.when(task_id, "succeeded")
    visit = Visit(chrome, hive)
    visit.sign_in()
    page = visit.page
    page.goto(f"/t/{task_id}/log")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("30 earlier")).to_be_visible()
    red = log.get_by_text("red words", exact=True)
    plain = log.get_by_text("plain", exact=True)
    colour = "element => getComputedStyle(element).color"
    assert red.evaluate(colour) != plain.evaluate(colour)
    page.get_by_text("stderr", exact=True).click()
    expect(log.get_by_text("trouble", exact=True)).to_be_visible()
    expect(plain).to_have_count(0)
    page.get_by_text("both", exact=True).click()
    page.get_by_role("button", name="All states of progress bars").click()
    expect(log.get_by_text("loading 7 %")).to_be_visible()
    page.get_by_role("button", name="Times").click()
    expect(log.get_by_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$")).first).to_be_visible()
    page.get_by_role("textbox", name="Search in the log").fill("needle")
    page.get_by_role("navigation", name="Hits").get_by_text("needle here").click()
    expect(page).to_have_url(re.compile(r"line=\d+"))
    page.reload()  # a link to a line works tomorrow
    chosen = log.locator("[data-chosen]")
    expect(chosen).to_contain_text("needle here")
    assert visit.faults() == []
    visit.check_clean()
    visit.close()


def test_the_code_of_a_task_is_read_as_it_was_at_submit(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/base.yaml").write_text("rate: 1e-4\n")
    (tmp_path / "train.py").write_text("print('<b>no markup</b>')\n")
    task_id = visit.hive.submit("--name", "coded", "--code", str(tmp_path), "--", "true")
    (tmp_path / "train.py").write_text("print('changed since')\n")
    page = visit.page
    page.goto(f"/t/{task_id}")
    page.get_by_role("button", name="look at its files").click()
    files = page.get_by_role("dialog").get_by_role("list", name="Files").get_by_role("button")
    expect(files).to_have_count(2)
    page.get_by_role("textbox", name="File names contain").fill("train")
    expect(files).to_have_count(1)
    files.first.click()
    expect(page.get_by_role("region", name="train.py")).to_have_text("print('<b>no markup</b>')\n")
    assert visit.faults() == []
