"""Makes the published type stubs of TensorRT fit for mypy: ``python tests/support/tensorrt_stubs.py FOLDER``.

``tensorrt-stubs`` 10.13 (and each version before) holds functions that do not parse, with parameters named ``in`` or
without a default after one with a default; mypy reads nothing of a file with such a line. None of them is a function
that hmeg calls. Their parameters become ``*args, **kwargs``; everything else stays as published. FOLDER is where pip
installed the stubs by themselves (``pip install --no-deps --target FOLDER``): not a site-packages folder, where the
folder ``tensorrt``, although it holds no code, would pass for TensorRT itself.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

_FUNCTION = re.compile(r"(?P<start>\s*def \w+\()(?P<parameters>.*)(?P<end>\).*:.*)")


def repaired(text: str) -> tuple[str, int]:
    """A stub file without functions that do not parse, and how many there were. ``SyntaxError`` for other lines."""
    lines, count = text.splitlines(), 0
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            row = (error.lineno or 0) - 1
            found = _FUNCTION.fullmatch(lines[row])
            replaced = found and f"{found['start']}*args: typing.Any, **kwargs: typing.Any{found['end']}"
            if not replaced or replaced == lines[row]:
                raise
            lines[row] = replaced
            count += 1
        else:
            return "\n".join(lines) + "\n", count


def main(folder: Path) -> None:
    files = sorted(folder.rglob("*.pyi"))
    if not files:
        sys.exit(f"{folder} holds no stubs")
    for path in files:
        text, count = repaired(path.read_text())
        if count:
            path.write_text(text)
            print(f"{path}: {count} functions that do not parse have lost their parameters' names")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
