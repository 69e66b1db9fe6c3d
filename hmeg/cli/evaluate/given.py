"""A command as it was given, for reports: what to type to get the same again."""

from __future__ import annotations

import shlex


def command_line(command: str, *arguments: object, **options: object) -> str:
    """``hmeg evaluate COMMAND ARGUMENTS --OPTION value ...``, quoted for a shell.

    Options are named as in Python (``batch_size``). Those of None are left out; a tuple or a list is an option that is
    given several times.
    """
    words = ["hmeg", "evaluate", command, *map(str, arguments)]
    for name, value in options.items():
        for one in value if isinstance(value, (tuple, list)) else () if value is None else (value,):
            words += [f"--{name.replace('_', '-')}", str(one)]
    return shlex.join(words)
