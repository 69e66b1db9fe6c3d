"""Layout training: graph and noise -> boxes, judged on Less-is-More sub-graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.graph import GraphBatch
from hmeg.graph.typeset import typeset
from hmeg.model.config import ModelConfig
from hmeg.model.discriminators import LayoutDiscriminator
from hmeg.model.layout import LayoutGenerator

from .loop import LoopConfig, TrainingRun, averaged, batch_indices, setting, step_generator
from .subgraphs import sample_subgraphs


@dataclass(frozen=True)
class LayoutTrainingConfig(LoopConfig):
    """Settings of layout training; the defaults are the published schedule."""

    batch_size: int = setting(64, "Expressions a step.")
    learning_rate: float = setting(5e-5, "Adam's learning rate.")
    box_weight: float = setting(10.0, "Factor of the L1 loss between generated and true boxes.")
    adversarial_weight: float = setting(0.2, "Factor of the least-squares adversarial losses.")
    discriminator_weight_decay: float = setting(1e-4, "Weight decay of the discriminator's Adam.")


class LayoutTrainer:
    """Trains a LayoutGenerator against a LayoutDiscriminator on a prepared data set.

    Plainer than published in one thing: the adversarial terms judge the boxes that the L1 term is about. The published
    training makes new boxes for them, with new noise and for half of the expressions without any handwriting.
    """

    def __init__(
        self, data: Path | str, out: Path | str, config: LayoutTrainingConfig, resume: bool = False
    ) -> None:
        self.config = config
        self.dataset = CrohmeDataset(data, config.max_symbols)
        # Small arrays, made once: a step is so short that building them again would dominate it.
        self._ids = [graph.symbol_ids() for graph in self.dataset.graphs]
        self._edges = [graph.edge_type_matrix() for graph in self.dataset.graphs]
        self._boxes = [graph.boxes for graph in self.dataset.graphs if graph.boxes is not None]
        self.model_config = ModelConfig.named(config.model)
        self._typeset = [typeset(graph) for graph in self.dataset.graphs] if self.model_config.layout_prior else []
        torch.manual_seed(config.seed)
        self.model = LayoutGenerator(self.model_config).to(config.device)
        self.discriminator = LayoutDiscriminator().to(config.device)
        self.ema = averaged(self.model, config.ema_decay)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.learning_rate, weight_decay=config.discriminator_weight_decay
        )
        self.run = TrainingRun(
            out,
            config,
            {
                "model": self.model,
                "discriminator": self.discriminator,
                "ema": self.ema,
                "optimizer": self.optimizer,
                "discriminator_optimizer": self.discriminator_optimizer,
            },
            resume,
        )

    def train(self) -> None:
        """Runs to the configured number of steps."""
        self.run.go(self.step, self.config, unit="expr")

    def batch(self, step: int) -> GraphBatch:
        """The training graphs of a step, on the device."""
        rows = batch_indices(len(self._ids), self.config.batch_size, step, self.config.seed)
        sources = [self._ids, self._edges, self._boxes, *([self._typeset] if self._typeset else [])]
        picked = [[source[int(row)] for row in rows] for source in sources]
        return GraphBatch.from_arrays(*picked).to(self.config.device)

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step of the generator, then one of the discriminator."""
        config, device = self.config, self.config.device
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
        generator = step_generator(config.seed, step, device)
        graph = self.batch(step)
        assert graph.boxes is not None
        noise = torch.randn((len(graph.symbols), self.model_config.box_noise_dim), generator=generator, device=device)

        self.discriminator.requires_grad_(False)
        with config.autocast():
            boxes = self.model(graph, noise).float()
            validity = self._judge(graph, boxes, generator)
        losses = {
            "box": config.box_weight * F.l1_loss(boxes, graph.boxes),
            "adversarial": config.adversarial_weight * F.mse_loss(validity, torch.ones_like(validity)),
        }
        self.optimizer.zero_grad(set_to_none=True)
        (losses["box"] + losses["adversarial"]).backward()
        self.optimizer.step()
        self.ema.update_parameters(self.model)

        self.discriminator.requires_grad_(True)
        real = self._judge(graph, graph.boxes, generator)
        fake = self._judge(graph, boxes.detach(), generator)
        judged = (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))) / 2
        losses["discriminator"] = config.adversarial_weight * judged
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        losses["discriminator"].backward()
        self.discriminator_optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def _judge(self, graph: GraphBatch, boxes: Tensor, generator: torch.Generator) -> Tensor:
        part = sample_subgraphs(graph, generator)
        validity: Tensor = self.discriminator(
            graph.symbols[part.nodes], boxes[part.nodes], part.edge_index, part.edge_type, part.batch, graph.num_graphs
        )
        return validity.float()
