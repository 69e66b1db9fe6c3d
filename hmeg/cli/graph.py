"""``hmeg graph``: show or convert symbol graphs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from tqdm import tqdm

from hmeg.cli.parameters import Output
from hmeg.files import write_whole

from ..data.inkml import InkmlError, read_inkml
from ..data.relation_records import to_records
from ..data.sources import SourceError, is_archive, iter_files
from ..graph.baselines import baseline_from, to_latex
from ..graph.label_graph import LabelGraphError, parse_lg, write_lg, write_symlg
from ..graph.latex import LatexError, parse_latex
from ..graph.latex_tokens import named_line
from ..graph.mathml import MathmlError, read_mathml
from ..graph.symbol_graph import SymbolGraph
from ..graph.tree import NotATreeError, tree_text

_MATHML_SUFFIXES = (".mml", ".mathml", ".xml")
_GRAPH_SUFFIXES = (".inkml", ".lg", *_MATHML_SUFFIXES)
_OUTPUT_SUFFIX = {"symlg": ".lg", "lg": ".lg", "json": ".json", "tree": ".txt", "latex": ".tex"}
_ONE_LINE_EACH = ("json", "latex")
_UNUSABLE = (InkmlError, LabelGraphError, LatexError, MathmlError, NotATreeError, SourceError)


class _Input(NamedTuple):
    """One expression to read: its name for messages, the stem of its output file, and what it is read from."""

    name: str
    stem: str
    kind: str  # "latex" or a file suffix
    data: bytes


class _Expression(NamedTuple):
    graph: SymbolGraph
    strokes: tuple[tuple[str, ...], ...] | None
    title: str | None = None  # what a line `name<TAB>latex` calls it


@click.command(no_args_is_help=True)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
@click.option("--latex", "-l", multiple=True, metavar="TEXT", help="An expression; may be given several times.")
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(list(_OUTPUT_SUFFIX)),
    default="symlg",
    show_default=True,
    help="symlg: symbols by their place in the tree. lg: CROHME's label graph, with the strokes of InkML. "
    "json: one object an expression. tree: a drawing for people. latex: a line of tokens in one plain form.",
)
@click.option(
    "--out",
    "-o",
    type=Output(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file per expression into this folder (made if it is missing) instead of printing.",
)
def command(paths: tuple[Path, ...], latex: tuple[str, ...], form: str, out: Path | None) -> None:
    """Show or convert symbol graphs.

    PATH is an .inkml, .lg or MathML file (.mml, .mathml, .xml), a folder or tar archive of such files, or a text file
    of LaTeX, one expression a line, by itself or after its name and a tab (blank lines are passed over).

    With --out, an expression becomes STEM.lg (.json, .txt), line 7 of lines.txt becomes lines-7.lg. What cannot be
    used is reported on the error stream, one line each, and the rest goes on; the exit code is 0 unless nothing could
    be used.

    \b
    Examples:
      hmeg graph --latex '\\frac{a+b}{\\sqrt{c}}' --format tree
      hmeg graph expressions.txt --format json
      hmeg graph crohme.tar.xz --format symlg --out graphs
    """
    if bool(paths) == bool(latex):
        raise click.UsageError("give either PATHs or --latex TEXT")
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{out}: {error.strerror or 'cannot be made'}") from None
    run = _Run(form, out)
    # disable=None: no bar when the error stream is no terminal; nor among graphs that are printed.
    with tqdm(unit=" expressions", file=sys.stderr, disable=None if out else True, delay=0.5) as bar:
        for item in _inputs(paths, latex, run):
            run.convert(item)
            bar.update()
    run.report(to_terminal=len(latex) == 1)


class _Run:
    """Where graphs go, and how many went."""

    def __init__(self, form: str, out: Path | None) -> None:
        self.form = form
        self.out = out
        self.done = 0
        self.refused = 0
        self.written: dict[str, str] = {}

    def refuse(self, name: str, reason: str) -> None:
        self.refused += 1
        tqdm.write(_one_line(f"{name}: {reason}"), file=sys.stderr)

    def convert(self, item: _Input) -> None:
        try:
            text = _render(_read(item), item, self.form)
        except _UNUSABLE as error:
            self.refuse(item.name, str(error))
            return
        if self.out is None:
            separator = "\n" if self.done and self.form not in _ONE_LINE_EACH else ""
            click.echo(separator + text, nl=False)
        elif not self.write(item, text):
            return
        self.done += 1

    def write(self, item: _Input, text: str) -> bool:
        assert self.out is not None
        file = item.stem + _OUTPUT_SUFFIX[self.form]
        if file in self.written:
            self.refuse(item.name, f"its output {file} is already written for {self.written[file]}; convert it apart")
            return False
        try:
            write_whole(self.out / file, text.encode("utf-8"))
        except (OSError, ValueError) as error:
            self.refuse(item.name, f"{file} cannot be written ({error})")
            return False
        self.written[file] = item.name
        return True

    def report(self, to_terminal: bool) -> None:
        if self.out is not None:
            click.echo(f"{self.done} written to {self.out}, {self.refused} refused", err=True)
        elif self.refused or not to_terminal:
            click.echo(f"{self.done} shown, {self.refused} refused", err=True)
        if not self.done:
            raise click.ClickException("nothing could be used")


def _inputs(paths: tuple[Path, ...], latex: tuple[str, ...], run: _Run) -> Iterator[_Input]:
    for number, text in enumerate(latex, start=1):
        yield _Input("--latex" if len(latex) == 1 else f"--latex {number}", f"latex-{number}", "latex", _encoded(text))
    for path in paths:
        many = path.is_dir() or is_archive(path)
        before = run.done + run.refused
        try:
            for name, data in iter_files(path, _GRAPH_SUFFIXES if many else (), run.refuse):
                file = Path(name.replace("\\", "/"))
                suffix = file.suffix.lower()
                if suffix in _GRAPH_SUFFIXES:
                    yield _Input(name, file.stem, suffix, data)
                elif b"\0" in data:
                    run.refuse(name, f"neither text nor one of {', '.join(_GRAPH_SUFFIXES)} nor a tar archive")
                else:
                    yield from _lines(name, file.stem, data)
        except SourceError as error:
            run.refuse(path.name, str(error).removeprefix(f"{path}: "))
        if many and run.done + run.refused == before:
            run.refuse(str(path), f"holds no {', '.join(_GRAPH_SUFFIXES)} files")
        elif run.done + run.refused == before:
            run.refuse(path.name, "holds no expression")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


def _lines(name: str, stem: str, data: bytes) -> Iterator[_Input]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield _Input(f"{name}:{number}", f"{stem}-{number}", "latex", line.rstrip(b"\r"))


def _read(item: _Input) -> _Expression:
    if item.kind == ".inkml":
        ink = read_inkml(item.data, item.name, segmented=False)
        if not ink.symbol_strokes:
            tqdm.write(
                _one_line(f"{item.name}: not divided into symbols: the graph of its LaTeX, without boxes"),
                file=sys.stderr,
            )
            return _Expression(ink.graph, None)
        return _Expression(ink.graph, tuple(tuple(ink.stroke_ids[i] for i in rows) for rows in ink.symbol_strokes))
    if item.kind == ".lg":
        label_graph = parse_lg(item.data)
        return _Expression(label_graph.graph, label_graph.strokes)
    if item.kind in _MATHML_SUFFIXES:
        return _Expression(read_mathml(item.data), None)
    try:
        text = item.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"not UTF-8 text (byte {error.start})") from None
    title, latex = named_line(text)
    return _Expression(parse_latex(latex), None, title)


def _render(expression: _Expression, item: _Input, form: str) -> str:
    graph, strokes, title = expression
    name = _one_line(title or item.stem)
    if form == "latex":
        try:
            return to_latex(baseline_from(graph)) + "\n"
        except ValueError as error:
            raise SourceError(f"LaTeX cannot write it: {error}") from None
    if form == "symlg":
        return write_symlg(graph, name)
    if form == "lg":
        return write_lg(graph, name, strokes)
    if form == "tree":
        return f"# {name}\n{tree_text(graph)}"
    record: dict[str, object] = {
        "name": name,
        "latex": graph.latex,
        "symbols": list(graph.symbols),
        "relations": to_records(graph.relations),
    }
    if strokes is not None:
        record["strokes"] = [list(rows) for rows in strokes]
    return json.dumps(record) + "\n"


def _one_line(text: str) -> str:
    """Text from outside, fit for a line of a terminal or a file: nothing but printable characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
