"""``python -m hmeg``: the command line."""

from hmeg.cli import main

main(prog_name="hmeg")
