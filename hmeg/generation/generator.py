"""LaTeX or symbol graphs in, samples out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np
import torch

from hmeg.canvas import Canvas, Viewport
from hmeg.devices import select_device
from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import Vocabulary
from hmeg.image_sets.sample import Sample
from hmeg.model import HMEG
from hmeg.model.checkpoint import weights_id
from hmeg.model.composition import Composition
from hmeg.model.display import resize, to_pixels, upright
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.noise import box_noise, image_noise

from .batching import fitting_batch, in_buckets, in_shapes
from .captured import Captured, CudaGraphs
from .decoder_file import TORCH, DecoderFile
from .ink import ink_of
from .limits import DEFAULT_BATCH_SIZE, MAX_TEMPERATURE
from .skipping import OnError, handler_of, tasks_of, usable
from .staging import HostStaging, PinnedStaging, Staging
from .tasks import Task, check_symbols, latex_of, repeated, vocabulary_of

_Result = TypeVar("_Result")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _whole(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None


def _canvas(size: int | None, canvas: Canvas | None) -> Canvas:
    if canvas is None:
        return Canvas.square(256 if size is None else size)
    if size is not None:
        raise TypeError(f"give a size or a canvas, not both: hmeg.Canvas.square({size}) is the canvas of that size")
    return canvas


@dataclass(frozen=True)
class _Placed:
    """A task with its layout: boxes (V_i, 4) float32 in units of its canvas, and how they lie on it."""

    task: Task
    boxes: np.ndarray
    view: Viewport


def _for_inference(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """Runs a method of :class:`Generator` without gradients and in the generator's precision, whatever the caller's."""

    @wraps(method)
    def run(generator: Generator, *arguments: Any, **more: Any) -> _Result:
        with torch.inference_mode(), torch.autocast(generator.device.type, enabled=False):
            return method(generator, *arguments, **more)

    return run


class Generator:
    """A model ready to draw: ``generator([r"\\frac{a}{b}"], seed=0)`` gives a list of :class:`Sample`.

    model   the networks; taken over (moved to ``device``, evaluation mode)
    device  "auto" (the GPU if there is one), "cpu", "cuda" or "cuda:1"
    name    what the weights are called in labels, beside their hash
    precision  "float32", or "bfloat16" for the decoder: faster on processors that multiply bfloat16, and coarser (boxes
               stay what they are, grey levels differ by a few)
    decoder  an exported decoder (:func:`hmeg.generation.decoder_file.load_decoder`) that draws the images instead of
             torch, on its own device and in its own precision; everything before it stays as it is
    cuda_graphs  whether upsampler and decoder are replayed as CUDA graphs on a GPU (:mod:`hmeg.generation.captured`)

    Sample ``index`` of ``seed`` is a function of (weights, expression, seed, index, canvas, temperature). All noise is
    counter-based, so nothing depends on what else is drawn. On the CPU every sample is computed by itself (as fast as
    in batches there), so its bytes are the same whatever ``batch_size`` is. On a GPU ``batch_size`` samples are
    computed together, and kernels may round differently for different batches. So may another machine, another
    version of torch or another number of threads: by about one part in a million, which moves some pixels by one
    grey level.
    """

    def __init__(
        self,
        model: HMEG,
        device: str | torch.device = "auto",
        name: str = "model",
        precision: str = "float32",
        decoder: DecoderFile | None = None,
        cuda_graphs: bool = True,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.device = select_device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.config = model.config
        self.metadata = dict(model.metadata)
        id_of_weights = model.weights_id or weights_id(model)
        self.name, self.weights = name, f"{name}@{id_of_weights}"
        self.vocabulary = vocabulary_of(self.metadata)
        self.readable = Vocabulary.open().joined(self.vocabulary)
        if len(self.vocabulary) > min(self.config.layout.symbols, self.config.image.symbols):
            raise ValueError(
                f"weights {name!r} have a vocabulary of {len(self.vocabulary)} symbols, and networks of fewer"
            )
        self.cuda_graphs = cuda_graphs
        self._decoder = decoder
        self._prepare_device()
        if decoder is not None:
            decoder.check(id_of_weights, name, precision)
            self.precision, self.runtime = decoder.precision, decoder.label
            return
        self.precision, self.runtime = precision, TORCH
        self._image_model = self.model.image_model.for_inference()
        self._image_model.upsampler.to(PRECISIONS[precision])
        self._image_model.decoder.to(PRECISIONS[precision])

    def _prepare_device(self) -> None:
        """What is used beside the networks: on a GPU recordings of the decoder, and pinned memory for results.

        An exported decoder brings what it needs.
        """
        on_gpu = self.device.type == "cuda" and self._decoder is None
        self._staging: Staging = PinnedStaging(self.device) if on_gpu else HostStaging()
        self._captured = Captured(CudaGraphs(self.device)) if on_gpu and self.cuda_graphs else None

    def check_graph(self, graph: SymbolGraph) -> None:
        """``ValueError``, naming them, for symbols that these weights do not know."""
        check_symbols(graph, self.vocabulary, f"weights {self.name!r}")

    def __repr__(self) -> str:
        return f"Generator({self.weights}, device={str(self.device)!r})"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Image sides the model draws natively, ascending."""
        return self.config.resolutions

    def __call__(
        self,
        expressions: str | SymbolGraph | Iterable[str | SymbolGraph],
        seed: int = 0,
        count: int = 1,
        size: int | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        temperature: float = 1.0,
        canvas: Canvas | None = None,
    ) -> list[Sample]:
        """Draw ``count`` samples of every expression; sample k of expression e has index ``e * count + k``.

        expressions  LaTeX, a symbol graph, or several of them. A graph with boxes is drawn at its boxes, in the square.
        size, temperature, canvas  side of square images in pixels (256), how much layouts vary, or images of other
                     shapes: see :meth:`stream`
        ``ValueError``, saying which expression, for one that cannot be drawn.
        """
        canvas = _canvas(size, canvas)
        several = [expressions] if isinstance(expressions, (str, SymbolGraph)) else list(expressions)
        check = partial(self.check_expression, canvas=canvas)
        graphs = [usable(position, expression, check, self.readable) for position, expression in enumerate(several)]
        return list(self.stream(repeated(graphs, count), seed, None, batch_size, temperature, canvas))

    def stream(
        self,
        expressions: str | SymbolGraph | Iterable[str | SymbolGraph | Task],
        seed: int = 0,
        size: int | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        temperature: float = 1.0,
        canvas: Canvas | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Sample]:
        """Samples one after the other, in the order of ``expressions``; memory does not grow with their number.

        expressions  LaTeX and symbol graphs, which take their position as index, or tasks, which bring their own; a
                     single one, too
        size         side of square images in pixels (256). One of :attr:`sizes` costs nothing extra; another is scaled
                     down from the next larger one. Between 16 and the largest of :attr:`sizes`: the model draws no more
                     detail than that.
        temperature  factor of the noise that boxes are made from, in [0, MAX_TEMPERATURE]: 1 as the weights were
                     packed, 0 the same boxes for all samples of an expression. Symbols differ all the same.
        canvas       images of another shape (:class:`hmeg.Canvas`), instead of ``size``
        on_error     what happens when an expression is reached that cannot be drawn. "raise": ``ValueError``, and the
                     stream ends. "skip": it is left out with a :class:`hmeg.SkippedExpression` warning. A function: it
                     is left out, and ``on_error(position, expression, error)`` is called. Others keep their index.
        ``ValueError`` for other sizes, temperatures and words.
        """
        canvas = _canvas(size, canvas)
        self.check(canvas, batch_size, temperature)
        seed = _whole("seed", seed)  # labels say what was used; a fraction would be cut off unseen
        if isinstance(expressions, (str, SymbolGraph)):  # a text would be taken for an expression a character
            expressions = [expressions]
        check = partial(self.check_expression, canvas=canvas)
        tasks = tasks_of(expressions, handler_of(on_error), check, self.readable)
        return self._stream(tasks, seed, canvas, batch_size, temperature)

    def _stream(
        self, tasks: Iterator[Task], seed: int, canvas: Canvas, batch_size: int, temperature: float
    ) -> Iterator[Sample]:
        if self.device.type == "cpu":
            for task in tasks:
                yield from self.draw_together([task], seed, canvas, temperature)
        elif canvas.is_square:
            yield from in_buckets(tasks, batch_size, lambda batch: self._launch(batch, seed, canvas, temperature))
        else:
            yield from in_shapes(
                tasks,
                batch_size,
                lambda batch: self._place(batch, seed, canvas, temperature)[1],
                lambda placed: self._paint_placed(placed, seed),
                lambda placed: placed.view.shape,
                self.config.image.size,
            )

    @property
    def _grid(self) -> tuple[int, int]:
        """Side of the square the networks were trained on, what sides of other canvases are multiples of, in pixels."""
        return self.config.image.size, max(4, 1 << (len(self.config.image.refinement_dims) - 1))

    def fitting_batch_size(self) -> int:
        """A batch size that the device's free memory allows; 1 on the CPU, which computes one sample at a time."""
        if self.device.type == "cpu":
            return 1
        return fitting_batch(self.config, torch.cuda.mem_get_info(self.device)[0])

    def check(self, canvas: Canvas | int, batch_size: int, temperature: float = 1.0) -> None:
        """``ValueError`` for what this model cannot serve (:meth:`stream`); ``TypeError`` for sizes not whole."""
        canvas = Canvas.square(canvas) if not isinstance(canvas, Canvas) else canvas
        batch_size = _whole("batch_size", batch_size)
        canvas.check(self.sizes[-1])
        if not canvas.is_square and self._decoder is not None:
            side = self.config.image.size
            raise ValueError(
                f"{self._decoder.path}: draws squares of {side} x {side} pixels only; use --canvas square with it, or "
                "leave the decoder out"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise ValueError(f"temperature must be in 0..{MAX_TEMPERATURE:g}, got {temperature!r}")

    def check_expression(self, graph: SymbolGraph, canvas: Canvas) -> None:
        """``ValueError`` for symbols that the weights do not know, and for a canvas that is too small."""
        self.check_graph(graph)
        canvas.check_expression(graph, *self._grid)

    def draw_together(
        self, tasks: Sequence[Task], seed: int, size: int | Canvas, temperature: float = 1.0
    ) -> list[Sample]:
        """Samples of ``tasks`` computed together, whatever the device; the rest as for :meth:`stream`.

        Boxes of the layout generator that came out inverted are put upright before the image is drawn. Layouts are
        computed as one batch, and images of one shape as one.
        """
        canvas = size if isinstance(size, Canvas) else Canvas.square(size)
        return self._launch(tasks, seed, canvas, temperature)()

    def _launch(
        self, tasks: Sequence[Task], seed: int, canvas: Canvas, temperature: float = 1.0
    ) -> Callable[[], list[Sample]]:
        """Starts to draw; what is returned waits for the images. A GPU computes while the caller does other things."""
        batch, placed = self._place(tasks, seed, canvas, temperature)
        rows_of: dict[tuple[int, int], list[int]] = {}
        for row, one in enumerate(placed):
            rows_of.setdefault(one.view.shape, []).append(row)
        if len(rows_of) == 1:
            return self._paint_placed(placed, seed, batch)
        started = [(rows, self._paint_placed([placed[i] for i in rows], seed)) for rows in rows_of.values()]

        def arrived() -> list[Sample]:
            samples = {row: sample for rows, wait in started for row, sample in zip(rows, wait(), strict=True)}
            return [samples[row] for row in range(len(placed))]

        return arrived

    @_for_inference
    def _place(
        self, tasks: Sequence[Task], seed: int, canvas: Canvas, temperature: float
    ) -> tuple[tuple[GraphBatch, torch.Tensor], list[_Placed]]:
        """Layouts of ``tasks``, as one batch: the batch with its noise, and every task with its boxes."""
        graphs = [task.graph for task in tasks]
        on_host = GraphBatch.from_graphs(graphs, typeset=self.config.layout.prior, vocabulary=self.vocabulary)
        noise = self._box_noise(tasks, seed)
        # only now copies, which wait for the device: it may still draw the batch before
        batch = on_host.to(self.device)
        noise = noise.to(self.device)
        predicted = self.model.layout_generator(batch, temperature * noise).cpu().numpy()
        placed = []
        for task, boxes in zip(tasks, _boxes_to_use(graphs, predicted), strict=True):
            view = canvas.viewport(task.graph, boxes, *self._grid)
            placed.append(_Placed(task, view.in_units(boxes), view))
        return (batch, noise), placed

    def _box_noise(self, tasks: Sequence[Task], seed: int) -> torch.Tensor:
        dim = self.config.layout.noise_dim
        return torch.from_numpy(np.concatenate([box_noise(len(t.graph), dim, seed, t.index) for t in tasks]))

    @_for_inference
    def _paint_placed(
        self, placed: Sequence[_Placed], seed: int, batch: tuple[GraphBatch, torch.Tensor] | None = None
    ) -> Callable[[], list[Sample]]:
        """Starts to draw layouts of one shape as one batch; what is returned waits for the images.

        batch  of just these tasks with its noise, where it is on the device already
        """
        tasks, view = [one.task for one in placed], placed[0].view
        if batch is None:
            on_host = GraphBatch.from_graphs([task.graph for task in tasks], vocabulary=self.vocabulary)
            batch = on_host.to(self.device), self._box_noise(tasks, seed).to(self.device)
        graph, noise = batch
        drawn_at = self._on_device(np.concatenate([one.boxes for one in placed]))
        modes = self.model.image_model.choose_glyphs(graph, drawn_at, noise[:, 0])
        native = min(r for r in self.sizes if r >= (view.width if view.resized else self.config.image.size))
        indices = [task.index for task in tasks]
        image_noises = image_noise(self.config.image.noise_dim, view.shape, seed, indices, self.device)
        images = self._images(graph, image_noises, drawn_at, modes, native, view.shape)
        arrival = self._staging.fetch(images.float())
        return lambda: [self._sample(one, image, seed) for one, image in zip(placed, arrival(), strict=True)]

    def _images(
        self,
        batch: GraphBatch,
        noise: torch.Tensor,
        boxes: torch.Tensor,
        modes: torch.Tensor | None,
        size: int,
        shape: tuple[int, int],
    ) -> torch.Tensor:
        composition = self.model.image_model.compose(batch, boxes, modes, shape)
        if self._decoder is not None:
            return self._decoder.runtime.decode(**composition.decoder_inputs(noise))[size]
        paint, composed = partial(self._paint, size), composition.tensors()
        # There are too many shapes of other canvases: a recording of each would be used a few times only.
        recorded = self._captured if shape[0] == shape[1] == self.config.image.size else None
        return recorded(size, paint, noise, *composed) if recorded else paint(noise, *composed)

    def _paint(self, size: int, noise: torch.Tensor, *composed: torch.Tensor) -> torch.Tensor:
        """Upsampler and decoder, on the tensors of a composition."""
        composition = Composition.of_tensors(self.config, composed)
        layout = composition.upsampled(self._image_model.upsampler, noise)
        images: dict[int, torch.Tensor] = self._image_model.decoder(layout, (size,))
        return images[size]

    def _sample(self, placed: _Placed, image: np.ndarray, seed: int) -> Sample:
        task, view = placed.task, placed.view
        try:
            whole = resize(image, view.width) if view.resized else image[:, : view.height, : view.width]
            array = to_pixels(whole)
        except ValueError as error:
            raise ValueError(f"sample {task.index} of seed {seed}: {error}; are the weights damaged?") from error
        drawn_at = view.in_pixels(placed.boxes)
        return Sample(
            array=array,
            graph=task.graph.with_boxes(view.in_fractions(placed.boxes)),
            latex=latex_of(task.graph),
            boxes=ink_of(array, drawn_at).boxes(drawn_at),
            seed=seed,
            index=task.index,
            weights=self.weights,
            line=task.line,
            x_height=round(view.x_height, 2),
            name=task.name,
        )

    def _on_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def _boxes_to_use(graphs: Sequence[SymbolGraph], predicted: np.ndarray) -> list[np.ndarray]:
    """Per graph (V_i, 4) float32 upright boxes: its own where it has them, else its rows of the predictions."""
    ends = np.cumsum([len(graph) for graph in graphs])
    rows = np.split(predicted, ends[:-1])
    return [
        upright(np.asarray(of_graph if graph.boxes is None else graph.boxes, dtype=np.float32))
        for graph, of_graph in zip(graphs, rows, strict=True)
    ]
