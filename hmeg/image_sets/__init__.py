"""Images of expressions, wherever they are: what measures and recognisers read. :func:`open_images` looks and chooses.

a folder that `hmeg data crohme` prepared             labels and boxes                            prepared
a folder that `hmeg generate` wrote, in any format    labels; boxes in folders and shards         run_folder
a WebDataset shard, or a folder of them               labels and boxes where there is a .json     shards
Parquet files as Hugging Face's datasets have them    labels and boxes where it has their columns parquet
what CAN trains on: <split>_images.pkl                labels of <split>_labels.txt                can_pickle
what CoMER trains on: a zip archive                   labels of its caption.txt                   comer_zip
any folder of PNG, JPEG or BMP files                  no labels                                   opening

Images are read when asked for, but for a pickle's, which come all at once. Nothing is unpacked or run.
"""

from __future__ import annotations

from .image_set import Entry, ImageSet
from .labels import NoLatex, canonical_label
from .opening import open_images

__all__ = ["Entry", "ImageSet", "NoLatex", "canonical_label", "open_images"]
