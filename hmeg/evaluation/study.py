"""The augmentation study: does a recogniser read better when generated images join the real ones it learns from?

For every seed, one CAN is trained on the real images and one on real and generated together: the same network, the same
number of steps, the same batch size, the same warm-up. Both read the same validation set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmeg.files import write_whole
from hmeg.recognition.settings import CanTrainingConfig
from hmeg.training.settings import settings_of

REAL, AUGMENTED = "real", "real + generated"
SIZES: dict[str, dict[str, Any]] = {
    # a network for two cores: learns something in minutes, reads little
    "tiny": {
        "growth": 8, "layers": 4, "hidden": 64, "attention": 64, "counting": 32, "dropout": 0.1, "encoder_dropout": 0.0,
        "trim": 8, "shrink": 2,
    },
    "full": {},  # as published
}  # fmt: skip
_RUNS = "study"
_WARMUP_SHARE = 0.05  # of all steps, at most; and at most a pass over the real images, as published


@dataclass(frozen=True)
class StudySettings:
    """What is compared.

    real, generated, validation  labelled images, in any form that ``hmeg train can`` takes
    seeds   one pair of runs each
    config  of every run; its seed is replaced
    limit   validation expressions that are read; 0: all
    """

    real: str
    generated: str
    validation: str
    seeds: tuple[int, ...]
    config: CanTrainingConfig
    limit: int = 0

    def places(self, arm: str) -> list[str]:
        """What an arm learns from."""
        return [self.real] if arm == REAL else [self.real, self.generated]


def run_study(
    settings: StudySettings, out: Path, tell: Callable[[str], object] = lambda text: None
) -> dict[str, list[dict[str, Any]]]:
    """Trains and evaluates every run that is not finished yet; results by arm, a seed each.

    Every result is what :func:`hmeg.recognition.evaluate_recognition` returns, with ``seed`` and
    ``training_images``. Stopped, and called again with the same arguments, it goes on where it was. ``ValueError`` for
    data that cannot be read, and where ``out`` holds runs of other data or settings.
    """
    from hmeg.recognition import evaluate_recognition, open_data, train_can
    from hmeg.recognition.words import default_words, read_words

    config = settings.config
    words = read_words(Path(config.words)) if config.words else default_words()
    counts, digests = {}, {}
    for arm in (REAL, AUGMENTED):
        data = open_data(settings.places(arm))
        data.leave_out(words, config.max_symbols)
        counts[arm], digests[arm] = len(data), [data.digest, data.images_digest]
    validation = open_data([settings.validation])
    digests["validation"] = [validation.digest, validation.images_digest]
    warmup = min(_WARMUP_SHARE * config.steps, max(1, counts[REAL] // config.batch_size))
    results: dict[str, list[dict[str, Any]]] = {REAL: [], AUGMENTED: []}
    runs = [(seed, arm) for seed in settings.seeds for arm in (REAL, AUGMENTED)]
    for number, (seed, arm) in enumerate(runs, 1):
        # The configuration counts warm-up in passes over the data, of which the arms have different amounts.
        per_pass = max(1, counts[arm] // config.batch_size)
        of_run = replace(config, seed=seed, warmup_epochs=warmup / per_pass)
        folder = out / _RUNS / f"{arm.replace(' ', '')}-seed{seed}"
        fingerprint = _fingerprint(of_run, [*digests[arm], *digests["validation"], str(settings.limit)])
        found = _finished(folder, fingerprint)
        if found is None:
            tell(f"run {number} of {len(runs)}: {arm}, seed {seed}, {counts[arm]} images, {config.steps} steps")
            checkpoint = train_can(settings.places(arm), folder, of_run, resume=(folder / "config.yaml").exists())
            tell(f"run {number} of {len(runs)}: reading the validation set")
            found = evaluate_recognition(
                checkpoint, settings.validation, config.device, limit=settings.limit, worst=folder / "worst"
            )
            found = {**found, "seed": seed, "training_images": counts[arm]}
            text = json.dumps({"fingerprint": fingerprint, "result": found}, indent=1)
            write_whole(folder / "result.json", (text + "\n").encode())
        else:
            tell(f"run {number} of {len(runs)}: {arm}, seed {seed}: finished before")
        results[arm].append(found)
    return results


def _fingerprint(config: CanTrainingConfig, parts: Sequence[str]) -> str:
    settings: Mapping[str, Any] = {k: v for k, v in settings_of(config).items() if k not in ("device", "keep")}
    return hashlib.sha256(json.dumps([settings, list(parts)], sort_keys=True, default=str).encode()).hexdigest()


def _finished(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    path = folder / "result.json"
    try:
        found = json.loads(path.read_bytes())
        made_of, result = found["fingerprint"], dict(found["result"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, and the run is evaluated again") from None
    if made_of != fingerprint:
        raise ValueError(f"{path} comes from other data or settings; choose another --out or remove {folder}")
    return result
