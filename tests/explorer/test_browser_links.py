"""Links in a real browser, those that cannot be shown among them, settings, sizes and names."""

import re

import pytest
from explorer_pages import WAIT
from page_actions import address_of, between, check_narrow, finish, go, nameless


def test_a_link_restores_view_layer_point_and_step(open_page):
    fragment = f"#model=digits&steps=2&level=5&at={between(5, 17, 12)}&layer=margin&opacity=0.5&a=1.2500,-2.3203@5&step=1"
    page = open_page(fragment)
    page.wait_for_selector("#point:not([hidden])")
    finish(page)
    first = address_of(page)
    assert page.input_value("#layer") == "margin" and page.input_value("#opacity") == "0.5"
    assert "step 1" in page.inner_text("#state-caption")
    again = open_page("#" + page.url.partition("#")[2])
    again.wait_for_selector("#point:not([hidden])")
    finish(again)
    assert address_of(again) == first and {k: first[k] for k in ("level", "layer", "opacity", "step")} == {
        "level": "5", "layer": "margin", "opacity": "0.5", "step": "1",
    }  # fmt: skip
    assert again.inner_text("#point-facts") == page.inner_text("#point-facts")
    images = [p.locator("#map").screenshot() for p in (page, again)]
    assert images[0] == images[1]


@pytest.mark.usefixtures("no_tiles")
def test_a_pasted_link_of_any_explorer_opens_its_view(open_page):
    page = open_page("#model=digits&steps=2")
    paste = """([text, id]) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text", text);
      const target = id ? document.getElementById(id) : document.body;
      target.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }"""
    page.evaluate(paste, ["http://127.0.0.1:9999/#model=digits&steps=2&level=3", "layer"])
    page.wait_for_url(re.compile("steps=2&level=3&"))
    page.click("#open-bookmarks")
    before = page.url
    for text, place in (("#level=4", ""), ("any text", ""), ("#model=digits&steps=1", "bookmark-name")):
        page.evaluate(paste, [text, place])
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert page.url == before


@pytest.mark.usefixtures("no_tiles")
def test_absurd_numbers_of_a_link_are_replaced_and_named(open_page):
    page = open_page("#model=digits&steps=2")
    assert page.locator("#message").is_hidden()
    for rest, named in {
        "level=1&at=9,-9&a=1.0,1.0@2&step=1&layers=mid_block": [],
        "level=99999999999&at=1e400,NaN": ["level=99999999999 (shown: level 2)", "at=1e400,NaN (shown: the middle of the plane)"],
        "level=9999&at=99,0": ["level=9999 (shown: level 4", "at=99,0 (shown: the middle of the plane)"],
        "level=-3&at=999999,5": ["level=-3 (shown: level 2)", "at=999999,5"],
        "at=%3Cb%3E&layer=x&opacity=9": ["at=<b>", "layer=x (shown: class)", "opacity=9 (shown: opacity 1)"],
        "a=1,2@77&b=,@&step=-1&zoom=3": ["a=1,2@77 (shown: no point)", "b=,@", "step=-1 (shown: the last step)", "zoom=3 (shown: nothing)"],
        "a=1.0,1.0@2&step=900": ["step=900 (shown: the last step)"],
        "at=" + "9" * 3000: ["at=" + "9" * 30 + "… (shown"],
    }.items():  # fmt: skip
        go(page, f"model=digits&steps=2&{rest}")
        page.wait_for_function("rest => !location.hash.includes(rest)", arg=rest)
        page.wait_for_selector("body[data-state=open]")
        page.wait_for_selector("#panel:not([aria-busy])")
        message = page.inner_text("#message span")
        assert all(part in message for part in named) and bool(message) == bool(named), message
        assert message.count("\n") == 0 and re.fullmatch(r"-?[0-9.]+,-?[0-9.]+", address_of(page)["at"])
    page.locator("#map").press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    assert page.locator("#message").is_hidden()


def test_a_link_that_cannot_be_shown_says_why(browser, explorer):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(f"{explorer.gate.link}#model=somebody/elses&steps=2")
    page.wait_for_selector("body[data-state=failed]")
    assert "denoscope explore somebody/elses" in page.inner_text("#message")
    page.goto(f"{explorer.gate.link}#model=digits&steps=0")
    page.wait_for_selector("body[data-state=failed]")
    page.wait_for_selector("#message:has-text('steps')")
    assert page.evaluate("document.getElementById('tools').inert"), "there is no view on which to act"
    page.goto(f"{explorer.gate.link}#model=digits&steps=2")
    page.wait_for_selector("body[data-state=open]")
    go(page, "model=digits&steps=0")
    page.wait_for_selector("#message:has-text('steps')")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert address_of(page)["steps"] == "0", (
        "the line above the map, which moves it, leaves the address as it is"
    )
    context.close()


@pytest.mark.usefixtures("no_tiles")
def test_the_link_opened_last_is_shown(open_page):
    page = open_page("#model=digits&steps=2")
    page.route("**/api/scene*base_seed=1*", lambda _: None)  # no answer
    go(page, "model=digits&steps=2&base_seed=1")
    page.wait_for_selector("body[data-state=opening]")
    page.locator("#map").press("ArrowRight")
    page.wait_for_selector(".leaflet-pan-anim", state="detached")
    assert address_of(page) == {"model": "digits", "steps": "2", "base_seed": "1"}
    with page.expect_event("requestfailed", lambda request: "base_seed=1" in request.url):
        go(page, "model=digits&steps=2&base_seed=2")
    page.wait_for_selector("body[data-state=open]")
    assert address_of(page)["base_seed"] == "2"
    page.unroute("**/api/scene*base_seed=1*")


def test_without_the_token_the_page_says_what_to_open(browser, explorer):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(explorer.address)
    page.wait_for_selector("body[data-state=failed]")
    assert "token" in page.inner_text("#message")
    context.close()


@pytest.mark.usefixtures("no_tiles")
def test_settings_open_another_scene(open_page):
    page = open_page("#model=digits&steps=2")
    page.click("#open-settings")
    page.keyboard.press("Escape")
    assert page.locator("#settings").is_hidden()
    assert page.evaluate("document.activeElement.id") == "open-settings"
    page.keyboard.press("Enter")
    page.fill("[name=length]", "8")
    page.select_option("[name=geometry]", "flat")
    page.click("#settings button[type=submit]")
    page.wait_for_selector("#scene-summary:has-text('flat plane of side 8')")
    assert address_of(page)["length"] == "8" and address_of(page)["geometry"] == "flat"
    page.select_option("[name=model]", "digits-conditional")
    page.fill("[name=labels]", "3")
    page.fill("[name=guidance_scale]", "2.5")
    page.click("#settings button[type=submit]")
    page.wait_for_selector("#scene-summary:has-text('digits-conditional under class 3, guidance 2.5')")
    assert address_of(page)["labels"] == "3" and address_of(page)["guidance_scale"] == "2.5"
    page.fill("[name=guidance_scale]", "1")
    page.click("#settings button[type=submit]")
    page.wait_for_selector("#scene-summary:text-matches('under class 3 ·')")
    assert "guidance_scale" not in address_of(page)


@pytest.mark.usefixtures("no_tiles")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_has_everything_in_its_width(open_page, scheme):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2", width=400, height=800, color_scheme=scheme)
    page.wait_for_selector("#point:not([hidden])")
    check_narrow(page, scheme)
    assert page.locator("#map").bounding_box()["height"] > 300
    page.click("#open-help")
    page.click("#open-settings")
    page.click("#open-bookmarks")
    page.click("#save summary")
    check_narrow(page, scheme)
    for control in page.locator(
        "#settings :is(input, select, button), #save button, #bookmarks button, #help dd"
    ).all():
        box = control.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 400), control


@pytest.mark.usefixtures("no_tiles")
def test_controls_have_names(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    assert nameless(page) == []
    page.click("#open-help")
    assert page.evaluate("document.activeElement.id") == "help" and "Shift and Enter" in page.inner_text(
        "#help"
    )
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-help"
    assert page.get_by_role("application", name=re.compile("^Map of the noise plane")).count() == 1
    assert page.get_by_role("group", name="Legend").count() == 1
    live = page.locator("[role=status], [aria-live]").evaluate_all("items => items.map((item) => item.id)")
    assert "cursor" not in live and "work" in live
