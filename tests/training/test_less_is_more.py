"""Layout training as published: what the adversarial term is about, and that a step never waits for the device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hmeg.data.crohme import CrohmeDataset
from hmeg.model import SMALL
from hmeg.model.graph_batch import GraphBatch
from hmeg.training.expressions import UnpairedExpressions
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.layout_batch import LayoutBatches
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.processes import Processes
from hmeg.training.settings import LayoutTrainingConfig
from tests.support.training_data import IMAGE, LAYOUT, prepared

ALONE = Processes(0, 1, "cpu")
# Operations whose result is needed on the host, or whose shape depends on the data: a GPU's queue is drained first.
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "bincount",
    "repeat_interleave.Tensor",
    "equal.",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def batches(data: Path, config: LayoutTrainingConfig, processes: Processes = ALONE) -> LayoutBatches:
    return LayoutBatches(CrohmeDataset(data), config, SMALL, processes)


def is_training_graph(graph: GraphBatch) -> bool:
    return graph.boxes is not None


def test_half_of_the_steps_judge_unpaired_expressions(data: Path) -> None:
    made = batches(data, LAYOUT)
    paired = [is_training_graph(made(step).fakes) for step in range(200)]
    assert 70 < sum(paired) < 130
    assert all(is_training_graph(batches(data, replace(LAYOUT, unpaired_share=0.0))(step).fakes) for step in range(20))
    assert not any(is_training_graph(batches(data, replace(LAYOUT, unpaired_share=1.0))(s).fakes) for s in range(5))


def test_the_fakes_have_expressions_and_noise_of_their_own(data: Path) -> None:
    made = batches(data, replace(LAYOUT, unpaired_share=0.0))
    batch = made(0)
    assert batch.noise.shape == (len(batch.graph.symbols), SMALL.layout.noise_dim)
    assert batch.fake_noise.shape == (len(batch.fakes.symbols), SMALL.layout.noise_dim)
    assert not torch.isin(batch.fake_noise, batch.noise).any()
    assert not torch.equal(made(1).noise[:1], batch.noise[:1])
    orders = {tuple(made(step).fakes.symbols.tolist()) for step in range(10)}
    assert len(orders) > 3, "other expressions at other steps"


def test_without_less_is_more_whole_graphs_are_judged(data: Path) -> None:
    whole, part = (batches(data, replace(LAYOUT, lim=lim))(0) for lim in (False, True))
    for graph, sample in ((whole.fakes, whole.fooling), (whole.fakes, whole.fake), (whole.graph, whole.real)):
        assert torch.equal(sample.nodes, torch.arange(len(graph.symbols)))
        assert torch.equal(sample.edge_index, graph.edge_index)
        assert torch.equal(sample.edge_type, graph.edge_type)
    assert part.real.edge_index.shape[1] < part.graph.edge_index.shape[1]


def test_the_adversarial_terms_are_about_the_fakes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The known fault of the first trainer: its critic judged the boxes of the L1 term."""
    trainer = LayoutTrainer(data, tmp_path / "run", LAYOUT)
    batch = trainer.prepare(0)
    judged: list[torch.Tensor] = []
    trainer.discriminator.register_forward_pre_hook(lambda module, inputs: judged.append(inputs[1]))
    made: list[torch.Tensor] = []
    place = trainer.model.place

    def placed(graph: GraphBatch, read: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        made.append(place(graph, read, noise))
        return made[-1]

    monkeypatch.setattr(trainer.model, "place", placed)
    trainer.step(0, batch)
    (boxes, fakes), (fooling, real, fake) = made, judged
    assert batch.graph.boxes is not None
    assert torch.equal(fooling, fakes[batch.fooling.nodes]) and fooling.requires_grad
    assert torch.equal(fake, fakes[batch.fake.nodes]) and not fake.requires_grad
    assert torch.equal(real, batch.graph.boxes[batch.real.nodes])
    assert boxes.shape == batch.graph.boxes.shape


@pytest.mark.parametrize("lim", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_several_processes_are_the_whole(data: Path, lim: bool, count: int) -> None:
    config = replace(LAYOUT, batch_size=6, lim=lim)
    for step in range(4):
        whole = batches(data, config)(step)
        parts = [batches(data, config, Processes(rank, count, "cpu"))(step) for rank in range(count)]
        assert torch.equal(torch.cat([p.noise for p in parts]), whole.noise)
        assert torch.equal(torch.cat([p.fake_noise for p in parts]), whole.fake_noise)
        assert torch.equal(torch.cat([p.fakes.symbols for p in parts]), whole.fakes.symbols)
        assert sum(p.symbol_share for p in parts) == pytest.approx(count)
        for name, source in (("fooling", "fakes"), ("fake", "fakes"), ("real", "graph")):
            first_node = first_row = 0
            edges, nodes, graphs = [], [], []
            for rank, p in enumerate(parts):
                sample = getattr(p, name)
                nodes.append(sample.nodes + first_node)
                edges.append(sample.edge_index + first_row)
                graphs.append(sample.batch + rank * 6 // count)
                first_node += len(getattr(p, source).symbols)
                first_row += len(sample.nodes)
            expected = getattr(whole, name)
            assert torch.equal(torch.cat(nodes), expected.nodes)
            assert torch.equal(torch.cat(edges, dim=1), expected.edge_index)
            assert torch.equal(torch.cat(graphs), expected.batch)
            assert torch.equal(torch.cat([getattr(p, name).edge_type for p in parts]), expected.edge_type)


def test_lines_of_latex_are_unpaired_expressions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("x^2\n\n\\nonsense\na+b+c+d\n\\frac{1}{2}\n")
    found = UnpairedExpressions(str(path), max_symbols=4, seed=0, with_typeset=True)
    assert len(found) == 2
    assert "2 lines left out (line 3" in capsys.readouterr().err
    graph = found.batch(torch.tensor([1, 0]).numpy())
    assert graph.num_graphs == 2 and len(graph.symbols) == 5 and graph.boxes is None
    assert graph.typeset_boxes is not None
    path.write_text("\\nonsense\n")
    with pytest.raises(ValueError, match="no expression of at most 4 symbols"):
        UnpairedExpressions(str(path), 4, 0, False)
    with pytest.raises(ValueError, match="No such file"):
        UnpairedExpressions(str(tmp_path / "nowhere"), 4, 0, False)


class _Waiting(TorchDispatchMode):
    """Notes operations that would make the host wait for a GPU; on_host: tensors that are on the host even then."""

    def __init__(self, on_host: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.found: list[str] = []
        self.on_host = {tensor.data_ptr() for tensor in on_host}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if "index.Tensor" in str(func) or "index_put" in str(func) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if args and isinstance(args[0], torch.Tensor) and args[0].data_ptr() in self.on_host:
            return func(*args, **(kwargs or {}))
        if by_mask or any(name in str(func) for name in WAITING):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_never_waits_for_the_device(data: Path, tmp_path: Path) -> None:
    layout = LayoutTrainer(data, tmp_path / "layout", replace(LAYOUT, clip=1.0))
    image = ImageTrainer(data, tmp_path / "image", replace(IMAGE, keep_images="device", window=0))
    for trainer in (layout, image):
        batch = trainer.prepare(0)
        trainer.step(0, batch)  # Adam makes its state
        assert trainer.judging is not None
        adams = (trainer.generating.optimizer, trainer.judging.optimizer)
        with _Waiting([state["step"] for adam in adams for state in adam.state.values()]) as mode:
            trainer.step(1, batch)  # type: ignore[arg-type]
        assert not mode.found
    with _Waiting() as mode:
        torch.ones(3).nonzero()
        assert torch.ones(3).sum().item() == 3
        torch.ones(3)[torch.ones(3) > 0]
    assert len(mode.found) == 3, "the test itself notices them"
