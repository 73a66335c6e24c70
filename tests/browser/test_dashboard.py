"""What only a browser can tell: that the panel follows a hand at once, fits the screen and stays on this machine."""
import re

import pytest
from PIL import Image

DIGIT = {"width": 28, "height": 28}
EPSILON, QUALITY = ".slider.epsilon input", ".slider.defense input"
MAIN = "[data-testid=stMain]"
PAGES = ("/", "/compare?attacks=fgsm,fgm", "/targets?attack=fgsm", "/blackbox", "/curves", "/minimal", "/networks", "/train", "/data")


def named(page):
    """The classes that the headline names, in its order."""
    return page.locator(".headline b").all_inner_texts()


def top(page):
    """The class that the network sees now."""
    return page.locator(".bar.top .who").inner_text()


def before(page):
    """The class of the image without an attack."""
    return page.locator(".story b").first.inner_text()


def pixels(page, tile):
    return page.locator(f".tile.{tile} canvas").evaluate("canvas => canvas.toDataURL()")


def in_address(page, name, value=r".+"):
    page.wait_for_url(re.compile(rf"[?&]{name}={value}(&|$)"))


def count_messages(page):
    """Count the messages to the server from now on in window.sent; the socket is there already, so its class is wrapped."""
    page.evaluate("""() => {
      window.sent = 0;
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (...all) { window.sent++; return send.apply(this, all); };
    }""")


def follow(page):
    """From now on, note when a slider moves and when the headline changes after it, with messages sent by then."""
    count_messages(page)
    page.locator(".lab").evaluate("""lab => {
      window.moved = []; window.changed = [];
      for (const input of lab.querySelectorAll("input"))
        input.addEventListener("input", () => window.moved.push(performance.now()));
      new MutationObserver(() => window.changed.push({ at: performance.now(), sent: window.sent }))
        .observe(lab.querySelector(".headline"), { childList: true, subtree: true, characterData: true });
    }""")


def drag(page, selector, start, end, steps=20):
    """Hold the mouse at part `start` of a slider, move to part `end`; the button stays down."""
    box = page.locator(selector).bounding_box()
    thumb = 24

    def place(part):
        return box["x"] + thumb / 2 + part * (box["width"] - thumb)
    page.mouse.move(place(start), box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(place(end), box["y"] + box["height"] / 2, steps=steps)


def part(page, selector):
    return page.locator(selector).evaluate("input => (input.value - input.min) / (input.max - input.min)")


def test_the_first_sight_is_a_misread_digit(visit):
    page = visit()
    first, second = named(page)
    assert first != second and before(page) in (first, second) and top(page) != before(page)
    assert pixels(page, "original") != pixels(page, "adversarial")
    assert page.locator(".tile.original canvas").evaluate("c => ({ width: c.width, height: c.height })") == DIGIT


def test_home_flips_the_prediction_back_at_once(visit):
    page = visit()
    truth = before(page)
    page.locator(EPSILON).focus()
    follow(page)
    page.keyboard.press("Home")
    page.wait_for_function("window.changed.length > 0")
    moved, changed = page.evaluate("[window.moved[0], window.changed[0]]")
    assert changed["at"] - moved < 100 and changed["sent"] == 0  # no round trip to the server
    assert set(named(page)) == {truth} == {top(page)}
    assert pixels(page, "original") == pixels(page, "adversarial")
    in_address(page, "eps", "0")
    assert page.evaluate("window.sent") > 0


def test_dragging_flips_the_prediction_back_before_the_release(visit):
    page = visit()
    truth = before(page)
    follow(page)
    drag(page, EPSILON, part(page, EPSILON), 0)
    page.wait_for_function("window.changed.length > 0")
    assert top(page) == truth and page.evaluate("window.sent") == 0
    page.mouse.up()
    in_address(page, "eps", "0")
    assert page.locator(EPSILON).input_value() == "0" and top(page) == truth


def test_the_chart_can_be_dragged(visit):
    page = visit()
    box = page.locator(".chart svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.wait_for_function("input => input.value > 35", arg=page.locator(EPSILON).element_handle())
    page.mouse.up()
    in_address(page, "eps", r"0\.[45]\d*")


def test_the_quality_slider_redraws_the_defended_image(visit):
    """In the frame after each key, before the server hears of it."""
    page = visit()
    page.locator(QUALITY).focus()
    count_messages(page)
    page.locator(".lab").evaluate("""lab => {
      window.drawn = [];
      lab.addEventListener("input", () => {
        const sent = window.sent;
        requestAnimationFrame(() => window.drawn.push({
          image: lab.querySelector(".tile.defended canvas").toDataURL(), messages: window.sent - sent }));
      });
    }""")
    seen = [pixels(page, "defended")]
    for count, key in enumerate(("Home", "End"), 1):
        page.keyboard.press(key)
        page.wait_for_function("n => window.drawn.length >= n", arg=count)
    drawn = page.evaluate("window.drawn")
    assert len({*seen, *(each["image"] for each in drawn)}) == 3 and [each["messages"] for each in drawn] == [0, 0]
    in_address(page, "quality", "100")


def test_both_sliders_after_each_other_meet_at_fresh_numbers(visit):
    """Quality is moved to 10 and epsilon after it: the defended image is drawn again as soon as the server answers."""
    page = visit()
    page.locator(QUALITY).fill("9")  # the tenth place of 1 to 100
    in_address(page, "quality", "10")
    page.locator(EPSILON).fill("30")
    in_address(page, "eps", r"0\.3")
    page.wait_for_selector(".tile.defended:not(.waiting)")
    again = visit(page.url)
    assert pixels(again, "defended") == pixels(page, "defended")
    assert again.locator(".story").inner_text() == page.locator(".story").inner_text()


def test_a_copied_link_opens_the_same_panel(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".thumbs button[aria-pressed=false]").nth(5).click()
    in_address(page, "image", r"(?!4155)\d+")
    page.locator(EPSILON).fill("23")
    page.locator(QUALITY).fill("60")
    page.locator(".copy").click()
    link = page.wait_for_function("navigator.clipboard.readText().then(text => text.startsWith('http') && text)").json_value()
    other = visit(link)
    in_address(other, "quality", "61")
    in_address(page, "quality", "61")
    for selector in (EPSILON, QUALITY):
        assert other.locator(selector).input_value() == page.locator(selector).input_value()
    page.wait_for_selector(".tile.defended:not(.waiting)")
    for tile in ("original", "noise", "adversarial", "defended", "spectrum", "saliency"):
        assert pixels(other, tile) == pixels(page, tile), tile
    for selector in (".headline", ".story", ".measures"):
        assert other.locator(selector).inner_text() == page.locator(selector).inner_text()


def test_a_thumbnail_chooses_its_image(visit):
    page = visit()
    for place in (0, 7):
        thumb = page.locator(".thumbs button").nth(place)
        thumb.click()
        page.wait_for_function("button => button.isConnected === false || button.ariaPressed === 'true'",
                               arg=thumb.element_handle())
        expected = page.locator(".thumbs button").nth(place).locator("canvas").evaluate("c => c.toDataURL()")
        page.wait_for_function("([canvas, wanted]) => canvas.toDataURL() === wanted",
                               arg=[page.locator(".tile.original canvas").element_handle(), expected])


def test_the_same_release_counts_after_another_range(visit):
    """Epsilon goes back to its start with another norm and back; the same place on the slider is a new wish."""
    page = visit()
    page.locator(EPSILON).fill("40")
    in_address(page, "eps", "0.4")
    for attack in (1, 0):
        page.locator(".st-key-explore-attack button").click()
        page.locator("[role=option]").nth(attack).click()
        in_address(page, "attack", "fgm" if attack else "fgsm")
    in_address(page, "eps", "0.15")
    page.locator(EPSILON).fill("40")
    in_address(page, "eps", "0.4")


def test_a_finger_moves_the_slider(visit):
    page = visit(has_touch=True, is_mobile=True, viewport={"width": 400, "height": 800})
    truth = before(page)
    slider = page.locator(EPSILON)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box["height"] >= 24
    slider.tap(position={"x": 3, "y": box["height"] / 2})
    page.wait_for_function("input => input.value === '0'", arg=slider.element_handle())
    page.evaluate("new Promise(requestAnimationFrame)")
    assert top(page) == truth
    in_address(page, "eps", "0")


def overflow(page, selector):
    return page.locator(selector).evaluate(
        "e => ({ down: e.scrollHeight - e.clientHeight, right: e.scrollWidth - e.clientWidth })")


@pytest.mark.parametrize("data", ["mnist/sample", "cifar10/sample"])
def test_explore_fits_one_screen(visit, data):
    page = visit(f"/?data={data}")
    for selector in (MAIN, "html"):
        beyond = overflow(page, selector)
        assert beyond["down"] <= 0 and beyond["right"] <= 0, (selector, beyond)
    sides = page.locator(".tile canvas").evaluate_all("all => all.map(c => [c.clientWidth, c.clientHeight])")
    assert all(abs(width - height) <= 1 for width, height in sides) and min(map(min, sides)) >= 100


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_needs_no_sideways_scrolling(visit, path):
    page = visit(path, panel=path == "/", viewport={"width": 400, "height": 800})
    if path != "/":
        page.wait_for_selector(f"{MAIN} h1")
        page.wait_for_load_state("networkidle")
    for selector in (MAIN, "html"):
        assert overflow(page, selector)["right"] <= 0, selector


def test_the_grid_of_targets_is_complete_and_a_row_can_be_kept(visit, tmp_path):
    page = visit("/targets?attack=fgsm", panel=False)
    page.wait_for_function("document.querySelectorAll('.tiles').length === 10", timeout=60_000)
    assert page.locator(".tiles figure").count() == 100
    with page.expect_download() as download:
        page.locator("[data-testid=stDownloadButton] button >> visible=true").nth(3).click()
    download.value.save_as(tmp_path / "row.png")
    assert Image.open(tmp_path / "row.png").size == (10 * 28 * 4, 28 * 4)


def test_searches_pixels_and_queries_over_a_set(visit):
    page = visit("/blackbox", panel=False)
    page.wait_for_selector(f"{MAIN} .attacks section:nth-child(2) img", timeout=60_000)
    page.get_by_role("tab").nth(1).click()
    page.wait_for_selector(f"{MAIN} .heatmaplayer image", state="attached", timeout=60_000)
    page.get_by_role("tab").nth(2).click()
    page.locator("[data-testid=stNumberInput] input >> visible=true").last.fill("5")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile(r"Compute on 5\b")).click()
    page.wait_for_selector(f"{MAIN} [data-testid=stDataFrame] >> visible=true", timeout=60_000)


def test_minimal_epsilons_are_computed(visit):
    page = visit("/minimal?n=20&attacks=fgsm,pgd", panel=False)
    page.get_by_role("button", name=re.compile(r"Compute on 20\b")).click()
    page.wait_for_selector(f"{MAIN} [data-testid=stDataFrame]", timeout=60_000)
    assert page.locator(".js-plotly-plot .barlayer .trace").count() == 2


def test_curves_are_computed(visit):
    page = visit("/curves?n=20&attacks=fgsm", panel=False)
    page.wait_for_selector(f"{MAIN} .js-plotly-plot, {MAIN} [data-testid=stAlert]")  # shipped curves, or none
    drawn = page.locator(".js-plotly-plot .trace").count()
    page.locator("[data-testid=stBaseButton-primary]").click()
    page.wait_for_function("n => document.querySelectorAll('.js-plotly-plot .trace').length > n", arg=drawn)
    page.wait_for_selector("[data-testid=stDownloadButton]")
    page.locator("[data-testid=stExpander] summary").first.click()
    page.wait_for_selector("[data-testid=stDataFrame]")


def test_a_network_is_trained_before_ones_eyes_and_kept(visit):
    page = visit("/train", panel=False)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace .point').length > 4",
                           timeout=60_000)
    page.get_by_text("LeNet-5 has learnt").wait_for(timeout=60_000)
    page.get_by_role("button", name="Keep").click()
    page.get_by_text("is in the model menu of every page").wait_for()
    page.locator("[data-testid=stTopNavLink]").first.click()
    page.wait_for_selector(".lab")
    page.wait_for_selector("[data-test-script-state=notRunning]")  # a menu that opens while it is drawn anew closes again
    page.get_by_role("combobox", name=re.compile("Model")).click()
    page.get_by_role("option", name=re.compile("epochs: 3")).click()
    page.locator(".headline b").first.wait_for()
    box = page.get_by_role("combobox", name=re.compile("Model"))
    assert "epochs: 3" in (box.input_value() + box.locator("xpath=../..").inner_text())


def test_a_row_of_the_networks_opens_its_card(visit):
    page = visit("/networks?network=softmax", panel=False)
    page.get_by_role("heading", name="Softmax regression", exact=True).wait_for()
    page.wait_for_selector(f"{MAIN} .shares td b")
    assert page.locator(".shares td b").first.inner_text().endswith(" %")
    assert page.locator(".tiles img").count() >= 20


def test_data_shows_fifty_images(visit):
    page = visit("/data", panel=False)
    page.wait_for_selector(".tiles figure")
    assert page.locator(".tiles figure img").count() == 50
    assert page.locator(".tiles img").evaluate_all("all => all.every(i => i.complete && i.naturalWidth === 28)")
    page.wait_for_selector(".js-plotly-plot")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes(visit, scheme):
    page = visit(color_scheme=scheme)
    light = page.locator("[data-testid=stApp]").evaluate(
        "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).every(v => v > 128)")
    assert light == (scheme == "light")
    middle = page.locator(".tile.noise canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, 1, 1).data[0] > 128")  # the corner has no perturbation
    assert middle == light
    links = "[data-testid=stTopNavDropdownLink]"
    for section in page.locator("[data-testid=stTopNavSection]").all():
        section.click()
        page.wait_for_selector(links)
        for k in range(page.locator(links).count()):
            if not page.locator(links).count():
                section.click()
            page.locator(links).nth(k).click()
            page.wait_for_selector(", ".join(f"{MAIN} {part}" for part in (
                "h1", "h2", "h3", ".jpeg .headline b, .jpeg .headline:not(:empty)")))
            page.wait_for_selector(", ".join(f"{MAIN} {part}" for part in (
                ".js-plotly-plot", "[data-testid=stAlert]", ".tiles", ".attacks", ".jpeg canvas")))
            page.wait_for_selector("[data-testid=stTopNavPopoverBody]", state="detached")


def test_the_steps_of_jpeg_follow_the_slider_and_a_click_chooses_the_block(visit):
    page = visit("/defenses", panel=False)
    page.wait_for_selector(".jpeg .steps canvas")
    seen, slider = [], page.locator(".jpeg .slider input")
    for quality in ("1", "40", "100"):
        slider.fill(quality)
        page.locator(".jpeg .headline", has_text=re.compile(rf"quality {quality},")).wait_for()
        seen.append((page.locator(".jpeg .headline").inner_text(), page.locator(".jpeg .size").inner_text(),
                     page.locator(".jpeg .numbers").inner_text(),
                     page.locator(".jpeg .main").nth(4).evaluate("canvas => canvas.toDataURL()")))
    assert all(len(set(part)) == 3 for part in zip(*seen))
    in_address(page, "quality", "100")
    page.locator(".jpeg .main").nth(2).click(position={"x": 8, "y": 8})
    page.wait_for_function("([numbers, before]) => numbers.innerText !== before",
                           arg=[page.locator(".jpeg .numbers").element_handle(), seen[-1][2]])
    stored = page.locator(".jpeg .grid").nth(2).locator("span").all_inner_texts()
    table = page.locator(".jpeg .grid").nth(1).locator("span").all_inner_texts()
    restored = page.locator(".jpeg .grid").nth(3).locator("span").all_inner_texts()
    assert [int(a) * int(b) for a, b in zip(stored, table)] == [int(value) for value in restored]
