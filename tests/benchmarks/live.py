"""How fast the dashboard answers in Chromium: run by hand, no test.

    python -m tests.benchmarks.live

(a) redraw while a slider is dragged: from each `input` event to the frame that shows it, and from frame to frame
(b) another digit: from the click on its thumbnail to the live panel repainted (FGSM, an image not seen before)
(c) another photo: the same under PGD with 20 steps on ResNet-20; the chosen epsilon, then the whole path
(d) a server just started: from the request to the first contentful paint and to the live panel
A frame is what requestAnimationFrame says; the server keeps torch's own number of threads.
"""
import argparse
import os
import platform
import statistics
from urllib.parse import urlencode

import streamlit
import torch
from playwright.sync_api import sync_playwright

from tests.benchmarks.sweep import processor
from tests.browser.server import CHROMIUM, FLAGS, READY, serving

EPSILON = ".slider.epsilon input"
SCREEN = {"width": 1400, "height": 900}
PANEL_PAINTED = """(canvas) => new Promise((done) => {
  const before = canvas.toDataURL(), start = performance.now();
  const look = () => canvas.toDataURL() === before ? requestAnimationFrame(look)
    : requestAnimationFrame(() => done(performance.now()));
  look();
})"""


def dragged(page, moves: int = 150) -> tuple[list[float], list[float]]:
    """Milliseconds from input to frame, and from frame to frame, over one drag with real mouse moves."""
    page.locator(".lab").evaluate("""lab => {
      window.answers = []; window.frames = []; window.dragging = true;
      lab.querySelector(".epsilon input").addEventListener("input", () => {
        const start = performance.now();
        // Registered after the panel's own listener: this runs in the frame that the panel draws in, and the
        // message behind it when that frame is done.
        requestAnimationFrame(() => { const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => window.answers.push(performance.now() - start); port2.postMessage(0); });
      });
      let last = performance.now();
      const frame = (now) => { window.frames.push(now - last); last = now; if (window.dragging) requestAnimationFrame(frame); };
      requestAnimationFrame((now) => { last = now; requestAnimationFrame(frame); });
    }""")
    box = page.locator(EPSILON).bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + box["height"] / 2)
    page.mouse.down()
    while page.evaluate("window.answers.length") < 100:
        for move in range(moves):  # there and back again over the whole track
            part = abs((2 * move / moves) % 2 - 1)
            page.mouse.move(box["x"] + 12 + part * (box["width"] - 24), box["y"] + box["height"] / 2)
    page.evaluate("window.dragging = false")
    page.mouse.up()
    return page.evaluate("window.answers"), page.evaluate("window.frames")


def other_images(page, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the click on a thumbnail to the panel repainted at the chosen epsilon, and to the whole path,
    each an image not seen before."""
    times, whole, canvas = [], [], page.locator(".tile.original canvas")
    for place in range(page.locator(".thumbs button").count()):
        if len(times) == count:
            break
        thumb = page.locator(".thumbs button").nth(place)
        if thumb.get_attribute("aria-pressed") == "true":
            continue
        thumb.evaluate("b => b.addEventListener('click', () => { window.clicked = performance.now(); }, true)")
        painted = page.evaluate_handle("canvas => { window.painted = (" + PANEL_PAINTED + ")(canvas); }",
                                       canvas.element_handle())
        thumb.click()
        times.append(page.evaluate("window.painted.then((at) => at - window.clicked)"))
        painted.dispose()
        page.wait_for_selector(".lab:not(.partial)")
        whole.append(page.evaluate("performance.now() - window.clicked"))
        page.wait_for_timeout(700)  # the thumbnails and the link settle
    return times, whole


def first_paint(browser) -> tuple[float, float]:
    """Milliseconds to the first contentful paint and to the live panel of a server that nobody has visited."""
    with serving() as address:
        page = browser.new_context(viewport=SCREEN).new_page()
        page.goto(address, wait_until="commit")
        page.wait_for_selector(READY, timeout=60_000)
        panel = page.evaluate("performance.now()")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
        page.context.close()
        return paint, panel


def row(name: str, times: list[float], goal: str) -> str:
    ordered = sorted(times)
    high = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"| {name} | {len(times)} | {statistics.median(times):.0f} | {high:.0f} | {goal} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.live", description=__doc__.splitlines()[0])
    parser.add_argument("--digits", type=int, default=18, help="new digits")
    parser.add_argument("--photos", type=int, default=8, help="new photos")
    parser.add_argument("--servers", type=int, default=3, help="fresh servers")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        starts = [first_paint(browser) for _ in range(arguments.servers)]
        with serving() as address:
            page = browser.new_context(viewport=SCREEN).new_page()
            page.goto(address)
            page.wait_for_selector(READY)
            page.wait_for_timeout(2000)
            answers, frames = dragged(page)
            page.wait_for_timeout(1500)
            digits, _ = other_images(page, arguments.digits)
            page.goto(f"{address}/?" + urlencode({"data": "cifar10/sample", "model": "resnet20", "attack": "pgd",
                                                  "steps": 20, "image": 1}))
            page.wait_for_selector(READY, timeout=60_000)
            page.wait_for_timeout(2000)
            photos, paths = other_images(page, arguments.photos)
        version = browser.version
        browser.close()
    print(f"{processor()}, {os.cpu_count()} cores, Chromium {version} without GPU, Python {platform.python_version()}, "
          f"Streamlit {streamlit.__version__}, torch {torch.__version__} ({torch.get_num_threads()} threads)\n")
    print("| milliseconds | n | median | 95th percentile | goal |\n|---|---:|---:|---:|---|")
    print(row("(a) drag: input event to the frame that shows it", answers, "17, 34"))
    print(row("(a) drag: frame to frame", frames, "17, 34"))
    print(row("(b) new digit, FGSM: click to panel", digits, "400"))
    print(row("(c) new photo, PGD-20 on ResNet-20: click to the chosen epsilon", photos, "1000"))
    print(row("(c) the same: click to the whole path", paths, "3000"))
    print(row("(d) fresh server: first contentful paint", [paint for paint, _ in starts], ""))
    print(row("(d) fresh server: live panel", [panel for _, panel in starts], "4000"))


if __name__ == "__main__":
    main()
