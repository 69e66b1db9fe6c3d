"""The closed vocabulary: 101 CROHME symbols, 6 spatial relations, 13 edge types.

Class ids follow the published data layout: symbol id 0 is the reserved ``__image__`` class (it never
occurs in a graph), symbols are 1..101 in sorted order of their labels. Edge type 0 is ``none``; a
forward relation has an odd id and its inverse the next even one.
"""

from __future__ import annotations

from hmeg.quoting import quoted

IMAGE_LABEL = "__image__"

_LABELS = r"""
    ! ( ) + , - . / 0 1 2 3 4 5 6 7 8 9 = A B C E F G H I L M N P R S T V X Y [ ]
    \Delta \alpha \beta \cos \div \exists \forall \gamma \geq \gt \in \infty \int \lambda \ldots
    \leq \lim \log \lt \mu \neq \phi \pi \pm \prime \rightarrow \sigma \sin \sqrt \sum \tan \theta
    \times \{ \} a b c d e f g h i j k l m n o p q r s t u v w x y z |
"""
# Sorted, so that an id is a function of the label set alone.
SYMBOL_LABELS: tuple[str, ...] = tuple(sorted(_LABELS.split()))
NUM_SYMBOL_CLASSES = len(SYMBOL_LABELS) + 1  # 102: the reserved class 0 included

RELATIONS: tuple[str, ...] = ("Right", "Sub", "Sup", "Above", "Below", "Inside")
NUM_EDGE_TYPES = 2 * len(RELATIONS) + 1  # 13
NO_RELATION = 0

_SYMBOL_ID = {label: i for i, label in enumerate(SYMBOL_LABELS, start=1)}
_RELATION_TYPE = {name: 2 * i + 1 for i, name in enumerate(RELATIONS)}


def is_symbol(label: str) -> bool:
    """Whether ``label`` is one of the 101 symbols."""
    return label in _SYMBOL_ID


def symbol_id(label: str) -> int:
    """Class id (1..101) of a symbol label; ``ValueError`` if the label is not in the vocabulary."""
    try:
        return _SYMBOL_ID[label]
    except KeyError:
        raise ValueError(f"symbol {quoted(label)} is not one of the {len(SYMBOL_LABELS)} known symbols") from None


def symbol_label(class_id: int) -> str:
    """Label of a symbol class id (1..101); ``ValueError`` outside that range."""
    if not 1 <= class_id <= len(SYMBOL_LABELS):
        raise ValueError(f"symbol id {class_id} is outside 1..{len(SYMBOL_LABELS)}")
    return SYMBOL_LABELS[class_id - 1]


def relation_type(name: str) -> int:
    """Edge type (odd, 1..11) of a forward relation; its inverse is one more."""
    try:
        return _RELATION_TYPE[name]
    except KeyError:
        raise ValueError(f"relation {quoted(name)} is not one of {', '.join(RELATIONS)}") from None


def relation_name(edge_type: int) -> str:
    """Name of an edge type (0..12): ``none``, a relation, or a relation followed by ``^-1``."""
    if not 0 <= edge_type < NUM_EDGE_TYPES:
        raise ValueError(f"edge type {edge_type} is outside 0..{NUM_EDGE_TYPES - 1}")
    if edge_type == NO_RELATION:
        return "none"
    name = RELATIONS[(edge_type - 1) // 2]
    return name if edge_type % 2 else name + "^-1"
