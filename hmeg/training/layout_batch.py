"""Everything a step of layout training reads, made on the CPU ahead of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.model.config import ModelConfig
from hmeg.model.graph_batch import GraphBatch

from .expressions import Expressions, UnpairedExpressions
from .order import Purpose, batch_indices, random_rows, step_generator
from .processes import Processes
from .settings import AdversarialLayoutConfig, LayoutTrainingConfig
from .subgraphs import Subgraph, part_of, sample_subgraphs, symbols_of, whole_graphs


@dataclass
class LayoutBatch:
    """One step's expressions, noise and sub-graphs; of several processes' batch this process's part.

    graph         training expressions with true boxes, noise (V, layout.noise_dim) for the L1 term
    other_noise   likewise, for a second draw of them; None where no loss is about two
    fakes         expressions of the adversarial term, fake_noise for them
    fooling       sub-graphs of ``fakes`` in the generator's loss
    fake, real    sub-graphs of ``fakes`` and of ``graph`` in the discriminator's loss
    symbol_share  this process's symbols of ``graph``, relative to an even share: weight of means over symbols
    """

    graph: GraphBatch
    noise: Tensor
    other_noise: Tensor | None
    fakes: GraphBatch
    fake_noise: Tensor
    fooling: Subgraph
    fake: Subgraph
    real: Subgraph
    symbol_share: float


class LayoutBatches:
    """Makes them: ``LayoutBatches(...)(step)``."""

    def __init__(
        self, dataset: CrohmeDataset, config: AdversarialLayoutConfig, model: ModelConfig, processes: Processes
    ) -> None:
        self.config, self.noise_dim, self.processes = config, model.layout.noise_dim, processes
        self.paired = Expressions(dataset.graphs, model.layout.prior)
        self.unpaired = None
        if config.unpaired_share:
            self.unpaired = UnpairedExpressions(config.unpaired, config.max_symbols, config.seed, model.layout.prior)
        self.part = processes.part(min(config.batch_size, len(self.paired)))

    @property
    def unpaired_digest(self) -> str:
        """Changes when the unpaired expressions do."""
        return "none" if self.unpaired is None else self.unpaired.digest

    def rows(self, step: int) -> np.ndarray:
        """Rows of the training set that a step learns from, of all processes."""
        return batch_indices(len(self.paired), self.config.batch_size, step, self.config.seed)

    def __call__(self, step: int) -> LayoutBatch:
        config, mine = self.config, self.part
        generator = step_generator(config.seed, step, "cpu", Purpose.LAYOUT)
        source: Expressions | UnpairedExpressions = self.paired
        if self.unpaired is not None and torch.rand((), generator=generator) < config.unpaired_share:
            source = self.unpaired
        rows = self.rows(step)
        fake_rows = random_rows(len(source), len(rows), step, config.seed)
        # Everything random is drawn for all processes alike, then cut: they agree, however many they are.
        graph, fakes = self.paired.batch(rows), source.batch(fake_rows)
        first, last = symbols_of(graph, mine)
        sample = sample_subgraphs if config.lim else whole_graphs
        batch = LayoutBatch(
            graph=self.paired.batch(rows[mine]),
            noise=self._noise(graph, generator)[first:last],
            other_noise=None,
            fakes=source.batch(fake_rows[mine]),
            fake_noise=self._noise(fakes, generator)[slice(*symbols_of(fakes, mine))],
            fooling=part_of(fakes, sample(fakes, generator), mine),
            fake=part_of(fakes, sample(fakes, generator), mine),
            real=part_of(graph, sample(graph, generator), mine),
            symbol_share=(last - first) * self.processes.count / len(graph.symbols),
        )
        if isinstance(config, LayoutTrainingConfig) and config.spread_weight:
            batch.other_noise = self._noise(graph, generator)[first:last]
        return batch

    def _noise(self, graph: GraphBatch, generator: torch.Generator) -> Tensor:
        return torch.randn((len(graph.symbols), self.noise_dim), generator=generator)
