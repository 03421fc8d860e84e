"""The dashboard for who sees or moves differently, is lost, or whose server is away.

In Debian's Chromium, from the real server: axe-core on every dialog and menu, the path to a task
and its end by keyboard alone, addresses at which nothing is, a server that stops and comes back.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.browser import PATIENCE_MS, Visit
from tests.helpers.cli_hive import CliHive, until
from tests.helpers.stand_in_torch import stand_in_torch

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

#: Until somebody cancels it.
ENDLESS = ("--", "sh", "-c", "echo it runs; sleep 3600")
#: Resolves once nothing moves any more but what always does.
SETTLED = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime !== Infinity)
  .map((one) => one.finished))"""
#: Each process says who it is in both streams, and once more when it is told to.
RANKS = """
import os, sys, time
rank, go_on = os.environ["RANK"], sys.argv[1]
print(f"rank {rank} begins", flush=True)
print(f"rank {rank} complains", file=sys.stderr, flush=True)
while not os.path.exists(go_on):
    time.sleep(0.05)
print(f"rank {rank} ends", flush=True)
"""


@contextmanager
def endless(hive: CliHive, name: str) -> Iterator[str]:
    """The id of a task that runs meanwhile."""
    task_id = hive.submit("--name", name, *ENDLESS)
    try:
        hive.when(task_id, "running")
        yield task_id
    finally:
        hive.run("cancel", task_id)


def opened_menu(page: Page, button: str | re.Pattern[str], item: str = "") -> Locator:
    """What a button opens, or one of the items of its menu."""
    page.get_by_role("button", name=button, exact=True).click()
    if not item:
        return page.get_by_role("menu")
    page.get_by_role("menuitem", name=item).click()
    return page.get_by_role("dialog")


def asked_by_key(page: Page, key: str, name: str | re.Pattern[str]) -> Locator:
    """What a key opens."""
    page.keyboard.press(key)
    return page.get_by_role("dialog", name=name)


def chosen_and_asked(page: Page) -> Locator:
    """The question whether those that are chosen shall be cancelled."""
    page.get_by_role("checkbox", name=re.compile("Choose looked-at")).first.check()
    page.keyboard.press("c")
    return page.get_by_role("toolbar").filter(has_text="That is final")


def made_token(page: Page) -> Locator:
    """A token, shown once."""
    page.get_by_role("textbox", name="What it is for").fill("axe")
    page.get_by_role("button", name="Create").click()
    return page.get_by_role("dialog", name="Your token, shown this once")


def drain_form(page: Page) -> Locator:
    """Why and how long a node is drained."""
    page.get_by_role("button", name="Drain").click()
    return page.get_by_role("dialog", name=re.compile("Drain"))


def asked_to_revoke(page: Page) -> Locator:
    """A button that asks before it ends a token."""
    page.get_by_role("button", name="Revoke").last.click()
    return page.get_by_role("button", name="It stops working at once. Revoke")


def look(visit: Visit, path: str, opens: Callable[[Page], Locator]) -> list[str]:
    """What axe finds on a page once something is opened there, light and dark."""
    if visit.page.url != visit.url + path:
        visit.page.goto(path)
        visit.stands()
    there = opens(visit.page)
    expect(there).to_be_visible()
    faults = []
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        expect(visit.page.locator(f"html[data-mantine-color-scheme={scheme}]")).to_have_count(1)
        # As it is once it has come in: half drawn, its colours are nobody's.
        there.evaluate(SETTLED)
        faults += [f"{path}, {scheme}: {fault}" for fault in visit.faults()]
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)  # until then keys are its own
    return faults


def test_axe_finds_nothing_serious_in_any_dialog(visit: Visit) -> None:
    (node,) = visit.hive.json("nodes")["nodes"]
    found = []
    with endless(visit.hive, "looked-at") as task_id:
        task = f"/t/{task_id}"
        for path, opens in (
            (task, lambda page: opened_menu(page, "More")),
            (task, lambda page: opened_menu(page, "More", "Edit")),
            (task, lambda page: asked_by_key(page, "c", re.compile("Cancel looked-at"))),
            (task, lambda page: asked_by_key(page, "?", "Keys")),
            (task, lambda page: asked_by_key(page, "Control+k", "Where to")),
            (f"{task}/log", lambda page: opened_menu(page, "Download")),
            ("/", lambda page: opened_menu(page, re.compile("menu"))),
            ("/tasks", lambda page: opened_menu(page, "filter")),
            ("/tasks", chosen_and_asked),
            (f"/nodes/{node['label']}", drain_form),
            ("/tokens", made_token),
            ("/tokens", asked_to_revoke),
            (f"/submit?from={task_id}", lambda page: page.get_by_label("Command")),
            ("/nowhere", lambda page: page.get_by_role("navigation", name="Where to go")),
        ):
            found += look(visit, path, opens)
    assert found == []
    visit.errors = [error for error in visit.errors if "404" not in error]


def tab_to(page: Page, wanted: Locator) -> None:
    """Goes there by Tab; whatever has the focus on the way is in view and marked as such."""

    def has_come() -> bool:
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
              const it = document.activeElement, box = it.getBoundingClientRect();
              const isSeen = box.bottom > 0 && box.top < innerHeight && box.width > 0;
              const look = getComputedStyle(it);
              const isMarked = look.outlineStyle !== 'none' || look.boxShadow !== 'none'
                || it.matches('input, textarea, select');
              return it === document.body || (isSeen && isMarked) ? '' : it.outerHTML.slice(0, 200);
            }"""
        )
        assert seen == "", f"has the focus, and nobody sees it: {seen}"
        is_there: bool = wanted.evaluate("(it) => it === document.activeElement")
        return is_there

    until(has_come, limit_s=60, what="the focus")


def test_from_the_overview_to_a_task_its_log_and_its_end_by_keyboard_alone(visit: Visit) -> None:
    with endless(visit.hive, "by-keyboard"):
        walk_by_keyboard(visit.page)


def walk_by_keyboard(page: Page) -> None:
    """Never a click."""
    mine = page.get_by_role("listitem").get_by_role("link", name=re.compile("by-keyboard"))
    expect(mine).to_be_visible()
    tab_to(page, mine)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by-keyboard", level=1)).to_be_visible()
    expect(page).to_have_title("by-keyboard running · FlowHive")
    # The next Tab leads into the new page, not through the navigation again.
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")
    tab_to(page, page.get_by_role("link", name="full height"))
    page.keyboard.press("Enter")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("it runs")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("runs")
    expect(page.get_by_role("navigation", name="Hits").get_by_text("it runs")).to_be_visible()
    page.keyboard.press("Escape")  # out of the field
    tab_to(page, log)
    tab_to(page, page.get_by_role("heading", name="by-keyboard").get_by_role("link"))
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Cancel", exact=True)
    expect(button).to_be_visible()
    tab_to(page, button)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel by-keyboard?")
    expect(dialog).to_be_visible()
    for _ in range(5):  # round and round, never out of it
        page.keyboard.press("Tab")
        assert dialog.evaluate("(it) => it.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("button", name="Cancel the task"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("main").get_by_text("cancelled").first).to_be_visible()


def test_an_address_at_which_nothing_is_says_so_and_where_to_go(visit: Visit) -> None:
    page = visit.page
    task_id = visit.hive.submit("--name", "is-there", "--", "true")
    for path, words in (
        ("/foo/bar", "There is nothing at this address"),
        ("/t/t-zzzz", "No task is called t-zzzz"),
        ("/tasks/t-zzzz", "No task is called t-zzzz"),
        ("/nodes/t-zzzz", "No node is called t-zzzz"),
        (f"/task/{task_id}", "There is nothing at this address"),
    ):
        page.goto(path)
        expect(page.get_by_role("heading", name=words, level=1)).to_be_visible()
        expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    page.get_by_role("navigation", name="Where to go").get_by_role(
        "link", name=f"Task {task_id}"
    ).click()
    expect(page.get_by_role("heading", name="is-there", level=1)).to_be_visible()
    page.goto(f"/tasks/{task_id}")
    expect(page).to_have_url(re.compile(f"/t/{task_id}$"))
    visit.errors.clear()  # Chromium logs every answer of 404


def test_a_server_that_is_away_leaves_the_page_as_it_is_and_comes_back(visit: Visit) -> None:
    with endless(visit.hive, "outlives"):
        see_it_leave_and_return(visit)
    visit.errors.clear()  # all that was asked meanwhile


def see_it_leave_and_return(visit: Visit) -> None:
    """On the overview, which knows its data, and on a page that asks for some."""
    hive, page = visit.hive, visit.page
    page.goto("/tasks?text=outlives")
    expect(page.get_by_role("link", name="outlives")).to_be_visible()
    overview = visit.context.new_page()
    overview.goto("/")
    mine = overview.get_by_role("listitem").get_by_role("link", name=re.compile("outlives"))
    expect(mine).to_be_visible()
    hive.ok("down")
    away = overview.get_by_role("alert").filter(has_text="The server does not answer")
    expect(away).to_be_visible(timeout=3 * PATIENCE_MS)
    expect(mine).to_be_visible()
    page.get_by_role("button", name="held").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_be_visible(timeout=3 * PATIENCE_MS)
    # Nobody knows now whether there are some.
    expect(page.get_by_text("No task matches")).to_have_count(0)
    hive.ok("up", "--detach", "--port", str(urlsplit(visit.url).port))
    expect(overview.get_by_role("status").get_by_text("live")).to_be_visible(
        timeout=3 * PATIENCE_MS
    )
    expect(away).to_have_count(0)
    expect(page.get_by_text("No task matches")).to_be_visible(timeout=3 * PATIENCE_MS)


def test_the_output_of_each_process_of_torchrun_is_read_alone_and_goes_on(visit: Visit) -> None:
    hive, page = visit.hive, visit.page
    go_on = hive.home / "go-on"
    (hive.home / "ranks.py").write_text(RANKS)
    options = ("--torchrun", "--nproc-per-node", "4", "--python", sys.executable)
    path = ("--env", f"PYTHONPATH={stand_in_torch(hive.home)}")
    task_id = hive.submit("--name", "ranks", *options, *path, "--", "ranks.py", str(go_on))
    hive.when(task_id, "running")
    page.goto(f"/t/{task_id}/log")
    log = page.get_by_role("region", name="Log")
    for rank in range(4):  # all of them together, each line with who wrote it
        expect(log.get_by_text(f"rank {rank} begins")).to_be_visible()
    page.get_by_role("combobox", name="Rank").click()
    page.get_by_role("option", name="rank 3").click()
    expect(log.get_by_text("rank 3 complains")).to_be_visible()
    expect(log.get_by_text(re.compile("rank [012]"))).to_have_count(0)
    page.get_by_text("stdout", exact=True).click()
    expect(log.get_by_text("rank 3 complains")).to_have_count(0)
    go_on.touch()
    expect(log.get_by_text("rank 3 ends")).to_be_visible()  # a chosen one is followed, too
    page.reload()  # a link to it works tomorrow
    expect(log.get_by_text("rank 3 ends")).to_be_visible()
    expect(log.get_by_text(re.compile("rank [012]|complains"))).to_have_count(0)
    opened_menu(page, "Download")
    link = page.get_by_role("menuitem", name=re.compile("stdout")).get_attribute("href")
    with page.expect_download() as given:
        page.get_by_role("menuitem", name=re.compile("stdout")).click()
    assert given.value.path().read_text() == "rank 3 begins\nrank 3 ends\n", link
