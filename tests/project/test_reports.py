"""Pages of reports, as text and as people see them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from hmeg.reports import Page
from tests.support.browser import visit

NASTY = '<script>alert("x")</script> & \\frac{a}{b} {{ 7 * 7 }} \'"><img src=x onerror=alert(1)>'


def picture(side=40):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, 3 * side), dtype=np.uint8))


def png(image):
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def full_page(text=NASTY):
    page = Page(text)
    page.text(text)
    page.section(text)
    page.table(["what", text], [["one", 1234567], [text, 2]])
    page.table(["mixed", "float", "none"], [[1, 0.123456, None], [text, 2.0, True]])
    page.picture(picture(), text)
    page.picture(png(picture(400)), "a wide picture", alt="noise")
    page.section("More")
    page.gallery([(picture(), text), (picture(90), "second"), (picture(), "W" * 300)])
    page.bars(text, {"x": 10, text: 2500, "none": 0, "half": 0.5})
    page.bars("Empty", {})
    page.figure(
        "<svg xmlns='http://www.w3.org/2000/svg' width='900' height='100'><script>alert(2)</script>"
        "<image href='http://localhost:9/x.png'/><rect width='900' height='100' fill='red'/></svg>",
        "A drawing",
    )
    return page


def test_text_is_escaped_everywhere():
    html = full_page().html()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "49" not in re.sub(r'base64,[^"]*|&#\d+;', "", html)
    assert len(re.findall("&lt;script&gt;", html)) >= 10
    assert "<h1>&lt;script&gt;" in html


def test_numbers_and_their_columns():
    html = full_page("plain").html()
    assert '<td class="number">1,234,567</td>' in html
    assert "<td>plain</td>" in html
    assert '<td>1</td><td class="number">0.1235</td><td>–</td>' in html
    assert '<td class="number">2</td><td>yes</td>' in html


def test_bars_are_as_long_as_their_counts():
    html = full_page("plain").html()
    lengths = dict(re.findall(r"<dt>(\w+)</dt>.*?width:([\d.]+)%", html))
    assert lengths == {"x": "0.40", "plain": "100.00", "none": "0.00", "half": "0.02"}
    assert "Nothing to count" in html


def test_same_pieces_same_page_and_saved_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    full_page().save(path)
    assert path.read_text(encoding="utf-8") == full_page().html()
    with pytest.raises(FileNotFoundError):
        full_page().save(tmp_path / "none" / "page.html")
    half = Page("half a pair: \ud835")
    half.save(path)
    assert "half a pair: ?" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_what_cannot_be_shown():
    page = Page("x")
    with pytest.raises(ValueError, match="2 cells, the table 3 columns"):
        page.table(["a", "b", "c"], [[1, 2]])
    with pytest.raises(ValueError, match="no PNG file"):
        page.picture(b"GIF89a", "x")
    for count in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite counts from 0 on"):
            page.bars("x", {"a": count})
    assert "<figure" not in page.html()


def test_in_a_browser(browser, tmp_path):
    path = tmp_path / "page.html"
    full_page().save(path)
    colours = {}
    for scheme in ("light", "dark"):
        for width in (390, 1280):
            with visit(browser, path, width, scheme) as seen:
                assert seen.page.title() == NASTY
                assert seen.page.locator("h1").inner_text() == NASTY
                assert seen.page.locator("figcaption").first.inner_text() == NASTY
                assert seen.page.locator("img").count() == 6
                assert seen.broken_pictures == 0
                assert seen.nameless_pictures == 0
                assert seen.overflow == 0
                assert seen.complaints == []
                assert seen.requests == []
                colours[scheme] = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
                bars = seen.page.locator(".bars .length")
                assert bars.nth(1).bounding_box()["width"] > 20 * bars.nth(3).bounding_box()["width"]
    assert colours["light"] != colours["dark"]
    with visit(browser, path) as seen:
        seen.page.get_by_role("navigation").get_by_text("More").click()
        assert seen.page.get_by_role("heading", name="More").is_visible()
