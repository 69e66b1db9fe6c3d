"""What `hmeg generate` was asked for, and whether it makes sense together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from hmeg.canvas import Canvas
from hmeg.cli.canvas_options import canvas_of
from hmeg.quoting import quoted


@dataclass(frozen=True)
class Options:
    """The options of ``hmeg generate`` as given; None: left to the command, as its help says."""

    texts: tuple[str, ...]
    input_path: Path | None
    random_count: int | None
    grammar: str
    out: Path
    file_format: str
    split: str
    weights: str
    count: int
    seed: int
    size: int | None
    canvas: str
    symbol_height: float | None
    max_size: str | None
    min_symbol_height: float | None
    margin: int | None
    temperature: float
    augment: str
    device: str
    precision: str
    decoder: Path | None
    runtime: str | None
    batch_size: int | None
    cuda_graphs: bool
    workers: int | None
    shard_size: int | None
    engine: str
    ray_address: str | None
    ray_actors: int | None
    cpus_per_actor: int | None
    gpus_per_actor: float | None
    overwrite: bool

    def check(self) -> None:
        """``click.UsageError`` for options that do not go together. Opens nothing."""
        self._check_source()
        if not self.split.replace("_", "a").replace("-", "a").isalnum() or not self.split.isascii():
            raise click.UsageError(f"--split may have letters, digits, _ and -, not {quoted(self.split)}")
        self.drawn_on  # noqa: B018 - whether it makes sense
        self._check_runtime()
        if self.engine == "ray":
            self._check_for_ray()
        else:
            self._check_for_local()

    @property
    def drawn_on(self) -> Canvas:
        """The canvas of the images; ``click.UsageError`` for options that make none."""
        return canvas_of(self.canvas, self.size, self.symbol_height, self.max_size, self.min_symbol_height, self.margin)

    @property
    def reads_a_pipe(self) -> bool:
        """Whether expressions come from where they can be read only once."""
        return self.input_path is not None and not self.input_path.is_file()

    def _check_source(self) -> None:
        given = {
            "--latex": bool(self.texts),
            "--input": self.input_path is not None,
            "--random": self.random_count is not None,
        }
        if sum(given.values()) != 1:
            chosen = " and ".join(name for name, is_given in given.items() if is_given)
            raise click.UsageError("give one of --latex, --input and --random" + (f", not {chosen}" if chosen else ""))

    def _check_runtime(self) -> None:
        """Whether --runtime and --decoder (or --weights, which may name a decoder too) say the same."""
        from hmeg.generation.decoder_file import KINDS, TORCH, kind_of

        decoder, runtime = self.decoder, self.runtime
        if decoder is None and kind_of(self.weights) is not None:
            decoder = Path(self.weights)
        if decoder is None:
            if runtime not in (None, TORCH):
                suffix = next(suffix for suffix, kind in KINDS.items() if kind == runtime)
                raise click.UsageError(
                    f"--runtime {runtime} needs the file it runs: --decoder FILE{suffix}; "
                    f"`hmeg export {runtime}` makes one"
                )
            return
        kind = kind_of(decoder)
        if kind is None:
            raise click.UsageError(f"--decoder must be a file that ends in {', '.join(KINDS)}, got {decoder}")
        if runtime not in (None, kind):
            raise click.UsageError(f"{decoder} is run by {kind}, not by {runtime}; leave out --runtime")

    def _check_for_ray(self) -> None:
        """Whether the options make sense where others draw."""
        from hmeg.generation.decoder_file import kind_of

        drawn_by, gpus = self.decoder or self.weights, self.gpus_per_actor
        if kind_of(drawn_by) is not None:
            raise click.UsageError(f"{drawn_by} is for --engine local; with ray, the networks run in torch")
        if self.device != "auto":
            raise click.UsageError("--device is for --engine local; with ray, --gpus-per-actor says who draws on a GPU")
        if self.workers is not None:
            raise click.UsageError("--workers is for --engine local; with ray, the actors encode what they draw")
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise click.UsageError(f"--gpus-per-actor may be a part of one GPU or whole GPUs, not {gpus:g}")
        if self.reads_a_pipe:
            raise click.UsageError("--engine ray reads a file, not a pipe: write the expressions to one first")

    def _check_for_local(self) -> None:
        of_ray = (self.ray_address, self.ray_actors, self.cpus_per_actor, self.gpus_per_actor)
        if any(option is not None for option in of_ray):
            raise click.UsageError(
                "--ray-address, --ray-actors, --cpus-per-actor and --gpus-per-actor need --engine ray"
            )
