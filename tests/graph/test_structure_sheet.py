"""The page of docs/graphs.md."""

from click.testing import CliRunner
from PIL import Image

from tools.structure_sheet import EXAMPLES, main


def test_the_page_has_a_field_for_every_structure(tmp_path):
    result = CliRunner().invoke(main, [str(tmp_path / "page.png")])
    assert result.exit_code == 0, result.output
    page = Image.open(tmp_path / "page.png")
    assert page.size == (4 * 260, -(-len(EXAMPLES) // 4) * 260)
    for number in range(len(EXAMPLES)):
        left, top = number % 4 * 260, number // 4 * 260
        field = page.crop((left + 5, top + 20, left + 255, top + 255))
        assert field.getextrema()[0] == 0
