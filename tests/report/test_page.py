"""The page, in a real browser: it says what the record says, obeys hands and keys, asks nobody for anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extension_kit.report import html, timeline
from tests.report.browser import DOWN, UP, Browser, missing, move
from tests.report.conftest import HOSTILE
from tests.report.records import crowded, cut_short, one_invocation, record, very_long

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(missing()), reason=missing() or "all is here")]
FOUND = "return document.querySelector('#found').textContent === arguments[0]"
CHART = "const c = document.querySelector('#chart'); const d = c.dataset;"


@pytest.fixture
def page(browser: Browser, run) -> Browser:
    """The page of the real run, as it is when it has just been opened; what a test did before is forgotten."""
    show(browser, run.report)
    return browser


def show(browser: Browser, path: Path) -> None:
    browser.prefer(dark=False, calm=True)
    browser.open(path)
    browser.run("localStorage.clear()")
    browser.open(path)
    browser.wait("return document.querySelector('#chart').dataset.to")


def place(browser: Browser, lane: str, at: float, *, mark: bool = False) -> tuple[float, float]:
    """Where in the window a moment of a lane is; on its bars, or on its marks."""
    browser.run("document.querySelector('#chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    found = browser.run(
        CHART + "const box = c.getBoundingClientRect();"
        "const item = [...document.querySelectorAll('#lanes li')].find((one) => one.title === arguments[0]);"
        "const row = item.getBoundingClientRect();"
        "return [box.left + (arguments[1] - d.from) / (d.to - d.from) * d.inner, row.top, row.height]",
        lane, at,
    )  # fmt: skip
    return found[0], found[1] + (found[2] - 10 if mark else 18)


def view(browser: Browser) -> tuple[float, float]:
    browser.settle()
    start, end = browser.run(CHART + "return [Number(d.from), Number(d.to)]")
    return start, end


def cells(browser: Browser, table: str) -> list[list[str]]:
    """What stands in the rows of a table."""
    rows: list[list[str]] = browser.run(
        "return [...document.querySelectorAll(arguments[0])].map((r) => [...r.cells].map((c) => c.innerText))",
        f"{table} tbody tr",
    )
    return rows


def number(text: str) -> float:
    """The milliseconds of a time as the page writes it: to a percent, or to a millisecond."""
    value, unit = text.split()
    return float(value) * {"ms": 1, "s": 1000, "µs": 0.001}[unit]


# it says what the record says -------------------------------------------------------------------------------------------


def test_counts_spans_and_texts_are_the_records(page, run):
    """Invocations, kinds of marks, the list of everything, the closing figures."""
    events = run.record["events"]
    found = timeline(run.record)
    kinds = {
        kind: sum(one.kind == kind for one in found.marks) for kind in ("response", "batch", "log", "error", "fault")
    }
    buttons = {one.rpartition(" ")[0]: int(one.rpartition(" ")[2]) for one in page.texts("#legend button")}
    figures = dict(zip(page.texts("#figures dt"), page.texts("#figures .value"), strict=True))
    everything = page.run("return data.spans.length + data.marks.length")

    assert page.text("h1") == run.record["profile"]["function_name"]
    assert len(page.texts("#invocations tbody tr")) == sum(one["kind"] == "invoke_start" for one in events) == 6
    assert page.texts("#invocations .mono") == [one["request_id"] for one in events if one["kind"] == "invoke_start"]
    assert kinds["response"] + 1 == sum(one["kind"] == "response" for one in events), "one of them is an error"
    assert kinds["batch"] == sum(one["kind"] == "telemetry_batch" for one in events)
    assert (buttons["response"], buttons["telemetry delivered"], buttons["log line"], buttons["error"], buttons["fault"]) == (
        kinds["response"], kinds["batch"], kinds["log"], kinds["error"], kinds["fault"])  # fmt: skip
    assert everything == len(found.spans) + len(found.marks) == int(page.text("#events-count"))
    assert (figures["Invocations"], page.text("#health")) == ("6", "1 of 6 not well")
    assert number(figures["Init"]) == pytest.approx(
        next(one["duration_ms"] for one in events if one["kind"] == "init_end"), abs=1, rel=0.01
    )


def test_times_are_the_records(page, run):
    """Of every invocation, and of every process."""
    events = run.record["events"]
    heads = [one.split(" \u2195")[0] for one in page.texts("#invocations thead th")]
    rows = cells(page, "#invocations")
    told = [dict(zip(heads, row, strict=True)) for row in rows]
    responses = {one["request_id"]: one["duration_ms"] for one in events if one["kind"] == "response"}
    billed = [f"{one['metrics']['billedDurationMs']} ms" for one in events if one["kind"] == "report"]

    assert [number(one["Response"]) for one in told] == pytest.approx(
        [responses[one["Request id"]] for one in told], abs=1, rel=0.01
    )
    assert [one["Billed"] for one in told] == billed
    failed = [one["error_type"] for one in events if one["kind"] == "response"]
    assert [one["Status"] for one in told] == [f"\u2715 {error}" if error else "success" for error in failed]
    cpu = {row[0]: number(row[6]) for row in cells(page, "#costs")}
    assert cpu == pytest.approx(
        {one["party"]: one["cpu_ms"] for one in events if one["kind"] == "process_usage"}, abs=1, rel=0.01
    )


def test_what_is_pointed_at_is_told(page, run):
    """On a bar: what it is, whose, and how long. On a mark likewise."""
    found = timeline(run.record)
    frozen = next(found.of("frozen"))
    page.run("chart.between(arguments[0], arguments[1])", frozen.start, frozen.end)
    page.pointer(move(*place(page, "platform", (frozen.start + frozen.end) / 2)))
    tip = page.wait("const t = document.querySelector('#tip'); return !t.hidden && t.innerText")

    assert tip.split("\n\n")[0] == "frozen"
    assert tip.split("\n\n")[1].startswith("platform · ")
    assert number(re.search(r"· ([\d.]+ m?s),", tip)[1]) == pytest.approx(frozen.duration, abs=1, rel=0.01)

    work = next(span for span in found.of("after") if found.lanes[span.lane].name == "watcher")
    page.run("chart.between(arguments[0], arguments[1])", work.start, work.end)
    page.pointer(move(*place(page, "watcher", (work.start + work.end) / 2)), DOWN, UP)
    details = page.wait("return document.querySelector('#details b') && document.querySelector('#details').innerText")
    assert details.splitlines()[0] == "works after the response"
    assert "watcher · after the response" in details
    assert "invocation #1" in details


def test_texts_of_others_stay_texts(page):
    """What a function prints is to be read, and to be found, and nothing comes of it."""
    page.run("document.querySelector('#search').value = arguments[0]; search('hurt')", "hurt")
    listed = page.texts("#events td.text")

    assert listed == list(HOSTILE[:2])
    assert page.run("return window.hurt") is None
    assert page.run("return document.images.length + document.scripts.length") == 2, "the data and our script"
    assert page.complaints() == []
    assert len(set(page.requests())) <= 1, "that of the page itself"


def test_no_request_leaves_and_nothing_is_complained_of(page, run):
    """From a file: its own address, and nothing else; the policy refuses what a script would fetch, load or run."""
    page.open(run.report)
    page.run("document.querySelector('#chart').scrollIntoView()")
    page.settle()

    assert page.requests() == [run.report.as_uri()]
    assert page.complaints() == []
    for attempt in (
        "new Image().src = 'http://127.0.0.1:9/x.png'",
        "const s = document.createElement('script'); s.textContent = 'window.hurt = 1'; document.body.append(s)",
        "const s = document.createElement('style'); s.textContent = 'h1 { color: red }'; document.body.append(s)",
        "fetch('http://127.0.0.1:9/x').catch(() => 0)",
    ):
        page.run(attempt)
        complaint = page.wait("return true") and "".join(page.complaints())
        assert "Content Security Policy" in complaint, attempt
    assert page.run("return window.hurt") is None


def test_an_invocation_that_has_not_ended_is_no_error(browser, tmp_path):
    """The page says of a record that is cut what the text says."""
    path = tmp_path / "cut.html"
    path.write_text(html(cut_short()))
    show(browser, path)

    assert browser.text("#health") == "1 of 2 not ended"
    assert browser.texts("#figures .more-of-it")[0] == "1 not ended"
    assert [row[-2] for row in cells(browser, "#invocations")] == ["success", "not ended"]
    assert browser.run("return document.querySelectorAll('#health.bad, .bad-text').length") == 0


def test_figures_say_what_they_are_of(browser, tmp_path):
    """Of several inits the first; nothing of responses that there are none of; no name leaves its card; days are days."""
    long = record(
        *((at, kind, {"phase": "init", "status": "success"}) for at, kind in (
            (0, "init_start"), (50, "init_end"), (60, "init_start"), (70, "init_end"))),
        (80, "process_start", {"party": "x" * 200, "pid": 1}),
        (90, "invoke_start", {"request_id": "a"}), (91, "invoke_start", {"request_id": "b"}),
        (11 * 86_400_000, "shutdown_start", {"reason": "spindown"}),
    )  # fmt: skip
    path = tmp_path / "long.html"
    path.write_text(html(long))
    show(browser, path)
    told = dict(zip(browser.texts("#figures dt"), browser.texts("#figures .more-of-it"), strict=True))

    assert told["Init"] == "the first of 2"
    assert told["Response, median"].strip() == ""
    assert "11.0 days in all" in browser.text("#facts")
    assert browser.run(
        "return [...document.querySelectorAll('#figures > div')].every((card) => card.scrollWidth <= card.clientWidth"
        " && [...card.children].every((one) => one.getBoundingClientRect().right <= card.getBoundingClientRect().right))"
    )


# hands and keys ---------------------------------------------------------------------------------------------------------


def test_zoom_by_buttons_wheel_and_range(page):
    """Each narrows the view around what was meant; all of it comes back."""
    whole = view(page)
    page.click("#zoom-in")
    assert view(page)[1] - view(page)[0] == pytest.approx((whole[1] - whole[0]) / 2, rel=0.01)
    page.click("#zoom-fit")
    assert view(page) == pytest.approx(whole)

    x, y = place(page, "runtime", whole[1] / 4)
    page.wheel(x, y, -300)
    start, end = view(page)
    assert end - start < (whole[1] - whole[0]) / 2
    assert start < whole[1] / 4 < end
    assert (whole[1] / 4 - start) / (end - start) == pytest.approx(0.25, abs=0.02), (
        "what is pointed at stays where it is"
    )
    page.wheel(x, y, 900)
    assert view(page) == pytest.approx(whole)

    left, right = place(page, "runtime", whole[1] * 0.2), place(page, "runtime", whole[1] * 0.4)
    page.pointer(move(*left), DOWN, move(left[0] + 30, left[1]), move(*right), UP)
    assert view(page) == pytest.approx((whole[1] * 0.2, whole[1] * 0.4), abs=whole[1] / 100)
    assert page.run("return document.querySelector('#zoom-fit').disabled") is False


def test_everything_can_be_done_by_keys(page):
    """Zoom, move, choose, go to it, and back."""
    page.run("document.querySelector('#chart').focus()")
    whole = view(page)
    page.press("+", "+")
    quarter = view(page)
    assert quarter[1] - quarter[0] == pytest.approx((whole[1] - whole[0]) / 4, rel=0.01)
    page.press("ArrowRight")
    assert view(page)[0] > quarter[0]
    page.press("ArrowLeft", "-", "0")
    assert view(page) == pytest.approx(whole)

    page.press("ArrowDown")
    assert page.run("return document.querySelector('#lanes .chosen').title") == "runtime"
    page.press("n", "n")
    assert page.text("#details b") == "waits for the next event"
    page.press("p")
    assert page.text("#details b") == "starting"
    page.press("Enter")
    start, end = view(page)
    span = page.run("return data.spans[chart.chosen]")
    assert start <= span[2] < span[3] <= end
    assert end - start < (span[3] - span[2]) * 1.3
    page.press("Escape")
    assert page.run(CHART + "return d.chosen") == "-1"
    page.press("Escape")
    assert view(page) == pytest.approx(whole)


def test_help_is_there_and_focus_can_be_seen(page):
    """`?` opens it, Esc closes it; the keys stand below the timeline; Tab gets to the timeline, with a ring around it."""
    page.press("?")
    assert page.run("return document.querySelector('#help').open")
    assert "choose a process" in page.text("#help")
    page.press("Escape")
    assert not page.run("return document.querySelector('#help').open")
    assert "zoom" in page.text("#keys-short")

    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(12):
        page.press("Tab")
        reached.append(page.run("return document.activeElement.id"))
    assert {"theme", "help-open", "search", "zoom-in", "fold", "chart"} <= set(reached)
    page.run("document.querySelector('#chart').focus()")
    assert page.run("return getComputedStyle(document.querySelector('#chart')).outlineWidth") == "2px"


def test_search_filters_and_jumps(page, run):
    """`/` to it; what does not match fades, the list below has what does; Enter goes through it; Esc lets go."""
    found = timeline(run.record)
    things = len(found.spans) + len(found.marks)
    page.press("/", *"registers for")
    page.wait(FOUND, f"2 of {things}")

    assert page.text("#events-count") == "2 that match the search"
    assert sorted(page.texts("#events td.text")) == ["registers for INVOKE, SHUTDOWN"] * 2
    page.click("#zoom-in"), page.click("#zoom-in"), page.click("#zoom-in")
    page.run("chart.look(chart.scale.total * 0.9, chart.scale.total)")
    page.run("document.querySelector('#search').focus()")
    page.press("Enter")
    start, end = view(page)
    first = page.run("return chart.begin(chart.chosen)")
    assert start <= first <= end, "it is in view now"
    assert page.text("#found") == "1 of 2"
    page.press("Enter")
    assert page.run("return chart.begin(chart.chosen)") > first
    page.press("Enter", shift=True)
    assert page.run("return chart.begin(chart.chosen)") == first
    page.press("Escape")
    assert page.text("#found") == ""
    assert page.text("#events-count") == str(things)

    page.press("/", *"no such thing")
    page.wait(FOUND, f"0 of {things}")
    assert page.texts("#events tbody tr") == []


def test_an_invocation_is_sorted_for_and_shown(page, run):
    """A click on a heading sorts; a click on a row goes to the timeline."""
    page.click("#invocations thead th:nth-child(5) button")

    def ones() -> list[dict[str, Any]]:
        order = [int(row[0].removeprefix("#")) for row in cells(page, "#invocations")]
        return [page.run("return data.invocations[arguments[0] - 1]", one) for one in order]

    after = [one["after"] for one in ones()]
    assert after == sorted(after, reverse=True)
    assert page.run("return document.querySelector('#invocations thead th:nth-child(5)').ariaSort") == "descending"
    page.click("#invocations thead th:nth-child(5) button")
    after = [one["after"] for one in ones()]
    assert after == sorted(after)

    page.click("#invocations tbody tr:nth-child(2) .link")
    start, end = view(page)
    wanted = ones()[1]
    assert start <= wanted["start"] < wanted["end"] <= end < page.run("return data.end")
    assert f"invocation {wanted['number']}" in page.text("#details b")
    assert page.run("return document.activeElement.id") == "chart"


def test_pauses_fold(browser, tmp_path):
    """By themselves where they are most of the run, else by the switch; what is done fills the page, times stay right."""
    path = tmp_path / "page.html"
    path.write_text(html(one_invocation()))
    show(browser, path)
    folds = "return document.querySelector('#fold').getAttribute('aria-pressed')"
    total = "return chart.scale.total"
    assert (browser.run(folds), browser.run(total)) == ("true", pytest.approx(280 + 10 + 0.04 * 280))
    assert browser.run(
        "return [0, 100, 110, 190, 445, 700, 800].map((at) => chart.scale.time(chart.scale.width(at)))"
    ) == (pytest.approx([0, 100, 110, 190, 445, 700, 800]))

    browser.click("#fold")
    assert (browser.run(folds), browser.run(total)) == ("false", pytest.approx(800))
    browser.run("document.querySelector('#chart').focus()")
    browser.press("f")
    assert browser.run(folds) == "true"


# looks ------------------------------------------------------------------------------------------------------------------


def test_theme_follows_the_system_until_one_is_chosen(page, run):
    """And what was chosen is remembered."""
    theme = "return document.documentElement.dataset.theme"
    background = "return getComputedStyle(document.body).backgroundColor"
    assert page.run(theme) == "light"
    light = page.run(background)
    page.prefer(dark=True, calm=True)
    assert page.wait(theme + " === 'dark'")
    assert page.run(background) != light
    page.click("#theme")
    assert page.run(theme) == "light"
    page.open(run.report)
    assert page.run(theme) == "light"
    assert page.run(background) == light


def test_who_wants_no_motion_gets_none(page):
    """The view is where it is to be at once."""
    page.run("document.querySelector('#chart').focus()")
    assert page.run(
        "const was = chart.view[1]; chart.zoom(0.5); return chart.view[1] !== was && chart.view[1] - chart.view[0] < was * 0.6"
    )


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read(page, dark):
    """A contrast of 4.5 at least: of every text on the page with what is behind it, of words on every kind of bar."""
    page.prefer(dark=dark, calm=True)
    assert page.wait("return document.documentElement.dataset.theme === arguments[0]", "dark" if dark else "light")
    too_weak = page.run((Path(__file__).parent / "contrast.js").read_text())

    assert too_weak == []


@pytest.mark.parametrize("width", [360, 700, 1400, 2200])
def test_nothing_sticks_out(run, browser, width):
    """Wide or narrow: the page itself never scrolls sideways."""
    browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    try:
        show(browser, run.report)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run(CHART + "return c.clientWidth") >= width * 0.5
    finally:
        browser.cdp("Emulation.setDeviceMetricsOverride", width=1400, height=900, deviceScaleFactor=1, mobile=False)


def test_who_cannot_see_it_is_told(page):
    """Roles and names: every control has one, the timeline says what it is, what is chosen is announced."""
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, [tabindex], canvas:not([aria-hidden]), [role=img]')]"
        ".filter((e) => !(e.ariaLabel || e.getAttribute('aria-labelledby') || e.innerText?.trim() || e.labels?.length))"
        ".map((e) => e.outerHTML)"
    )
    assert nameless == []
    assert page.run("const c = document.querySelector('#chart'); return [c.tabIndex, c.role, c.ariaLabel]") == [
        0, "application", "Timeline of the run"]  # fmt: skip
    assert page.run("return document.querySelector('#details').ariaLive") == "polite"
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return [...document.querySelectorAll('th')].every((th) => th.scope === 'col')")


def test_ten_thousand_events(browser, tmp_path):
    """It opens, draws no more than there are pixels for, says how many share a place, and still reacts."""
    record = very_long(1_000)
    path = tmp_path / "long.html"
    path.write_text(html(record))
    assert len(record["events"]) > 10_000
    show(browser, path)
    things = browser.run("return data.spans.length + data.marks.length")
    drawn, groups = browser.run(CHART + "return [Number(d.drawn), Number(d.groups)]")

    assert things > 10_000
    assert 0 < drawn < things / 2
    assert sum(
        browser.run("return chart.lanes.map((l) => l.groups.reduce((n, g) => n + g.ids.length, 0))")
    ) == browser.run("return data.marks.length"), "every mark is in a group"
    assert groups < 200
    assert len(browser.texts("#invocations tbody tr")) == 20
    browser.click("#invocations-more")
    assert len(browser.texts("#invocations tbody tr")) == 120
    browser.press("/", *"line 777 request-777", "Enter")
    browser.wait(FOUND, "1 of 1")
    assert "line 777" in browser.text("#details")
    browser.press("Escape")
    browser.press("Enter", "Enter")
    start, end = view(browser)
    assert end - start < 1_000
    assert browser.complaints() == []


@pytest.mark.parametrize(("processes", "at_once"), [(3_000, 0), (1, 10_000)])
def test_a_timeline_higher_than_a_canvas_can_be(browser, tmp_path, processes, at_once):
    """What is in view is drawn, wherever that is; the rest of the page stays near."""
    path = tmp_path / "high.html"
    path.write_text(html(crowded(processes, at_once)))
    show(browser, path)
    painted = (
        "const c = document.querySelector('#canvas'), box = c.getBoundingClientRect();"
        "const chart = document.querySelector('.chart').getBoundingClientRect();"
        "const at = (y) => Math.round((y - box.top) * c.height / box.height);"
        "const row = (y) => c.getContext('2d').getImageData(0, at(y), c.width, 1).data;"
        "const seen = [];"
        "for (let y = Math.max(chart.top, 0) + 40; y < Math.min(chart.bottom, innerHeight) - 60; y += 20)"
        "  seen.push([0, 5, 10, 15].some((more) => row(y + more).some((value) => value > 0)));"
        "return seen"
    )
    assert browser.run("return chart.height") > 66_000
    browser.run("document.querySelector('.chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    for share in (0, 0.5, 1):
        browser.run("const c = document.querySelector('.chart'); c.scrollTop = arguments[0] * c.scrollHeight", share)
        browser.wait(
            "const c = document.querySelector('.chart'); const middle = c.scrollTop + c.clientHeight / 2;"
            "const top = Number(document.querySelector('#chart').dataset.top);"
            "return top <= middle && middle <= top + 4000"
        )
        browser.settle()
        seen = browser.run(painted)
        assert len(seen) > 20
        assert all(seen), (share, seen)
        assert int(browser.run(CHART + "return d.drawn")) > 10
    last = browser.run(
        "return data.spans.findLastIndex((span) => span[0] === data.lanes.length - 1 || span[1] === 'invoke')"
    )
    y = browser.run(
        "const span = data.spans[arguments[0]], lane = chart.lanes[span[0]];"
        "return document.querySelector('#chart').getBoundingClientRect().top + lane.y + 8 + span[6] * 25 + 8", last,
    )  # fmt: skip
    x = browser.run(
        "return document.querySelector('#chart').getBoundingClientRect().left + chart.x((data.spans[arguments[0]][2]"
        " + data.spans[arguments[0]][3]) / 2)", last,
    )  # fmt: skip
    browser.pointer(move(x, y), DOWN, UP)
    assert browser.wait("return chart.chosen >= 0 && data.spans[chart.chosen][4]") == browser.run(
        "return data.spans[arguments[0]][4]", last
    )
    browser.run(
        "const high = (span) => span[0] * 1e6 + span[6];"
        "chart.choose(data.spans.reduce((best, span, at) => (high(span) < high(data.spans[best]) ? at : best), 0))"
    )
    browser.settle()
    assert browser.run("return document.querySelector('.chart').scrollTop") < 100, "what is chosen comes into view"
    assert browser.run("return document.documentElement.scrollHeight") < 10_000
    assert [one for one in browser.complaints() if "getImageData" not in one] == []


def test_a_run_without_anything(browser, tmp_path):
    """No invocation, no extension, no pause, no note: no error either."""
    empty = {**one_invocation(), "events": [], "notes": []}
    path = tmp_path / "empty.html"
    path.write_text(html(empty))
    browser.open(path)
    browser.wait("return document.querySelector('#chart').dataset.to")
    browser.run("document.querySelector('#chart').focus()")
    browser.press("n", "+", "Enter", "ArrowDown", "-", "Escape")

    assert browser.text("#figures .value") == "0"
    assert browser.run("return [document.querySelector('#notes-panel').hidden, document.querySelector('#fold').hidden]") == [
        True, True]  # fmt: skip
    assert browser.complaints() == []
