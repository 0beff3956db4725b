"""Reports in a browser: nothing is run or fetched but the page, and all of it can be used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.reports.writing import write_report
from tests.unit.distill.made_runs import NASTY, make_run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian's)")
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose labels and texts would act if they could."""
    root = tmp_path_factory.mktemp("reports")
    names = ("negative", "positive", "</script>", NASTY)
    make_run(root / "run", names=names, rows=120, text=NASTY)
    return write_report(root / "run", root / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    """Chromium, once."""
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=WIDTHS)
def page(
    request: pytest.FixtureRequest, browser: sync_api.Browser, report: Path
) -> Iterator[sync_api.Page]:
    """The report at two widths; whatever the browser complains of fails the test."""
    opened = browser.new_page(viewport={"width": request.param, "height": 800})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda asked: said.append(asked.url) if "file:" not in asked.url else None)
    opened.goto(report.as_uri())
    yield opened
    opened.close()
    assert not [line for line in said if not line.startswith("data:")]


def column(page: sync_api.Page, table: str, at: int) -> list[str]:
    """The cells of a column that can be seen."""
    rows = page.locator(f"{table} tbody tr:visible")
    return [own.locator("td, th").nth(at).inner_text().strip() for own in rows.all()]


DISAGREE = "table.filters:has-text('Different answers')"


def test_markup_is_text_and_nothing_is_wider_than_the_page(page: sync_api.Page) -> None:
    assert page.locator("img").count() == 0
    assert page.locator(DISAGREE).locator("b").count() == 0
    assert "<img src=x onerror=alert(1)>" in page.locator(DISAGREE).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_tables_are_sorted_by_their_headings(page: sync_api.Page) -> None:
    table = page.locator(DISAGREE)
    heading = table.locator("thead th").first

    heading.locator("button").press("Enter")  # by keyboard
    up = [int(text) for text in column(page, DISAGREE, 0)]
    assert up == sorted(up)
    assert heading.get_attribute("aria-sort") == "ascending"

    heading.locator("button").click()
    assert [int(text) for text in column(page, DISAGREE, 0)] == up[::-1]
    assert heading.get_attribute("aria-sort") == "descending"


def test_rows_are_filtered_by_words_and_choices(page: sync_api.Page) -> None:
    before = len(column(page, DISAGREE, 0))
    tools = page.locator(f".tools:has(+ .scroll {DISAGREE})")

    tools.locator("select").last.select_option("teacher")
    assert set(column(page, DISAGREE, 3)) == {"teacher"}
    tools.locator("select").last.select_option("all")
    tools.locator("input").fill("no such words")
    assert column(page, DISAGREE, 0) == []
    assert tools.locator("output").inner_text() == f"shown: 0 of {before}"


def test_light_and_dark(page: sync_api.Page) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="dark")
    dark = paper()
    page.emulate_media(color_scheme="light")
    light = paper()
    page.locator("#theme").click()

    assert dark != light
    assert paper() == dark
    assert page.locator("#theme").inner_text() == "Light colors"


def test_charts_and_tables_speak(page: sync_api.Page) -> None:
    for chart in page.locator("[role=img]").all():
        assert len(chart.get_attribute("aria-label") or "") > 20
        assert chart.locator("svg").count() == 1
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("thead th:not([scope=col])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(own => own.id)")
    assert len(ids) == len(set(ids))
    links = page.evaluate("[...document.querySelectorAll('nav a')].map(own => own.hash.slice(1))")
    assert {*links} <= {*ids}
