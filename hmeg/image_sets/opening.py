"""Which form images are in, and so who reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .can_reader import PICKLE, open_can
from .comer_reader import open_comer
from .folder_reader import LABELS, open_run
from .image_files import is_image_name, read_file, read_image
from .image_set import Entry, ImageSet
from .labels import WithoutTokens
from .parquet_reader import open_parquet
from .prepared_reader import open_prepared
from .webdataset_reader import open_shards

FORMS = (
    "a folder made by `hmeg generate` or `hmeg data crohme`, WebDataset or Parquet shards (.tar, .parquet, or a "
    "folder of them), a CAN "
    f"pickle (*{PICKLE}) or a CoMER archive (.zip)"
)


def open_images(path: Path | str) -> ImageSet:
    """The images at ``path``; ``ValueError``, naming the place, where there are none or what is said is damaged.

    path  a file or a folder; of an archive with several splits one of them, as in ``data.zip/data/train``
    """
    path = Path(path)
    try:
        return _open_file(path) if path.is_file() else _open_folder(path)
    except OSError as error:
        raise ValueError(f"{error.filename or path}: {error.strerror or error}") from error


def _open_file(path: Path) -> ImageSet:
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        return open_can(path)
    if suffix == ".zip":
        return open_comer(path)
    if suffix == ".tar":
        return open_shards(path, [path])
    if suffix == ".parquet":
        return open_parquet(path, [path])
    known = ".pkl (CAN), .zip (CoMER), .tar (WebDataset) and .parquet (Hugging Face)"
    raise ValueError(f"{path}: no set of images; known files are {known}")


def _open_folder(path: Path) -> ImageSet:
    if not path.is_dir():
        for parent in path.parents:
            if parent.suffix.lower() == ".zip" and parent.is_file():
                return open_comer(parent, path.relative_to(parent).as_posix())
        raise ValueError(f"{path}: there is no such file or folder")
    if (path / "graphs.jsonl").is_file():
        return open_prepared(path)
    pickles, archives, shards = (sorted(path.glob(pattern)) for pattern in (f"*{PICKLE}", "*.zip", "*.tar"))
    if pickles:
        return open_can(_only(path, pickles))
    if archives:
        return open_comer(_only(path, archives))
    if shards:
        return open_shards(path, shards)
    if tables := sorted(path.glob("*.parquet")):
        return open_parquet(path, tables)
    if (path / LABELS).is_file():
        return open_run(path)
    images = sorted(file for file in path.iterdir() if is_image_name(file.name))
    if images:
        nothing = WithoutTokens(f"{path} is a folder of images without labels; labels come with {FORMS}")
        entries = [Entry(file.name, partial(read_image, file), nothing, partial(read_file, file)) for file in images]
        return ImageSet(path, "folder of images", entries)
    raise ValueError(f"{path}: no images found. It may be a folder of PNG, JPEG or BMP files, {FORMS}")


def _only(folder: Path, files: list[Path]) -> Path:
    if len(files) > 1:
        raise ValueError(
            f"{folder} holds several sets ({', '.join(file.name for file in files)}): give one of these files"
        )
    return files[0]
