"""The growth layer in a real browser."""

import re

from page_actions import address_of, finish, middle_of, pick, rest


def test_the_growth_layer_is_computed_when_it_is_chosen(open_page):
    page = open_page("#model=digits&steps=2&level=0&at=0,0")
    finish(page)
    kinds = []

    def note(sent):
        if sent.url.endswith("/api/view"):
            kinds.append(sent.post_data_json["kind"])

    page.on("request", note)
    page.select_option("#layer", "growth")
    finish(page)
    assert kinds == ["growth"] and address_of(page)["layer"] == "growth"
    assert page.locator("#legend .marks").inner_text().split() == ["0.1", "1", "10", "100", "1000"]
    pick(page, 40, 30)
    shown = page.inner_text("#point-growth")
    assert float(re.fullmatch(r"growth ([0-9.]+)", shown)[1]) > 0.05
    page.select_option("#layer", "class")
    page.wait_for_selector("#legend.classes")
    x, y = middle_of(page)
    page.mouse.move(x + 40, y + 30)
    assert page.inner_text("#cursor").endswith(shown)
    rest(page)
    page.remove_listener("request", note)
    assert kinds == ["growth"], "the tile of labels is still there"
