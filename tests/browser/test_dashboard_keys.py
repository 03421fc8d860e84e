"""The dashboard by keyboard, and what is done with tasks in it, in Debian's Chromium."""

from __future__ import annotations

import re
from functools import partial

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.browser import PATIENCE_MS, Visit
from tests.helpers.cli_hive import CliHive, until

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

#: More than there are: tasks that ask for them wait.
TOO_MANY = ("--gpus", "64")


def waiting(hive: CliHive, *names: str) -> list[str]:
    """Tasks that wait for more GPUs than there are."""
    return [hive.submit("--name", name, *TOO_MANY, "--", "true") for name in names]


def rows_of(visit: Visit, text: str) -> Locator:
    """The table of tasks, by a text in their names."""
    visit.page.goto(f"/tasks?text={text}")
    return visit.page.get_by_role("table", name="Tasks").get_by_role("row")


def test_first_answers_come_with_the_page_and_are_not_asked_for_again(visit: Visit) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url.removeprefix(visit.url)))
    visit.page.goto("/")
    expect(visit.page.get_by_role("status").get_by_text("live")).to_be_visible()
    # When those in line are likely to start is asked later, for the first few.
    of_the_api = {url for url in asked if url.startswith("/api/") and not url.endswith("/why")}
    assert of_the_api == {"/api/v1/gpus/history?minutes=10&step_s=10"}


def test_rows_are_walked_opened_chosen_and_cancelled_by_keys(visit: Visit) -> None:
    first, second = waiting(visit.hive, "by-keys-1", "by-keys-2")
    page, rows = visit.page, rows_of(visit, "by-keys")
    expect(rows).to_have_count(3)  # with the heads
    for key in ("j", "j", "k", "x"):  # the newest stands first
        page.keyboard.press(key)
    expect(page.get_by_role("checkbox", name="Choose by-keys-2")).to_be_checked()
    page.keyboard.press("c")
    page.get_by_role("button", name="Cancel 1 task").click()
    expect(rows.filter(has_text="by-keys-2").get_by_text("cancelled", exact=True)).to_be_visible()
    assert visit.hive.task(first)["word"] == "queued"
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/t/({first}|{second})"))
    page.goto("/")
    expect(page.get_by_role("link", name=re.compile("by-keys-1")).first).to_be_visible()
    page.keyboard.press("j")  # where there is no table, from link to link
    expect(page.locator("main li a:focus")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/t/t-"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def down_to(page: Page, wanted: Locator) -> bool:
    """One key press; whether that chose it."""
    page.keyboard.press("ArrowDown")
    return wanted.get_attribute("data-selected") is not None


def test_the_palette_goes_to_a_task_and_to_a_page(visit: Visit) -> None:
    (task_id,) = waiting(visit.hive, "find-me-quickly")
    page = visit.page
    for typed, place in (("find-me-quick", f"/t/{task_id}"), ("submit", "/submit")):
        page.keyboard.press("Control+k")
        page.get_by_role("textbox", name="Where to").fill(typed)
        option = page.locator(".mantine-Spotlight-action")
        wanted = option.filter(has_text=re.compile(typed, re.IGNORECASE)).first
        expect(wanted).to_be_visible()
        # What comes from the server may still move the list: down until it is the chosen one.
        until(partial(down_to, page, wanted), what=f"the choice of {typed}")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(re.escape(place)))


def test_many_are_held_at_once_and_an_undo_takes_it_back(visit: Visit) -> None:
    waiting(visit.hive, "undo-1", "undo-2", "undo-3")
    page, rows = visit.page, rows_of(visit, "undo-")
    expect(rows).to_have_count(4)
    page.get_by_role("checkbox", name="Choose those in view").check()
    page.get_by_role("button", name="Hold").click()
    expect(page.get_by_text("3 tasks held")).to_be_visible()
    expect(rows.get_by_text("held", exact=True)).to_have_count(3)
    page.get_by_role("button", name="Undo").click()
    expect(rows.get_by_text("queued", exact=True)).to_have_count(3)


def test_a_change_of_priority_is_taken_back_to_what_each_task_had(visit: Visit) -> None:
    (plain,) = waiting(visit.hive, "prio-1")
    low = visit.hive.submit("--name", "prio-2", "--priority", "low", *TOO_MANY, "--", "true")
    page, rows = visit.page, rows_of(visit, "prio-")
    expect(rows).to_have_count(3)
    page.get_by_role("checkbox", name="Choose those in view").check()
    page.get_by_role("combobox", name="Priority of those chosen").select_option("urgent")
    expect(page.get_by_text("2 tasks given another priority")).to_be_visible()
    assert {visit.hive.task(name)["priority"] for name in (plain, low)} == {"urgent"}
    page.get_by_role("button", name="Undo").click()
    until(
        lambda: [visit.hive.task(name)["priority"] for name in (plain, low)] == ["normal", "low"],
        what="the priorities that they had",
    )


def test_chosen_tasks_are_compared_with_their_amounts_in_words(visit: Visit) -> None:
    waiting(visit.hive, "cmp-1")
    visit.hive.submit("--name", "cmp-2", "--env", "API_KEY=hush", "--time", "3h", *TOO_MANY, "true")
    page, rows = visit.page, rows_of(visit, "cmp-")
    expect(rows).to_have_count(3)
    page.get_by_role("checkbox", name="Choose those in view").check()
    page.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile("/diff"))
    expect(page.get_by_role("row", name="time limit")).to_contain_text("3 h")
    expect(page.get_by_role("row", name="env.API_KEY")).to_contain_text("hidden")
    expect(page.get_by_text("hush")).to_have_count(0)
    assert visit.faults() == []


def test_a_view_is_saved_under_a_name_and_brings_its_filters_back(visit: Visit) -> None:
    waiting(visit.hive, "in-a-view")
    page, rows = visit.page, rows_of(visit, "in-a-view")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="save this view").click()
    page.get_by_role("textbox", name="Name of the view").fill("the one")
    page.keyboard.press("Enter")
    page.goto("/tasks")
    page.get_by_role("button", name="the one", exact=True).click()
    expect(page).to_have_url(re.compile("text=in-a-view"))
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Forget the view the one").click()
    expect(page.get_by_role("button", name="the one", exact=True)).to_have_count(0)


def test_a_task_that_waits_is_edited_and_a_refusal_says_its_request(visit: Visit) -> None:
    (task_id,) = waiting(visit.hive, "to-be-edited")
    page = visit.page
    page.goto(f"/t/{task_id}")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit to-be-edited")
    dialog.get_by_role("textbox", name="Retries").fill("2")
    dialog.get_by_role("textbox", name="Name").fill("x" * 300)
    dialog.get_by_role("button", name="Save").click()
    trouble = dialog.get_by_role("alert")
    expect(trouble.get_by_role("button", name=re.compile("[0-9a-f]{12}"))).to_be_visible()
    visit.errors.clear()  # Chromium logs every answer of 400 and above
    dialog.get_by_role("textbox", name="Name").fill("edited")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="edited", level=1)).to_be_visible()
    task = visit.hive.task(task_id)
    assert (task["name"], task["spec"]["retry"]) == ("edited", 2)


def test_a_log_is_searched_and_a_hit_leads_to_its_line(visit: Visit) -> None:
    lines = "for i in $(seq 3000); do echo line $i; done; echo needle here; seq 2000"
    task_id = visit.hive.submit("--name", "searched", "--", "sh", "-c", lines)
    visit.hive.ok("wait", task_id)
    page = visit.page
    page.goto(f"/t/{task_id}/log")
    # Its end is there, and so is who listens to keys.
    expect(page.get_by_role("region", name="Log").get_by_text("2000", exact=True)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("needle")
    page.get_by_role("navigation", name="Hits").get_by_text("needle here").click()
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("needle here")).to_be_visible()
    expect(log.get_by_text("line 3000", exact=True)).to_be_visible()
