"""What tests of the recogniser share: a tiny network, and images that it learns in seconds."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hmeg.recognition.config import CanConfig
from hmeg.recognition.settings import CanTrainingConfig

LABELS = ("1", "x + 1", "a = 2", "x ^ { 2 }", "1 + 1", "a + x", "2 x", "= 1 a 2")
TINY = CanTrainingConfig(
    device="cpu",
    steps=4,
    batch_size=4,
    growth=6,
    layers=2,
    hidden=24,
    attention=24,
    counting=16,
    dropout=0.0,
    encoder_dropout=0.0,
    checkpoint_every=2,
    warmup_epochs=0.0,
)


def tiny_config(words: int) -> CanConfig:
    return TINY.model_config(words)


def drawn(label: str, size: tuple[int, int] = (48, 96)) -> np.ndarray:
    """A label's tokens in print, dark on light: (H, W) uint8."""
    image = Image.new("L", (size[1], size[0]), 255)
    draw, font, x = ImageDraw.Draw(image), ImageFont.load_default(22), 6
    raised = False
    for token in label.split():
        if token in "^{}":
            raised = token != "}"
            continue
        draw.text((x, 4 if raised else 14), token, fill=0, font=font)
        x += 18
    return np.asarray(image)


def write_run(folder: Path, labels: tuple[str, ...] = LABELS, size: tuple[int, int] = (48, 96)) -> Path:
    """A folder as ``hmeg generate`` writes it, but for what is not read here."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, label in enumerate(labels):
        Image.fromarray(drawn(label, size)).save(folder / f"{number:06d}.png")
        lines.append(json.dumps({"image": f"{number:06d}.png", "latex": label, "tokens": label.split()}))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_can(folder: Path, labels: tuple[str, ...] = LABELS, protocol: int = 4, split: str = "train") -> Path:
    """The same as CAN's files."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {f"e{number}": drawn(label) for number, label in enumerate(labels)}
    (folder / f"{split}_images.pkl").write_bytes(pickle.dumps(images, protocol=protocol))
    lines = [f"e{number}\t{label}\n" for number, label in enumerate(labels)]
    (folder / f"{split}_labels.txt").write_text("".join(lines))
    return folder
