"""Less-is-More sampling: which edges and symbols a sub-graph keeps."""

from __future__ import annotations

import torch

from hmeg.graph import Relation, SymbolGraph
from hmeg.model.graph_batch import GraphBatch
from hmeg.training.subgraphs import MAX_UNRELATED, sample_subgraphs


def chain(length: int) -> SymbolGraph:
    """A row of symbols, each to the right of the one before."""
    return SymbolGraph(("x",) * length, tuple(Relation(i, i + 1, "Right") for i in range(length - 1)))


GRAPHS = GraphBatch.from_graphs([chain(1), chain(2), chain(9), chain(30)])


def test_rows_and_types_agree_with_the_whole_graph() -> None:
    for seed in range(20):
        part = sample_subgraphs(GRAPHS, torch.Generator().manual_seed(seed))
        assert torch.equal(part.batch, GRAPHS.batch[part.nodes])
        assert torch.equal(part.nodes, part.nodes.unique())
        whole = {(int(s), int(o)): int(t) for s, o, t in zip(*GRAPHS.edge_index, GRAPHS.edge_type, strict=True)}
        for s, o, t in zip(*part.nodes[part.edge_index], part.edge_type, strict=True):
            assert whole[int(s), int(o)] == int(t)


def test_one_centre_an_expression_with_all_its_relations_and_few_others() -> None:
    for seed in range(40):
        part = sample_subgraphs(GRAPHS, torch.Generator().manual_seed(seed))
        subject, object_ = part.nodes[part.edge_index]
        for g in range(GRAPHS.num_graphs):
            inside = GRAPHS.batch[subject] == g
            nodes = set(part.nodes[part.batch == g].tolist())
            related = inside & (part.edge_type != 0)
            unrelated = inside & (part.edge_type == 0)
            centres = nodes & set(object_[unrelated].tolist()) if unrelated.any() else nodes
            assert nodes, "every expression keeps a symbol"
            assert unrelated.any() or len(nodes) <= 3
            candidates = []
            for centre in centres:
                whole = (GRAPHS.edge_index == centre).any(0) & (GRAPHS.edge_type != 0)
                kept = related & ((subject == centre) | (object_ == centre))
                candidates.append(int(kept.sum()) == int(whole.sum()) == int(related.sum()))
            assert any(candidates), "all related edges of the centre are kept, and no other related ones"
            size = int((GRAPHS.batch == g).sum())
            if size == 30:
                assert int(unrelated.sum()) == MAX_UNRELATED
                assert len(set(object_[unrelated].tolist())) == 1
            touched = set(subject[inside].tolist()) | set(object_[inside].tolist())
            assert nodes == touched or (not touched and len(nodes) == 1)


def test_every_symbol_becomes_the_centre_at_times() -> None:
    seen = set()
    for seed in range(200):
        part = sample_subgraphs(GRAPHS, torch.Generator().manual_seed(seed))
        inside = part.batch == 2
        seen.update(part.nodes[inside].tolist())
    assert seen == set(range(3, 12))


def test_the_same_generator_state_gives_the_same_sample() -> None:
    first, second = (sample_subgraphs(GRAPHS, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first.nodes, second.nodes) and torch.equal(first.edge_index, second.edge_index)
