"""triple_message in Triton: the fused kernel of the large product, and what the backward pass has around its products.

``product_kernel`` makes ReLU(W2 h + b2) of edges with h = ReLU(W1 [x_s ; e ; x_o] + b1) built on the fly, tile by tile,
from products that nodes and edges have in advance; neither h nor W2 h is ever in memory. A tile is EDGES edges by
COLUMNS outputs. For the part of the output that goes to subjects, edges are taken in the order of their subjects, for
the part that goes to objects in that of their objects: so a tile holds a few nodes, each in one piece or cut off by the
tile's ends, and adds up every piece by a product with ones and zeros. A node's piece has a row of its own: there are at
most as many pieces as nodes and tiles together, and that of node v in tile t is row v + t. ``pool_kernel`` adds a
node's pieces in the order of tiles. No atomics, and the same sums in the same order from run to run.

Sums are made in float32, in float64 for float64. Products of float16 and bfloat16 are exact before they are summed;
float32 is multiplied as PRECISION says, but summed over edges to float32's own precision in any case. WIDEN is for the
interpreter, which multiplies no bfloat16: factors are widened after they were rounded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import triton
import triton.language as tl

from .runtime import interpreted, kernel, precision

_PRODUCT_CONFIGS = [
    triton.Config({"COLUMNS": 64, "DEPTH": 32}, num_warps=4, num_stages=3),
    triton.Config({"COLUMNS": 128, "DEPTH": 32}, num_warps=8, num_stages=3),
    triton.Config({"COLUMNS": 128, "DEPTH": 64}, num_warps=8, num_stages=3),
    triton.Config({"COLUMNS": 256, "DEPTH": 32}, num_warps=8, num_stages=3),
]
# One each: what they fill they may also read, so trying several would add up several results.
_HIDDEN_CONFIGS = [triton.Config({"ROWS": 32}, num_warps=8)]
_COLLECT_CONFIGS = [triton.Config({"ROWS": 16}, num_warps=4)]
_GRAD_CONFIGS = [
    triton.Config({"ROWS": 32, "COLUMNS": 128}, num_warps=4),
    triton.Config({"ROWS": 16, "COLUMNS": 128}, num_warps=4),
    triton.Config({"ROWS": 16, "COLUMNS": 256}, num_warps=4),
]
_POOL_CONFIGS = [triton.Config({}, num_warps=4), triton.Config({}, num_warps=2)]

SLOTS = tl.constexpr(64)  # pieces that one product adds up: the fewest rows of Hopper's tensor-core instructions
WORD = tl.constexpr(32)  # signs in a word
_MOST_COLUMNS = 1024


@triton.jit
def _activations(projected, own, subject, object_, part, k, nodes, WIDTH: tl.constexpr, DEPTH: tl.constexpr,
                 TYPED: tl.constexpr):  # fmt: skip
    """ReLU(projected[0, subject] + own[part] + projected[1, object]), (rows, DEPTH), summed in float32 or float64.
    Columns k beyond WIDTH are 0. NaN falls through."""
    inside = (k < WIDTH)[None, :]
    of_subject = projected + subject[:, None] * WIDTH + k[None, :]
    of_object = projected + (nodes + object_)[:, None] * WIDTH + k[None, :]
    of_edge = own + part[:, None] * WIDTH + k[None, :]
    if WIDTH % DEPTH == 0:
        # Edges side by side share nodes and types: those come out of the L1 cache, which copies pass by unless told.
        a = tl.load(of_subject, cache_modifier=".ca")
        b = tl.load(of_edge, cache_modifier=".ca" if TYPED else "")
        c = tl.load(of_object, cache_modifier=".ca")
    else:
        a = tl.load(of_subject, mask=inside, other=0.0)
        b = tl.load(of_edge, mask=inside, other=0.0)
        c = tl.load(of_object, mask=inside, other=0.0)
    acc: tl.constexpr = tl.float64 if projected.dtype.element_ty == tl.float64 else tl.float32
    total = a.to(acc) + b.to(acc) + c.to(acc)
    return tl.where(total < 0.0, 0.0, total)


@triton.jit
def _listed(of_subjects, of_objects, positions, exists, for_object):
    """Items of one of two lists, 0 where there is none."""
    return tl.where(
        for_object,
        tl.load(of_objects + positions, mask=exists, other=0),
        tl.load(of_subjects + positions, mask=exists, other=0),
    )


@triton.jit
def _sign_words(positive, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(ROWS, COLUMNS) of 0 and 1 -> (ROWS, COLUMNS // 32) int32, the first column in the lowest bit."""
    bits = tl.reshape(positive.to(tl.int64), (ROWS, COLUMNS // WORD, WORD))
    return tl.sum(bits << tl.arange(0, WORD)[None, None, :].to(tl.int64), axis=2).to(tl.int32)


@triton.jit
def _store_sums(
    rows, summand, piece, node, exists, columns, width, WIDTH: tl.constexpr, element: tl.constexpr, acc: tl.constexpr
):
    """Sums of the rows of each piece, to the row of its node; piece and node (EDGES,), summand (EDGES, COLUMNS)."""
    count = tl.max(piece, axis=0) + 1
    # A product with zeros spreads what is not finite over the tile: such a tile adds piece by piece.
    finite = tl.max(tl.max(tl.where(tl.abs(summand.to(acc)) < float("inf"), 0, 1), axis=1), axis=0) == 0
    if finite:
        for base in range(0, count, SLOTS):
            slots = base + tl.arange(0, SLOTS)
            member = (piece[None, :] == slots[:, None]) & exists[None, :]
            # float32 as three products of TF32: as good as float32, for one factor is 0 or 1.
            exact: tl.constexpr = "tf32x3" if element == tl.float32 else "ieee"
            sums = tl.dot(member.to(summand.dtype), summand, input_precision=exact, out_dtype=acc)
            owner = tl.max(tl.where(member, node[None, :], -1), axis=1)
            stored = (owner >= 0)[:, None] & (columns < width)[None, :]
            tl.store(rows + owner[:, None] * WIDTH + columns[None, :], sums, mask=stored)
    else:
        for slot in range(0, count):
            member = (piece == slot) & exists
            sums = tl.sum(tl.where(member[:, None], summand.to(acc), 0.0), axis=0)
            owner = tl.max(tl.where(member, node, -1), axis=0)
            tl.store(rows + owner * WIDTH + columns, sums, mask=columns < width)


@kernel(_PRODUCT_CONFIGS, key=["WIDTH", "OUT", "EDGES", "RETURN_EDGES"])
@triton.jit(do_not_specialize=["edges", "nodes"])
def product_kernel(
    projected,
    own,
    edge_index,
    edge_type,
    subject_edges,
    object_edges,
    w2,
    b2,
    pieces,
    new_edges,
    signs,
    edges,
    nodes,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    TYPED: tl.constexpr,
    RETURN_EDGES: tl.constexpr,
    KEEP: tl.constexpr,
    WIDEN: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
    EDGES: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    element: tl.constexpr = w2.dtype.element_ty
    node_tiles: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    own_tiles: tl.constexpr = (OUT + COLUMNS - 1) // COLUMNS if RETURN_EDGES else 0
    node_words: tl.constexpr = (WIDTH + WORD - 1) // WORD
    own_words: tl.constexpr = (OUT + WORD - 1) // WORD if RETURN_EDGES else 0
    # Programs side by side share a tile's edges and take all of W2 in turn, which stays in the L2 cache.
    tile = (tl.program_id(0) // (2 * node_tiles + own_tiles)).to(tl.int64)
    column_tile = tl.program_id(0) % (2 * node_tiles + own_tiles)
    for_edges = column_tile >= 2 * node_tiles
    for_object = (column_tile >= node_tiles) & (column_tile < 2 * node_tiles)
    first_tile = tl.where(for_edges, 2 * node_tiles, tl.where(for_object, node_tiles, 0))
    columns = (column_tile - first_tile) * COLUMNS + tl.arange(0, COLUMNS)
    part_width = tl.where(for_edges, OUT, WIDTH)
    # Columns beyond a part's end and rows beyond the last edge are computed from what is there, and not stored.
    w2_rows = tl.where(for_edges, WIDTH, tl.where(for_object, WIDTH + OUT, 0)) + tl.minimum(columns, part_width - 1)

    positions = tile * EDGES + tl.arange(0, EDGES)
    exists = positions < edges
    nodes_wide = tl.zeros((), dtype=tl.int64) + nodes
    edge = _listed(subject_edges, object_edges, positions, exists, for_object)
    subject = tl.load(edge_index + edge)
    object_ = tl.load(edge_index + edges + edge)
    part = tl.load(edge_type + edge) if TYPED else edge

    result = tl.zeros((EDGES, COLUMNS), dtype=acc)
    for begin in range(0, WIDTH, DEPTH):
        k = begin + tl.arange(0, DEPTH)
        hidden = _activations(projected, own, subject, object_, part, k, nodes_wide, WIDTH, DEPTH, TYPED)
        hidden = hidden.to(element)
        weights = w2 + w2_rows[None, :] * WIDTH + k[:, None]
        if WIDTH % DEPTH == 0:
            w = tl.load(weights)
        else:
            w = tl.load(weights, mask=(k < WIDTH)[:, None], other=0.0)
        if WIDEN:
            hidden, w = hidden.to(tl.float32), w.to(tl.float32)
        result = tl.dot(hidden, w, result, input_precision=PRECISION, out_dtype=acc)
    result += tl.load(b2 + w2_rows).to(acc)[None, :]
    inside = exists[:, None] & (columns < part_width)[None, :]
    if KEEP:
        words = _sign_words((result > 0.0) & inside, EDGES, COLUMNS)
        first_word = tl.where(for_edges, 2 * node_words, tl.where(for_object, node_words, 0))
        word = (column_tile - first_tile) * (COLUMNS // WORD) + tl.arange(0, COLUMNS // WORD)
        targets = signs + edge[:, None] * (2 * node_words + own_words) + (first_word + word)[None, :]
        tl.store(targets, words, mask=exists[:, None] & (word < (part_width + WORD - 1) // WORD)[None, :])
    result = tl.where(result < 0.0, 0.0, result)
    if for_edges:
        tl.store(new_edges + edge[:, None] * OUT + columns[None, :], result.to(element), mask=inside)
    else:
        # Number the pieces: a node's first edge in the tile begins one.
        before = tl.maximum(positions - 1, tile * EDGES)
        edge_before = _listed(subject_edges, object_edges, before, exists, for_object)
        role = tl.where(for_object, edges, 0)
        node = tl.load(edge_index + role + edge)
        begins = exists & (node != tl.load(edge_index + role + edge_before))
        piece = tl.cumsum(begins.to(tl.int32), axis=0)
        rows = pieces + (tl.where(for_object, nodes_wide + tl.cdiv(edges, EDGES), 0) + tile) * WIDTH
        summand = tl.where(inside, result, 0.0).to(element)
        if WIDEN:
            summand = summand.to(tl.float32)
        _store_sums(rows, summand, piece, node, exists, columns, part_width, WIDTH, element, acc)


@triton.jit
def _pieces_of(rows, pieces, node, columns, inside, WIDTH: tl.constexpr, EDGES: tl.constexpr, COLUMNS: tl.constexpr,
               acc: tl.constexpr):  # fmt: skip
    begin = tl.load(rows + node)
    end = tl.load(rows + node + 1)
    total = tl.zeros((COLUMNS,), dtype=acc)
    for tile in range(begin // EDGES, tl.where(end > begin, (end - 1) // EDGES + 1, begin // EDGES)):
        total += tl.load(pieces + (node + tile) * WIDTH + columns, mask=inside, other=0.0)
    return total, end - begin


@kernel(_POOL_CONFIGS, key=["WIDTH"])
@triton.jit(do_not_specialize=["edges", "nodes"])
def pool_kernel(
    pieces,
    subject_rows,
    object_rows,
    pooled,
    edges,
    nodes,
    WIDTH: tl.constexpr,
    EDGES: tl.constexpr,
    COLUMNS: tl.constexpr,
    AVERAGE: tl.constexpr,
    WIDE: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    blocks: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    node = (tl.program_id(0) // blocks).to(tl.int64)
    columns = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < WIDTH
    as_object = pieces + (nodes + tl.cdiv(edges, EDGES)).to(tl.int64) * WIDTH
    total, degree = _pieces_of(subject_rows, pieces, node, columns, inside, WIDTH, EDGES, COLUMNS, acc)
    more, other_degree = _pieces_of(object_rows, as_object, node, columns, inside, WIDTH, EDGES, COLUMNS, acc)
    total += more
    if AVERAGE:
        total = total / tl.maximum(degree + other_degree, 1).to(acc)
    tl.store(pooled + node * WIDTH + columns, total.to(pooled.dtype.element_ty), mask=inside)


@kernel(_HIDDEN_CONFIGS, key=[])
@triton.jit(do_not_specialize=["first", "count", "edges", "nodes"])
def hidden_kernel(
    projected,
    own,
    edge_index,
    edge_type,
    hidden,
    first,
    count,
    edges,
    nodes,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    TYPED: tl.constexpr,
    ROWS: tl.constexpr,
):
    blocks: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    rows = (tl.program_id(0) // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    exists = rows < count
    edge = first + tl.where(exists, rows, 0)
    subject = tl.load(edge_index + edge)
    object_ = tl.load(edge_index + edges + edge)
    part = tl.load(edge_type + edge) if TYPED else tl.where(exists, rows, 0)
    nodes_wide = tl.zeros((), dtype=tl.int64) + nodes
    result = _activations(projected, own, subject, object_, part, columns, nodes_wide, WIDTH, COLUMNS, TYPED)
    inside = exists[:, None] & (columns < WIDTH)[None, :]
    tl.store(hidden + rows[:, None] * WIDTH + columns[None, :], result.to(hidden.dtype.element_ty), mask=inside)


@kernel(_GRAD_CONFIGS, key=["WIDTH", "OUT"])
@triton.jit(do_not_specialize=["first", "count", "edges"])
def grad_products_kernel(
    signs,
    grad_pooled,
    grad_edges,
    edge_index,
    grad_products,
    first,
    count,
    edges,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    node_tiles: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    own_tiles: tl.constexpr = (OUT + COLUMNS - 1) // COLUMNS
    node_words: tl.constexpr = (WIDTH + WORD - 1) // WORD
    own_words: tl.constexpr = (OUT + WORD - 1) // WORD
    rows = (tl.program_id(0) // (2 * node_tiles + own_tiles)).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column_tile = tl.program_id(0) % (2 * node_tiles + own_tiles)
    for_edges = column_tile >= 2 * node_tiles
    for_object = (column_tile >= node_tiles) & (column_tile < 2 * node_tiles)
    first_tile = tl.where(for_edges, 2 * node_tiles, tl.where(for_object, node_tiles, 0))
    columns = (column_tile - first_tile) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (rows < count)[:, None] & (columns < tl.where(for_edges, OUT, WIDTH))[None, :]
    edge = first + rows
    first_word = tl.where(for_edges, 2 * node_words, tl.where(for_object, node_words, 0))
    words = signs + edge[:, None] * (2 * node_words + own_words) + (first_word + columns // WORD)[None, :]
    positive = inside & (((tl.load(words, mask=inside, other=0) >> (columns % WORD)[None, :]) & 1) != 0)
    if for_edges:
        grad = tl.load(grad_edges + edge[:, None] * OUT + columns[None, :], mask=positive, other=0.0)
    else:
        node = tl.load(edge_index + tl.where(for_object, edges, 0) + edge, mask=rows < count, other=0)
        grad = tl.load(grad_pooled + node[:, None] * WIDTH + columns[None, :], mask=positive, other=0.0)
    first_column = tl.where(for_edges, WIDTH, tl.where(for_object, WIDTH + OUT, 0))
    targets = grad_products + rows[:, None] * (2 * WIDTH + OUT) + (first_column + columns)[None, :]
    tl.store(targets, grad, mask=inside)


@kernel(_COLLECT_CONFIGS, key=[])
@triton.jit(do_not_specialize=["first", "count", "edges", "nodes"])
def collect_kernel(
    values,
    subject_rows,
    subject_edges,
    object_rows,
    object_edges,
    carried,
    collected,
    first,
    count,
    edges,
    nodes,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    blocks: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    owner = (tl.program_id(0) // blocks).to(tl.int64)
    columns = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    as_object = owner >= nodes
    node = tl.where(as_object, owner - nodes, owner)
    begin = _listed(subject_rows, object_rows, node, node >= 0, as_object)
    end = _listed(subject_rows, object_rows, node + 1, node >= 0, as_object)
    at = owner * WIDTH + columns
    total = tl.zeros((COLUMNS,), dtype=acc)
    if first > 0:
        total += tl.load(carried + at, mask=columns < WIDTH, other=0.0)
    for base in range(begin, end, ROWS):
        positions = base + tl.arange(0, ROWS)
        listed = positions < end
        edge = _listed(subject_edges, object_edges, positions, listed, as_object)
        here = listed & (edge >= first) & (edge < first + count)
        row = tl.where(here, edge - first, 0)
        inside = here[:, None] & (columns < WIDTH)[None, :]
        total += tl.sum(
            tl.load(values + row[:, None] * WIDTH + columns[None, :], mask=inside, other=0.0).to(acc), axis=0
        )
    if first + count < edges:
        tl.store(carried + at, total, mask=columns < WIDTH)
    else:
        tl.store(collected + at, total.to(collected.dtype.element_ty), mask=columns < WIDTH)


def _block(width: int, most: int) -> int:
    return min(max(triton.next_power_of_2(width), 16), most)


def _pointer(tensor: Tensor | None, instead: Tensor) -> Tensor:
    """A kernel's argument must be a tensor even where it is not read."""
    return instead if tensor is None else tensor


def edges_of_tile(edges: int, dtype: torch.dtype) -> int:
    """Edges of a tile of the fused kernel: 128, or 64 where there would be few tiles or numbers are long."""
    return 64 if edges < 4096 or dtype == torch.float64 else 128


def triple_message_pieces(edges: int, nodes: int, dtype: torch.dtype) -> int:
    """Rows of ``pieces``, in which the fused kernel leaves its sums."""
    return 2 * (nodes + triton.cdiv(edges, edges_of_tile(edges, dtype)))


def triple_message_forward(
    projected: Tensor, own: Tensor, edge_index: Tensor, edge_type: Tensor | None, lists: tuple[Tensor, ...],
    w2: Tensor, b2: Tensor, pieces: Tensor, pooled: Tensor, new_edges: Tensor | None, signs: Tensor | None,
    average: bool, allow_tf32: bool,
) -> None:  # fmt: skip
    """Fills pooled (V, K), and unless None new_edges (E, C') and signs (E, words); all contiguous.

    projected (2, V, K), own (R, K) by type or (E, K), edge_index (2, E), lists of EdgeStructure (subject_rows,
    subject_edges, object_rows, object_edges), w2 (2 K + C', K), b2; pieces (triple_message_pieces, K) in float32
    (float64 for float64) for the kernels' own use. float32 is multiplied in TF32 if ``allow_tf32``.
    """
    (nodes, width), edges = pooled.shape, edge_index.shape[1]
    out = len(w2) - 2 * width
    subject_rows, subject_edges, object_rows, object_edges = lists
    tile = edges_of_tile(edges, w2.dtype)
    wide = w2.dtype == torch.float64

    def grid(meta: dict[str, Any]) -> tuple[int]:
        own_tiles = 0 if new_edges is None else triton.cdiv(out, meta["COLUMNS"])
        return (triton.cdiv(edges, tile) * (2 * triton.cdiv(width, meta["COLUMNS"]) + own_tiles),)

    if edges:
        product_kernel[grid](
            projected, own, edge_index, _pointer(edge_type, edge_index), subject_edges, object_edges, w2, b2, pieces,
            _pointer(new_edges, w2), _pointer(signs, edge_index), edges, nodes, WIDTH=width, OUT=out,
            TYPED=edge_type is not None, RETURN_EDGES=new_edges is not None, KEEP=signs is not None,
            PRECISION="tf32" if allow_tf32 and w2.dtype == torch.float32 else precision(w2.dtype), WIDE=wide,
            WIDEN=interpreted() and w2.dtype == torch.bfloat16, EDGES=tile,
        )  # fmt: skip
    if nodes:
        columns = _block(width, _MOST_COLUMNS)
        pool_kernel[(nodes * triton.cdiv(width, columns),)](
            pieces, subject_rows, object_rows, pooled, edges, nodes, WIDTH=width, EDGES=tile, COLUMNS=columns,
            AVERAGE=average, WIDE=wide,
        )  # fmt: skip


def triple_message_hidden(
    projected: Tensor, table: Tensor | None, edge_index: Tensor, edge_type: Tensor | None, hidden: Tensor, first: int
) -> None:
    """hidden (count, K) := ReLU(projected[0, subject] + own + projected[1, object]) of the edges from ``first`` on;
    own: the row of ``table`` that edge_type names, or without a table what ``hidden`` held."""
    count, width = hidden.shape
    columns = _block(width, 256)
    if count:
        hidden_kernel[lambda meta: (triton.cdiv(count, meta["ROWS"]) * triton.cdiv(width, columns),)](
            projected, _pointer(table, hidden), edge_index, _pointer(edge_type, edge_index), hidden, first, count,
            edge_index.shape[1], projected.shape[1], WIDTH=width, COLUMNS=columns, TYPED=edge_type is not None,
        )  # fmt: skip


def triple_message_grad_products(
    signs: Tensor, grad_pooled: Tensor, grad_edges: Tensor, edge_index: Tensor, grad_products: Tensor, first: int
) -> None:
    """grad_products (count, 2 K + own) of the edges from ``first`` on: grad_pooled (V, K) of subject and of object, and
    grad_edges (E, own) between them, where ``signs`` says that ReLU lets them through."""
    (count, columns), width = grad_products.shape, grad_pooled.shape[1]
    own = columns - 2 * width
    if count:
        grad_products_kernel[
            lambda meta: (
                triton.cdiv(count, meta["ROWS"])
                * (2 * triton.cdiv(width, meta["COLUMNS"]) + triton.cdiv(own, meta["COLUMNS"])),
            )
        ](signs, grad_pooled, grad_edges, edge_index, grad_products, first, count, edge_index.shape[1], WIDTH=width,
          OUT=own)  # fmt: skip


def triple_message_collect(
    rows: Tensor, lists: tuple[Tensor, ...], carried: Tensor, collected: Tensor, first: int
) -> None:
    """collected (2, V, K) := sums of rows (count, K) over each node's edges as subject and as object, ``rows`` being
    the edges from ``first`` on; ``carried``, of the same shape in float32 (float64 for float64), takes sums from one
    range of edges to the next."""
    (count, width), nodes = rows.shape, collected.shape[1]
    columns = _block(width, _MOST_COLUMNS)
    if nodes:
        collect_kernel[(2 * nodes * triton.cdiv(width, columns),)](
            rows, *lists, carried, collected, first, count, len(lists[1]), nodes, WIDTH=width, COLUMNS=columns,
            WIDE=rows.dtype == torch.float64,
        )  # fmt: skip
