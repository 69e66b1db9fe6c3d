"""``hmeg graph``: formats, names of outputs, refusals, exit codes."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest
from click.testing import CliRunner, Result

from hmeg.cli import main
from hmeg.graph.label_graph import parse_lg, read_lg, write_lg
from hmeg.graph.latex import parse_latex

INKML = b"""<ink><annotation type="truth">$x^2$</annotation>
<annotationXML type="truth"><math><msup><mi xml:id="x">x</mi><mn xml:id="2">2</mn></msup></math></annotationXML>
<trace id="a">0 1, 1 2</trace><trace id="b">1 1, 0 2</trace><trace id="c">3 0</trace>
<traceGroup><annotation type="truth">S</annotation>
<traceGroup><annotation type="truth">2</annotation><traceView traceDataRef="c"/><annotationXML href="2"/></traceGroup>
<traceGroup><annotation type="truth">x</annotation><traceView traceDataRef="a"/><traceView traceDataRef="b"/>
<annotationXML href="x"/></traceGroup></traceGroup></ink>"""
SQUARE = parse_latex("x^2")
LG = write_lg(SQUARE, "given", [["7"], ["8"]]).encode()
MATHML = b"<math><msup><mi>x</mi><mn>2</mn></msup></math>"


def graph(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["graph", *map(str, arguments)])
    # SystemExit is how click ends; anything else is a traceback.
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def archive_of(path, files):
    with tarfile.open(path, "w:xz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "one.inkml").write_bytes(INKML)
    (root / "two.lg").write_bytes(LG)
    (root / "sub" / "three.mml").write_bytes(MATHML)
    (root / "sub" / "notes.txt").write_text("no expression of a folder")
    return root


def test_latex_to_the_screen():
    result = graph("--latex", "x^2")
    assert result.exit_code == 0
    assert read_lg(result.stdout) == SQUARE
    assert "O, 2_1, 2, 1.0, OSup" in result.stdout
    assert result.stderr == ""


def test_tree_and_json_to_the_screen():
    assert graph("--latex", "x^2+1", "--format", "tree").stdout == "# latex-1\nx\n  Sup: 2\n+\n1\n"
    result = graph("-l", "x^2", "-l", "y", "-f", "json")
    first, second = map(json.loads, result.stdout.splitlines())
    sup = {"subject": 0, "object": 1, "type": "Sup"}
    assert first == {"name": "latex-1", "latex": "x^2", "symbols": ["x", "2"], "relations": [sup]}
    assert (second["symbols"], second["relations"]) == (["y"], [])


@pytest.mark.parametrize("form", ["symlg", "lg"])
def test_every_kind_of_input_becomes_one_file_each(folder, tmp_path, form):
    out = tmp_path / "made" / "out"
    result = graph(folder, "--format", form, "--out", out)
    assert result.exit_code == 0
    assert "3 written" in result.stderr
    assert "0 refused" in result.stderr
    assert sorted(p.name for p in out.iterdir()) == ["one.lg", "three.lg", "two.lg"]
    assert {read_lg(p.read_text()) for p in out.iterdir()} == {SQUARE}


def test_lg_carries_the_strokes(folder, tmp_path):
    graph(folder, "--format", "lg", "--out", tmp_path / "out")
    assert parse_lg((tmp_path / "out" / "one.lg").read_text()).strokes == (("a", "b"), ("c",))
    assert parse_lg((tmp_path / "out" / "two.lg").read_text()).strokes == (("7",), ("8",))
    graph(folder, "--format", "json", "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "one.json").read_text())["strokes"] == [["a", "b"], ["c"]]


def test_archive_gives_what_its_folder_gives(folder, tmp_path):
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    archive = archive_of(tmp_path / "in.tar.xz", files)
    graph(folder, "--out", tmp_path / "a")
    assert graph(archive, "--out", tmp_path / "b").exit_code == 0
    contents = [{p.name: p.read_text() for p in (tmp_path / d).iterdir()} for d in "ab"]
    assert contents[0] == contents[1]


def test_lines_of_a_text_file_are_counted_from_one_and_blank_ones_passed_over(tmp_path):
    text = tmp_path / "lines.txt"
    text.write_bytes(b"\xef\xbb\xbfx\r\n\n  \n\\foo\n$y^2$\n\xff\nz")
    result = graph(text, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["lines-1.lg", "lines-5.lg", "lines-7.lg"]
    errors = result.stderr.splitlines()
    assert errors[0] == r"lines.txt:4: unknown macro '\foo' (at position 0)"
    assert errors[1] == "lines.txt:6: not UTF-8 text (byte 0)"
    assert "3 written" in errors[2]
    assert "2 refused" in errors[2]


def test_refused_inputs_do_not_stop_the_rest(folder, tmp_path):
    (folder / "bad.inkml").write_bytes(b"<ink/>")
    (folder / "bad.lg").write_text("O, a, @, 1.0")
    (folder / "bad.xml").write_text("<math><maction/></math>")
    (folder / "empty.inkml").write_bytes(b"")
    result = graph(folder, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "bad.inkml: there are no traces" in result.stderr
    assert "bad.lg: line 1: symbol '@'" in result.stderr
    assert "bad.xml: element maction" in result.stderr
    assert "empty.inkml: the file is empty" in result.stderr
    assert "3 written" in result.stderr
    assert "4 refused" in result.stderr


def test_the_same_stem_twice_never_overwrites(tmp_path):
    for folder, latex in (("a", "x"), ("b", "y")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "same.lg").write_text(write_lg(parse_latex(latex)))
    result = graph(tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "b/same.lg: its output same.lg is already written for a/same.lg" in result.stderr
    assert read_lg((tmp_path / "out" / "same.lg").read_text()).symbols == ("x",)
    # A second run replaces its own outputs.
    assert graph(tmp_path / "in" / "b", "--out", tmp_path / "out").exit_code == 0
    assert read_lg((tmp_path / "out" / "same.lg").read_text()).symbols == ("y",)


def test_names_in_an_archive_write_nowhere_else(tmp_path):
    names = ["../../up.lg", "/abs.lg", "..\\back.lg", "new\nline.lg", "....lg"]
    archive = archive_of(tmp_path / "a.tar", dict.fromkeys(names, LG))
    result = graph(archive, "--out", tmp_path / "x" / "out")
    assert result.exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "x"]
    written = sorted(p.name for p in (tmp_path / "x" / "out").iterdir())
    assert len(written) == 5
    assert {"up.lg", "abs.lg", "back.lg"} <= set(written)
    # A message and a first line stay one line each, whatever the name holds.
    assert (tmp_path / "x" / "out" / "new\nline.lg").read_text().startswith("# IUD, new\\nline\n")


def test_nothing_usable_fails(tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments in (["--latex", r"\foo"], ["--latex", ""], [tmp_path / "empty"], ["--latex", "x", "y.txt"], []):
        result = graph(*arguments)
        assert result.exit_code != 0
        assert "Traceback" not in result.output
    assert "--latex: unknown macro" in graph("--latex", r"\foo").stderr
    assert "holds no .inkml" in graph(tmp_path / "empty").stderr
    (tmp_path / "blank.txt").write_text("\n \n")
    assert "blank.txt: holds no expression" in graph(tmp_path / "blank.txt").stderr
    assert graph(tmp_path / "absent").exit_code == 2


def test_damaged_archive_is_reported_and_what_was_read_stays(tmp_path):
    archive = archive_of(tmp_path / "a.tar.xz", {"one.lg": LG, "noise.bin": os.urandom(100_000), "two.lg": LG})
    archive.write_bytes(archive.read_bytes()[:50_000])
    result = graph(archive, "--out", tmp_path / "out")
    assert "damaged archive" in result.stderr
    assert result.stderr.count(archive.name) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["one.lg"]


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = graph("--latex", "x", "--out", tmp_path / "file" / "out")
    assert result.exit_code != 0
    assert "Traceback" not in result.output


def test_a_file_that_is_no_text_is_refused_once(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\n\0\0\n\n\0\n")
    result = graph(tmp_path / "picture.png")
    assert result.exit_code == 1
    assert "picture.png: neither text nor one of .inkml" in result.stderr
    assert result.stderr.count("picture.png") == 1


def test_latex_in_one_plain_form(tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("$\\frac12$\n18_em_0\tx'\n")
    result = graph(text, "--format", "latex")
    assert result.stdout.splitlines() == [r"\frac { 1 } { 2 }", r"x ^ { \prime }"]
    graph(text, "--format", "latex", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "lines-2.tex").read_text() == "x ^ { \\prime }\n"
    assert json.loads(graph(text, "--format", "json").stdout.splitlines()[1])["name"] == "18_em_0"
    (tmp_path / "forest.lg").write_text("O, a, a, 1.0, 0\nO, b, b, 1.0, 1\n")
    assert "forest.lg: LaTeX cannot write it" in graph(tmp_path / "forest.lg", "--format", "latex").stderr


def test_ink_without_symbols_has_the_graph_of_its_latex(tmp_path):
    ink = '<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="label">y</annotation>'
    ink += '<annotation type="normalizedLabel">x^{2}</annotation><trace id="0">0 0, 1 1</trace></ink>'
    (tmp_path / "a.inkml").write_text(ink)
    result = graph(tmp_path / "a.inkml", "--format", "json")
    record = json.loads(result.stdout)
    assert (record["symbols"], "strokes" in record) == (["x", "2"], False)
    assert "a.inkml: not divided into symbols: the graph of its LaTeX, without boxes" in result.stderr


def test_help_shows_examples():
    result = graph("--help")
    assert result.exit_code == 0
    assert r"hmeg graph --latex '\frac{a+b}{\sqrt{c}}' --format tree" in result.stdout


def test_crohme_validation_archive(shared, tmp_path):
    result = graph(shared / "crohme" / "validation.tar.xz", "--format", "symlg", "--out", tmp_path)
    assert result.exit_code == 0
    assert "985 written" in result.stderr
    assert "TestEM2014GT/34_em_225.inkml: there is no MathML" in result.stderr
    assert len(list(tmp_path.glob("*.lg"))) == 985
