"""Is the HTML report, in a real browser, what it says it is?

    python tests/stages/browser.py OUT

Chromium and its driver are installed from Debian, as root, where they are missing; the driver is spoken to in plain
WebDriver. The sample reports are written to the folder OUT and opened without a window: that nothing is printed on the
console and nothing requested, that filter, search, keyboard and links do what they promise, that nothing scrolls
sideways at 360 pixels, that every finding is there with JavaScript off and on paper, and that all text has contrast.
OUT then holds light.png, dark.png, narrow.png, the same of several hosts (fleet-...) and report.pdf besides. The exit
status is 1 where something is not so.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence, cast
from urllib.request import Request, urlopen

from debian import installed

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests" / "reports")]

import sample  # noqa: E402 - this folder is where Python starts, not the top

from nodespec.model.json_types import Json  # noqa: E402
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style  # noqa: E402
from nodespec.reports.html import render  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
PATIENCE = 180  # seconds for an answer of the driver
REFUSALS = 3  # of a script, an image and a style
SOON = 20.0  # seconds in which what the page does by itself is done
ESCAPE, ENTER = "\ue00c", "\ue007"
LONG = sample.finding("fail", name="files./" + "x" * 900, words="y" * 3000)
BIG = sample.joining()._replace(
    findings=sample.joining().findings
    + tuple(sample.finding("pass", name=f"kernel.config.MORE_{n}") for n in range(89))
)
CASES: Mapping[str, Sequence[Report]] = {
    "every": [sample.every()],
    "joining": [sample.joining()],
    "big": [BIG],
    "fit": [sample.fit()],
    "image": [sample.at_rest()],
    "hidden": [sample.hidden()],
    "lacking": [sample.lacking()],
    "several": sample.several(),
    "fleet": sample.fleet(),
    "twins": [sample.every(), sample.every()],
    "hostile": [sample.hostile()],
    "long": [sample.report(LONG)],
    "empty": [sample.report()],
    "none": [],
}
SHOWN = "return [...document.querySelectorAll('.finding')].filter((one) => one.checkVisibility()).map((one) => one.id)"
STATUS = "return document.querySelector('[data-status]').textContent"
SIDEWAYS = """
for (const one of document.querySelectorAll("details")) one.open = true;
return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth;
"""
FAINT = """
for (const one of document.querySelectorAll("details")) one.open = true;
const luminance = (channels) => channels
  .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const behind = (one) => {
  for (; one; one = one.parentElement) {
    const found = channels(getComputedStyle(one).backgroundColor);
    if (found.length < 4 || found[3]) return found.slice(0, 3);
  }
};
const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
  && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
const faint = texts.filter((one) => ratio(luminance(channels(getComputedStyle(one).color).slice(0, 3)),
  luminance(behind(one))) < 4.5);
return [texts.length, ...new Set(faint.map((one) => `${one.localName}.${one.className}`))];
"""
UNSEEN = """
const unseen = (one) => ![...one.querySelectorAll("dt, dd")].every((inner) => inner.checkVisibility());
return [...document.querySelectorAll(".finding")].filter(unseen).map((one) => one.id);
"""


class Browser:
    """A session of WebDriver."""

    def __init__(self, driver: str, profile: str, *, scripts: bool) -> None:
        options: Dict[str, Json] = {
            "binary": shutil.which("chromium"),
            "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
            "prefs": {} if scripts else {"profile.managed_default_content_settings.javascript": 2},
        }
        logs: Json = {"browser": "ALL", "performance": "ALL"}
        wanted: Json = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}
        self.base = f"{driver}/session"
        session = cast("Mapping[str, str]", self.ask("", {"capabilities": wanted}))
        self.base += f"/{session['sessionId']}"

    def ask(self, path: str, body: Mapping[str, Json], method: str = "POST") -> Json:
        """What the driver answers."""
        request = Request(self.base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
        request.method = method
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - the driver that was started here
            return cast("Json", json.load(answer)["value"])

    def soon(self, script: str, wanted: Json) -> Json:
        """Return what a script returns, once it is the expected value or much time has passed."""
        end = time.monotonic() + SOON
        while (found := self.run(script)) != wanted and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def open(self, file: Path, width: int = 1200, scheme: str = "light", media: str = "", fragment: str = "") -> None:
        """Open a file again, in a window of that width."""
        size: Dict[str, Json] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", size)
        features: Json = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tell("Emulation.setEmulatedMedia", {"media": media, "features": features})
        self.ask("/url", {"url": "about:blank"})
        self.ask("/url", {"url": file.as_uri() + fragment})

    def tell(self, command: str, params: Mapping[str, Json]) -> Mapping[str, str]:
        """What Chromium itself answers."""
        return cast("Mapping[str, str]", self.ask("/goog/cdp/execute", {"cmd": command, "params": dict(params)}))

    def run(self, script: str) -> Json:
        """What a script returns; the driver's own scripts run with JavaScript off too."""
        return self.ask("/execute/sync", {"script": script, "args": []})

    def shown(self) -> List[str]:
        """The findings that are on the page, folded or not."""
        return cast("List[str]", self.run(SHOWN))

    def click(self, css: str) -> None:
        """A click of the mouse."""
        self.ask(f"/element/{self._element(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        """Keys pressed in an element."""
        self.ask(f"/element/{self._element(css)}/value", {"text": text})

    def _element(self, css: str) -> str:
        found = cast("Mapping[str, str]", self.ask("/element", {"using": "css selector", "value": css}))
        return next(iter(found.values()))

    def console(self) -> List[str]:
        """Return the messages of the console since the last call."""
        log = cast("List[Dict[str, Json]]", self.ask("/se/log", {"type": "browser"}))
        return [str(entry["message"]) for entry in log]

    def requested(self) -> List[str]:
        """All addresses that were asked for since the last time."""
        log = cast("List[Dict[str, str]]", self.ask("/se/log", {"type": "performance"}))
        events = [json.loads(entry["message"])["message"] for entry in log]
        asked = [event["params"]["request"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [str(request["url"]) for request in asked]

    def picture(self, file: Path) -> None:
        """The whole page as PNG."""
        file.write_bytes(b64decode(self.tell("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]))


@contextmanager
def browser(driver: str, *, scripts: bool = True) -> Iterator[Browser]:
    """A browser with a profile of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(driver, profile, scripts=scripts)
        try:
            yield opened
        finally:
            opened.ask("", {}, "DELETE")


@contextmanager
def driven() -> Iterator[str]:
    """The driver, on a port of its choice; installed where it is missing."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        installed("chromium", "chromium-driver", "fonts-dejavu-core", "fonts-liberation")
    command = ("chromedriver", "--port=0", "--log-level=SEVERE")
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            lines = process.stdout or ()
            port = next(line for line in lines if "successfully on port" in line).rstrip(".\n").rpartition(" ")[2]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class Tally:
    """The number of checks, and those that failed."""

    def __init__(self) -> None:
        self.wrong = 0

    def hold(self, what: str, found: object, wanted: object) -> None:
        """Say whether something is so."""
        so = found == wanted
        self.wrong += not so
        detail = "" if so else f": found {str(found)[:600]}, wanted {str(wanted)[:600]}"
        sys.stdout.write(f"{'ok   ' if so else 'WRONG'} {what}{detail}\n")


def main(out: Path) -> int:
    """The exit status."""
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.html" for name in CASES}
    for name, file in files.items():
        file.write_text(render(CASES[name], Style()), "utf-8")
    tally = Tally()
    with driven() as driver:
        with browser(driver) as page:
            quiet(page, tally, files)
            spoilt(page, tally, out, files["every"])
            filtered(page, tally, files["every"])
            searched(page, tally, files["every"])
            linked(page, tally, files["every"])
            narrow(page, tally, files)
            readable(page, tally, files["every"])
            pictures(page, out, {"": files["joining"], "fleet-": files["fleet"]})
            printed(page, tally, out, files["every"])
        with browser(driver, scripts=False) as page:
            plain(page, tally, files)
    return int(bool(tally.wrong))


def quiet(page: Browser, tally: Tally, files: Mapping[str, Path]) -> None:
    """No report says anything on the console or asks for anything but itself."""
    for name, file in files.items():
        page.ask("/url", {"url": "about:blank"})
        page.requested()
        page.open(file)
        tally.hold(f"{name}: nothing on the console", page.console(), [])
        asked = {url for url in page.requested() if not url.startswith("data:")}
        tally.hold(f"{name}: no request", asked - {"about:blank"}, {file.as_uri()})
        count = sum(len(report.findings) for report in CASES[name])
        tally.hold(f"{name}: {count} findings", page.run("return document.querySelectorAll('.finding').length"), count)


def spoilt(page: Browser, tally: Tally, out: Path, file: Path) -> None:
    """If markup got through all the same, the page's policy would stop it."""
    broken = out / "spoilt.html"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        image = f"<img src='http://127.0.0.1:{server.getsockname()[1]}/x'>"
        bad = f"<script>document.title = 'run'</script>{image}<p style='color: red'>x</p>"
        broken.write_text(file.read_text("utf-8").replace("</main>", f"{bad}</main>"), "utf-8")
        page.open(broken)
        end, said = time.monotonic() + SOON, page.console()
        while len(said) < REFUSALS and time.monotonic() < end:
            time.sleep(0.1)
            said += page.console()
        refused = sum("policy" in line.lower() for line in said)
        tally.hold("spoilt: three refusals on the console", refused, REFUSALS)
        tally.hold("spoilt: the script did not run", page.run("return document.title !== 'run'"), wanted=True)
        try:
            server.accept()[0].close()
            asked = True
        except TimeoutError:
            asked = False
        tally.hold("spoilt: nobody was asked for the image", asked, wanted=False)
    broken.unlink()


def filtered(page: Browser, tally: Tally, file: Path) -> None:
    """Buttons show what they name, with the counts that they say."""
    names = [finding.id for finding in sample.every().findings]
    page.open(file)
    page.click("[data-unfold]")
    tally.hold("all are shown", sorted(page.shown()), sorted(names))
    for facet, values, part in (("outcome", OUTCOMES, 0), ("disposition", DISPOSITIONS, 1)):
        for value in values:
            wanted = sorted(name for name in names if name.split(".")[part] == value)
            button = f"[data-facet={facet}] [value={value}]"
            page.click(button)
            tally.hold(f"only {value} is shown", sorted(page.shown()), wanted)
            tally.hold(f"{value} is counted", page.run(STATUS), f"{len(wanted)} of {len(names)} findings shown")
            counted = page.run(f"return document.querySelector('{button} b').textContent")
            tally.hold(f"the button of {value} counts", counted, str(len(wanted)))
            page.click(button)
    page.click("[value=fail]")
    page.click("[value=unknown]")
    page.click("[value=enforced]")
    tally.hold("buttons combine", sorted(page.shown()), ["fail.enforced", "unknown.enforced"])
    page.click("[data-reset]")
    tally.hold(
        "the filter is taken back", [len(page.shown()), page.run(STATUS)], [len(names), f"{len(names)} findings"]
    )


def searched(page: Browser, tally: Tally, file: Path) -> None:
    """Search for words of every part of a finding, by keyboard."""
    page.open(file)
    page.type("body", "/")
    tally.hold("/ leads to the search", page.run("return document.activeElement.id"), "_search")
    page.type("#_search", "SYSCTL waived")
    tally.hold("search finds what is folded", page.shown(), ["fail.waived"])
    page.type("#_search", "xyz")
    tally.hold("search says that nothing matches", [page.shown(), page.run(STATUS)], [[], "No finding matches"])
    page.type("#_search", ESCAPE)
    tally.hold("escape ends it", page.run(STATUS), f"{len(sample.every().findings)} findings")
    page.type("[value=pass]", ENTER)
    tally.hold("enter presses a button", len(page.shown()), len(DISPOSITIONS))
    page.type("[id='pass.enforced'] > summary", ENTER)
    tally.hold("enter opens a finding", page.run("return document.getElementById('pass.enforced').open"), wanted=True)


def linked(page: Browser, tally: Tally, file: Path) -> None:
    """A link to a finding opens and shows it."""
    script = """
    const one = document.getElementById("pass.advisory");
    const box = one.getBoundingClientRect();
    return one.open && one.checkVisibility() && box.top >= 0 && box.top < innerHeight;
    """
    page.open(file, fragment="#pass.advisory")
    tally.hold("a link shows a folded finding", page.soon(script, wanted=True), wanted=True)
    page.open(file)
    page.click("[value=fail]")
    page.run("location.hash = '#pass.advisory'")
    tally.hold("a link shows a filtered finding", page.soon(script, wanted=True), wanted=True)


def narrow(page: Browser, tally: Tally, files: Mapping[str, Path]) -> None:
    """At 360 pixels and on a desk nothing scrolls sideways."""
    for name, file in files.items():
        for width in (360, 700, 1200):
            page.open(file, width=width)
            tally.hold(f"{name}: at {width} px nothing scrolls sideways", page.run(SIDEWAYS), 0)


def readable(page: Browser, tally: Tally, file: Path) -> None:
    """All text has a contrast of 4.5 or more."""
    for scheme, media in (("light", ""), ("dark", ""), ("light", "print"), ("dark", "print")):
        page.open(file, scheme=scheme, media=media)
        count, *faint = cast("List[Json]", page.run(FAINT))
        tally.hold(f"{scheme} {media or 'screen'}: contrast of {count} texts", faint, [])
        if media:
            ground = page.run("return getComputedStyle(document.body).backgroundColor")
            tally.hold(f"{scheme} print: on white", ground, "rgb(255, 255, 255)")


def pictures(page: Browser, out: Path, files: Mapping[str, Path]) -> None:
    """Take screenshots for people."""
    for before, file in files.items():
        for name, width, scheme in (("light", 1200, "light"), ("dark", 1200, "dark"), ("narrow", 360, "light")):
            page.open(file, width=width, scheme=scheme)
            picture = out / f"{before}{name}.png"
            page.picture(picture)
            sys.stdout.write(f"wrote {picture}\n")


def printed(page: Browser, tally: Tally, out: Path, file: Path) -> None:
    """On paper every finding is open, and the fold again as it was afterwards."""
    closed = "return document.querySelectorAll('details:not([open])').length"
    page.open(file)
    before = page.run(closed)
    paper = b64decode(page.tell("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    (out / "report.pdf").write_bytes(paper)
    tally.hold("a PDF of some size", paper.startswith(b"%PDF") and len(paper) > 50_000, wanted=True)
    tally.hold("folded as before", page.soon(closed, before), before)
    page.open(file, media="print")
    tally.hold("paper shows all of every finding", page.run(UNSEEN), [])


def plain(page: Browser, tally: Tally, files: Mapping[str, Path]) -> None:
    """With JavaScript off everything is there, and the filter is not."""
    for name in ("every", "twins"):
        page.open(files[name])
        tally.hold(
            f"{name}: no filter without scripts",
            page.run("return document.querySelector('.tools').checkVisibility()"),
            wanted=False,
        )
        hidden = cast("int", page.run("return document.querySelectorAll('.fold:not([open])').length"))
        for _ in range(hidden):
            page.click(".fold:not([open]) > summary")
        tally.hold(f"{name}: every finding", len(page.shown()), sum(len(report.findings) for report in CASES[name]))
        closed = cast("int", page.run("return document.querySelectorAll('.finding:not([open])').length"))
        for _ in range(closed):
            page.click(".finding:not([open]) > summary")
        tally.hold(f"{name}: all of it", page.run(UNSEEN), [])
    text = str(page.run("return document.body.innerText"))
    missing = [finding.id for finding in sample.every().findings if finding.id not in text]
    tally.hold("every id is read", missing, [])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
