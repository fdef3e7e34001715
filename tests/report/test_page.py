"""The HTML report in a real browser."""

from __future__ import annotations

import base64
import http.server
import json
import random
import shutil
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bootstrap.ledger import Ledger
from bootstrap.report import formatting, load, present, summarise
from tests.report import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = Options()
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reports: a launch of four distros, one host, and many hosts."""
    folder = tmp_path_factory.mktemp("pages")
    with Ledger(folder / "four.sqlite") as ledger:
        run = synthetic.run(ledger, replicas=3, name="rehearsal")
        synthetic.failed_host(ledger, run, synthetic.UBUNTU, "ubuntu-4")
    with Ledger(folder / "many.sqlite") as ledger:
        for seed in range(10):
            synthetic.run(ledger, replicas=3, seed=seed)
    with Ledger(folder / "one.sqlite") as ledger:
        synthetic.run(ledger, (synthetic.UBUNTU,), 1, provider="local")
    with Ledger(folder / "odd.sqlite") as ledger:
        endless = replace(synthetic.SUSE, pretty="A distro whose name does not end " * 4)
        run = synthetic.run(ledger, (endless,), 2, name="n" * 200)
        synthetic.add_host(ledger, run, synthetic.slow(synthetic.AMAZON, train=900), "h" * 120, random.Random(2))
        failed = synthetic.failed_host(ledger, run, synthetic.RHEL, "host" * 20, failure="f" * 90)
        ledger.update_host(failed, log_tail="\x1b[31m" + "x" * 100_000, failure_message="m" * 3000)
    for name in ("four", "many", "one", "odd"):
        with Ledger(folder / f"{name}.sqlite", read_only=True) as ledger:
            report = summarise(load(ledger, every=True))
            (folder / f"{name}.html").write_bytes(present.make(report, "html"))
    return folder


def size(browser: WebDriver, width: int, height: int = 900) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def show(browser: WebDriver, page: Path, width: int = 1440) -> None:
    size(browser, width)
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium's own lack


@pytest.mark.parametrize("name", ["four", "many", "one", "odd"])
def test_it_opens_without_a_word_on_the_console_and_asks_nothing_of_the_network(
    browser: WebDriver, pages: Path, name: str
) -> None:
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's own name)
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(pages)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        size(browser, 1440)
        browser.get(f"http://127.0.0.1:{server.server_address[1]}/{name}.html")
        assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium's own lack
        entries = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
        assert entries == []
        assert asked == [f"/{name}.html"]
    finally:
        server.shutdown()
        server.server_close()
    assert (pages / f"{name}.html").stat().st_size < 500_000


def test_hovering_shows_the_phase(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")
    tip = browser.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    lane = next(
        lane
        for lane in browser.find_elements(By.CSS_SELECTOR, "details[open] .lane")
        if (lane.get_attribute("data-tip") or "").startswith("first-checkpoint/train")
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", lane)
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    ActionChains(browser).move_to_element(lane).perform()
    assert tip.is_displayed()
    assert tip.text.splitlines()[0] == "first-checkpoint/train"
    assert "computing" in tip.text
    piece = browser.find_element(By.CSS_SELECTOR, ".strip i.c-wait")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", piece)
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    ActionChains(browser).move_to_element(piece).perform()
    assert "launch/" in tip.text
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()


def test_the_keyboard_shows_it_too(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")
    for _ in range(2):  # the button for dark and light, then the first bar
        ActionChains(browser).send_keys(Keys.TAB).perform()
    tip = browser.find_element(By.ID, "tip")
    assert tip.is_displayed()
    assert "Amazon Linux 2023" in tip.text


@pytest.mark.parametrize("name", ["four", "many"])  # without and with intervals
def test_every_figure_stands_under_its_heading(browser: WebDriver, pages: Path, name: str) -> None:
    show(browser, pages / f"{name}.html")
    script = "return [...document.querySelectorAll(arguments[0])].map((r) => [...r.cells].map((c) => c.innerText))"
    (heads,) = browser.execute_script(script, "#groups thead tr:last-child")
    rows = browser.execute_script(script, "#groups tbody tr")
    assert [len(row) for row in rows] == [len(heads)] * 4
    with Ledger(pages / f"{name}.sqlite", read_only=True) as ledger:
        report = summarise(load(ledger, every=True))
    for row, group in zip(rows, report.groups, strict=True):
        medians = [cell for head, cell in zip(heads, row, strict=True) if head == "median"]
        assert medians == [formatting.seconds(summary.median) for summary in group.metrics.values() if summary]
        assert group.val_loss is not None
        assert row[heads.index("val loss")] == f"{group.val_loss.median:.4f}"
        assert row[heads.index("failed")] == str(sum(group.failures.values()))


def test_sorting_sorts(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")

    def column(place: int) -> list[str]:
        script = "return [...document.querySelectorAll('#groups tbody tr')].map((r) => r.cells[arguments[0]].innerText)"
        return list(browser.execute_script(script, place))

    heads = browser.find_elements(By.CSS_SELECTOR, "#groups thead tr:last-child th")
    place = next(i for i, head in enumerate(heads) if head.text == "median")
    heads[place].find_element(By.TAG_NAME, "button").click()
    seconds = [float(cell.split()[0]) for cell in column(place)]
    assert seconds == sorted(seconds)
    assert heads[place].get_attribute("aria-sort") == "ascending"
    heads[place].find_element(By.TAG_NAME, "button").click()
    assert [float(cell.split()[0]) for cell in column(place)] == seconds[::-1]
    heads[0].find_element(By.TAG_NAME, "button").click()
    assert column(0) == sorted(column(0))
    assert heads[place].get_attribute("aria-sort") is None


# Text that lies on other text, leaves its box, or leaves the page sideways.
_TROUBLE = """
document.querySelectorAll('details').forEach((d) => { d.open = true; });
const trouble = [];
const wide = document.documentElement.scrollWidth;
if (wide > innerWidth) trouble.push(`the page is ${wide} wide`);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const boxes = [];
while (walker.nextNode()) {
  const node = walker.currentNode;
  if (!node.data.trim() || node.parentElement.closest('script, #tip[hidden], .visually-hidden')) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const scrolls = node.parentElement.closest('.scroll, pre');
  for (const box of range.getClientRects()) {
    if (box.width < 1 || box.height < 1) continue;
    const style = getComputedStyle(node.parentElement);
    const cut = (box.height - parseFloat(style.fontSize)) / 2;
    boxes.push({ text: node.data.trim().slice(0, 40), scrolls: scrolls,
      sticky: node.parentElement.closest('tbody th, thead tr + tr th:first-child'),
      left: box.left + scrollX, right: box.right + scrollX,
      top: box.top + scrollY + cut, bottom: box.bottom + scrollY - cut });
    const outside = box.left < -0.5 || box.right > innerWidth + 0.5;
    if (!scrolls && outside) trouble.push(`outside: ${node.data.trim().slice(0, 60)}`);
  }
}
boxes.sort((a, b) => a.top - b.top);
for (let i = 0; i < boxes.length; i++) {
  for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom - 1; j++) {
    const [a, b] = [boxes[i], boxes[j]];
    if (a.scrolls && a.scrolls === b.scrolls && (a.sticky || b.sticky)) continue;
    if (a.scrolls !== b.scrolls) continue;  // what is scrolled out of one box lies under others, unseen
    if (a.left < b.right - 1 && b.left < a.right - 1) trouble.push(`${a.text} | ${b.text}`);
  }
}
return trouble;
"""


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("name", ["four", "many", "one", "odd"])
def test_nothing_overlaps(browser: WebDriver, pages: Path, name: str, width: int) -> None:
    show(browser, pages / f"{name}.html", width)
    assert browser.execute_script(_TROUBLE) == []


def test_the_check_for_overlaps_finds_them(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "one.html", 360)
    browser.execute_script("document.querySelector('h1').style.marginBottom = '-40px'")
    assert browser.execute_script(_TROUBLE) != []


def contrast(browser: WebDriver) -> float:
    """Of the body's text on its paper, as WCAG counts it."""
    script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"

    def light(colour: str) -> float:
        channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    a, b = sorted(map(light, browser.execute_script(script)))
    return (b + 0.05) / (a + 0.05)


def test_dark_and_light(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "one.html")
    paper = "return getComputedStyle(document.body).backgroundColor"
    try:
        seen = {}
        for scheme in ("light", "dark"):
            features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
            seen[scheme] = browser.execute_script(paper)
            assert contrast(browser) > 7
        assert seen["light"] != seen["dark"]
        browser.find_element(By.ID, "theme").click()
        assert browser.execute_script(paper) == seen["light"]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_on_paper_everything_is_open_and_light(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") > 0
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") > 0
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


_BROKEN_WORDS = """
const broken = [], range = document.createRange();
for (const shown of document.querySelectorAll("thead th, .lane .name, .lane .secs, .host .label")) {
  const texts = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/[^\\s–-]+/g)) {
    range.setStart(texts.currentNode, word.index);
    range.setEnd(texts.currentNode, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) broken.push(word[0]);
  }
}
return broken;
"""


@pytest.mark.parametrize("name", ["one", "four"])
def test_on_paper_no_word_is_broken(browser: WebDriver, pages: Path, name: str) -> None:
    show(browser, pages / f"{name}.html")
    a4 = {"width": 718, "height": 1047, "deviceScaleFactor": 1, "mobile": False}  # less the margins, at 96 an inch
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert browser.execute_script("return document.querySelectorAll('.lane').length") > 0
        assert browser.execute_script(_BROKEN_WORDS) == []
        assert browser.execute_script(_TROUBLE) == []
        edges = "return [...document.querySelectorAll('table')].map(table => table.getBoundingClientRect().right)"
        assert max(browser.execute_script(edges), default=0) <= a4["width"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_failures_and_provenance_are_there(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")
    failure = browser.find_element(By.CSS_SELECTOR, ".failure")
    failure.find_element(By.TAG_NAME, "summary").click()
    assert "InsufficientInstanceCapacity" in failure.text
    provenance = browser.find_element(By.ID, "provenance").text
    for expected in ("ami-0cc33", "instance.type", "charrnn-bootstrap launch", "corpus.sha256", "rehearsal"):
        assert expected in provenance


def test_the_block_for_programs_is_the_report(browser: WebDriver, pages: Path) -> None:
    show(browser, pages / "four.html")
    block = json.loads(browser.execute_script("return document.getElementById('data').textContent"))
    assert block["format"] == "charrnn-bootstrap report"
    with Ledger(pages / "four.sqlite", read_only=True) as ledger:
        from bootstrap.report.present import document

        assert block["groups"] == json.loads(document.text(summarise(load(ledger))))["groups"]
