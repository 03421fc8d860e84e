"""The dashboard in Debian's Chromium, from the real server, as a person walks through it.

At the end of each walk: nothing was refused by the content security policy, nothing was logged as
an error, no other host was asked.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.helpers.browser import PATIENCE_MS, Visit
from tests.helpers.cli_hive import CliHive
from tests.helpers.cutting_line import cutting_line

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE_MS)

COUNT = "for i in $(seq 600); do echo line $i; sleep 0.2; done"


def submitted(hive: CliHive, name: str, line: str, *flags: str) -> str:
    """The id of a task that was submitted in a terminal."""
    return hive.ok("submit", "-q", "--name", name, *flags, "--", "sh", "-c", line).strip()


def test_a_link_signs_in_once_and_leaves_no_trace(chrome: Browser, hive: CliHive) -> None:
    visit = Visit(chrome, hive)
    visit.page.goto("/tasks?owner=bob")
    expect(visit.page).to_have_url(re.compile(r"/sign-in\?next="))
    visit.sign_in()
    assert visit.page.evaluate("location.href") == f"{visit.url}/"
    assert visit.page.evaluate("document.cookie") == ""
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    visit.page.get_by_role("button", name=re.compile("menu")).click()
    visit.page.get_by_role("menuitem", name=re.compile("Sign out")).click()
    expect(visit.page.get_by_role("button", name="Sign in")).to_be_visible()
    assert visit.context.cookies() == []
    visit.close()


def test_a_token_signs_in_and_a_wrong_one_says_why(chrome: Browser, hive: CliHive) -> None:
    visit = Visit(chrome, hive)
    visit.page.goto("/")
    visit.page.get_by_text("Token", exact=True).click()
    for token, outcome in (
        ("fh_u_wrong", visit.page.get_by_role("alert")),
        (hive.transport.token or "", visit.page.get_by_text("GPUs free")),
    ):
        visit.page.get_by_role("textbox", name="Token").fill(token)
        visit.page.get_by_role("button", name="Sign in").click()
        expect(outcome).to_be_visible()
    assert visit.page.evaluate("window.refused") == []
    visit.close()


def test_the_overview_is_live(visit: Visit) -> None:
    page = visit.page
    expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
    task_id = submitted(visit.hive, "seen-live", COUNT, "--gpus", "1", "--gpu-mem", "20G")
    on_gpu = page.get_by_role("link", name=re.compile("seen-live of .*20.0 GiB"))
    expect(on_gpu).to_be_visible()
    visit.hive.ok("cancel", task_id)
    expect(on_gpu).to_have_count(0)


def test_a_task_is_submitted_watched_and_cancelled(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("link", name="Submit").click()
    page.get_by_role("textbox", name="Command").fill(COUNT)
    page.get_by_role("textbox", name="Name", exact=True).fill("by-form")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).to_have_url(re.compile(r"/t/t-"))
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_text("line 3", exact=True)).to_be_visible()
    expect(log.get_by_text("line 9", exact=True)).to_be_visible()  # it goes on by itself
    page.keyboard.press("c")
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.get_by_role("main").get_by_text("cancelled").first).to_be_visible()


def test_filters_stand_in_the_address_and_back_brings_them_back(visit: Visit) -> None:
    page = visit.page
    submitted(visit.hive, "filter-me", "true")
    submitted(visit.hive, "other", "true")
    page.get_by_role("link", name="Tasks", exact=True).click()
    rows = page.get_by_role("table", name="Tasks").get_by_role("link")
    expect(rows.filter(has_text="other")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("filter-me")
    expect(page).to_have_url(re.compile("text=filter-me"))
    expect(rows.filter(has_text="other")).to_have_count(0)
    rows.filter(has_text="filter-me").click()
    expect(page).to_have_url(re.compile(r"/t/t-"))
    page.go_back()
    expect(page).to_have_url(re.compile("text=filter-me"))
    expect(page.get_by_role("textbox", name="Name, command or id contains")).to_have_value(
        "filter-me"
    )
    expect(rows.filter(has_text="other")).to_have_count(0)
    page.reload()  # a link to it works tomorrow
    expect(rows.filter(has_text="filter-me")).to_be_visible()
    expect(rows.filter(has_text="other")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(chrome: Browser, hive: CliHive, scheme: str) -> None:
    visit = Visit(chrome, hive, color_scheme=scheme)
    visit.sign_in()
    failed = submitted(hive, "fails", "echo no >&2; exit 3")
    hive.run("wait", failed)
    found: dict[str, list[str]] = {}
    for path, landmark in (
        ("/", "GPUs free"),
        ("/tasks", "fails"),
        (f"/t/{failed}", "fails"),
        ("/submit", "Command"),
        ("/nodes", "Driver"),
        ("/tokens", "browser"),
    ):
        visit.page.goto(path)
        expect(visit.page.get_by_role("main").get_by_text(landmark).first).to_be_visible()
        if faults := visit.faults():
            found[path] = faults
    assert found == {}
    visit.check_clean()
    visit.close()


def test_a_page_whose_answers_fail_says_so_within_its_frame_and_mends_itself(visit: Visit) -> None:
    page = visit.page

    def without_answers(route: Route) -> None:
        answer = route.fetch()
        text = re.sub(r'("first-answers"[^>]*>).*?</script>', r"\1{}</script>", answer.text())
        route.fulfill(response=answer, body=text)

    page.route(visit.url + "/", without_answers)
    page.route("**/api/v1/**", lambda route: route.abort())
    page.goto("/")
    trouble = page.get_by_role("alert")
    expect(trouble.get_by_text("the server does not answer")).to_be_visible()
    expect(trouble.get_by_role("button", name="Try again")).to_be_visible()
    frame = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview")
    expect(frame).to_have_attribute("aria-current", "page")
    page.unroute_all(behavior="wait")
    expect(page.locator("[role=group]").first).to_be_visible()
    expect(trouble).to_have_count(0)
    visit.errors.clear()  # Chromium logs every request that fails


def test_a_page_that_is_cut_after_its_frame_becomes_whole_by_itself(
    chrome: Browser, hive: CliHive
) -> None:
    with cutting_line(int(hive.transport.base_url.rpartition(":")[2])) as line:
        visit = Visit(chrome, hive, url=line.url)
        visit.sign_in()
        line.page_bytes = 1_800  # the frame, packed; what is left of it is not enough for answers
        page = visit.page
        page.goto("/", wait_until="commit")
        frame = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Overview")
        expect(frame).to_be_visible()
        expect(page.locator("[role=group]").first).to_be_visible()
        expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
        assert page.evaluate("document.readyState") == "loading"
        visit.close()
