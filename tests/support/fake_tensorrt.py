"""A stand-in for TensorRT's Python module, of either generation, where there is no GPU.

It has only what hmeg calls, under the names, signatures and return values of the published API (10.13's stubs, 11.4's
bindings), and lacks what that generation lacks, so that a call of something removed fails as it would there. An
"engine" is JSON. Running one reads and writes memory at the addresses that were set, as the real one does: whoever
passes a wrong address or shape gets wrong images or a crash. What it cannot show is what TensorRT makes of a network.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

# (inputs by name, float32) -> outputs by name
Compute = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass
class Network:
    """What the parser finds in a file: (name, type, shape with -1) of inputs and outputs, and what it computes."""

    inputs: list[tuple[str, str, tuple[int, ...]]]
    outputs: list[tuple[str, str, tuple[int, ...]]]
    compute: Compute
    errors: list[str] = field(default_factory=list)  # of the parser
    failure: str | None = None  # of the builder


class Dims:
    """Not a tuple, and not iterable by tuple()'s rules of typing: length and items, as the real one."""

    def __init__(self, shape: list[int]) -> None:
        self._shape = list(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, i: int) -> int:
        return self._shape[i]


class _Logger:
    class Severity:
        pass

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = (f"severity {i}" for i in range(5))

    def __init__(self) -> None:
        self.is_made = True  # pybind's classes must have their __init__ called


def fake_tensorrt(version: str, network: Network) -> ModuleType:
    """The module ``tensorrt`` of that version, whose parser reads ``network`` from any file.

    ``module.calls`` lists what was called, with arguments. ``module.cache_of``: content of timing caches that it takes.
    """
    major = int(version.split(".")[0])
    calls: list[tuple[Any, ...]] = []
    trt: Any = ModuleType("tensorrt")
    trt.__version__, trt.calls, trt.cache_of = version, calls, f"timings {version}".encode()
    trt.ILogger, trt.Dims = _Logger, Dims
    trt.TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    if major == 10:
        trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH = 0
        trt.BuilderFlag = SimpleNamespace(TF32="TF32", FP16="FP16", INT8="INT8", BF16="BF16")
    else:
        trt.BuilderFlag = SimpleNamespace(TF32="TF32")

    def tensor(name: str, dtype: str, shape: tuple[int, ...]) -> SimpleNamespace:
        return SimpleNamespace(name=name, dtype=SimpleNamespace(name=dtype), shape=Dims(list(shape)))

    class OnnxParser:
        def __init__(self, definition: Any, logger: _Logger) -> None:
            assert logger.is_made

        def parse_from_file(self, model: str) -> bool:
            calls.append(("parse_from_file", model))
            return not network.errors

        @property
        def num_errors(self) -> int:
            return len(network.errors)

        def get_error(self, index: int) -> SimpleNamespace:
            return SimpleNamespace(desc=lambda: network.errors[index])

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, list[list[int]]] = {}

        def set_shape(self, input: str, min: Dims, opt: Dims, max: Dims) -> None:
            self.shapes[input] = [list(dims) for dims in (min, opt, max)]

    class Config:
        def __init__(self) -> None:
            self.profiles: list[Profile] = []
            self.flags = {"TF32"}
            self.cache: bytes | None = None

        def clear_flag(self, flag: str) -> None:
            self.flags.discard(flag)

        def add_optimization_profile(self, profile: Profile) -> int:
            assert profile.shapes.keys() == {name for name, _, _ in network.inputs}
            self.profiles.append(profile)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> bytes:
            return serialized_timing_cache

        def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
            assert ignore_mismatch is False
            calls.append(("set_timing_cache", cache))
            if cache not in (b"", trt.cache_of):
                return False
            self.cache = cache
            return True

        def get_timing_cache(self) -> SimpleNamespace:
            return SimpleNamespace(serialize=lambda: bytearray(trt.cache_of))

    class Builder:
        def __init__(self, logger: _Logger) -> None:
            assert logger.is_made
            self._logger = logger

        def create_network(self, flags: int = 0) -> SimpleNamespace:
            calls.append(("create_network", flags))
            inputs, outputs = ([tensor(*of) for of in side] for side in (network.inputs, network.outputs))
            return SimpleNamespace(
                num_inputs=len(inputs),
                num_outputs=len(outputs),
                get_input=inputs.__getitem__,
                get_output=outputs.__getitem__,
            )

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, definition: Any, config: Config) -> bytearray | None:
            calls.append(("build", sorted(config.flags), [profile.shapes for profile in config.profiles]))
            if network.failure is not None:
                self._logger.log(_Logger.ERROR, network.failure)
                return None
            self._logger.log(_Logger.INFO, "not for people")
            self._logger.log(_Logger.WARNING, "a weight is subnormal")
            described = {
                "version": version,
                "inputs": network.inputs,
                "outputs": network.outputs,
                "profiles": [profile.shapes for profile in config.profiles],
            }
            return bytearray(json.dumps(described).encode())

    class Context:
        def __init__(self, engine: Engine) -> None:
            self._engine = engine
            self._profile = 0
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            calls.append(("set_optimization_profile_async", profile_index, stream_handle))
            self._profile = profile_index
            return profile_index < len(self._engine.described["profiles"])

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            smallest, _, largest = self._engine.described["profiles"][self._profile][name]
            self._shapes[name] = shape
            within = zip(smallest, shape, largest, strict=True)
            return all(low <= side <= high for low, side, high in within)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return memory % 64 == 0  # as torch aligns on the CPU; TensorRT asks for 256, and torch gives 512 on a GPU

        def execute_async_v3(self, stream_handle: int) -> bool:
            described = self._engine.described
            names = {name for name, _, _ in (*described["inputs"], *described["outputs"])}
            if self._addresses.keys() != names:
                return False
            batch = next(iter(self._shapes.values()))[0]
            calls.append(("execute_async_v3", self._profile, batch, stream_handle))
            inputs = {name: _at(self._addresses[name], self._shapes[name]) for name, _, _ in described["inputs"]}
            images = network.compute({name: array.copy() for name, array in inputs.items()})
            for name, _, shape in described["outputs"]:
                _at(self._addresses[name], (batch, *shape[1:]))[...] = images[name]
            return True

    class Engine:
        def __init__(self, described: dict[str, Any]) -> None:
            self.described = described
            self._tensors = [(*of, "input") for of in described["inputs"]]
            self._tensors += [(*of, "output") for of in described["outputs"]]
            self._by_name = {of[0]: of for of in self._tensors}
            self.num_io_tensors = len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            name: str = self._tensors[index][0]
            return name

        def get_tensor_mode(self, name: str) -> str:
            mode: str = self._by_name[name][3]
            return mode

        def get_tensor_dtype(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(name=self._by_name[name][1])

        def get_tensor_shape(self, name: str) -> Dims:
            return Dims(list(self._by_name[name][2]))

        def create_execution_context(self) -> Context:
            return Context(self)

    class Runtime:
        def __init__(self, logger: _Logger) -> None:
            assert logger.is_made
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
            calls.append(("deserialize", len(serialized_engine)))
            try:
                return Engine(json.loads(serialized_engine))
            except ValueError:
                self._logger.log(_Logger.ERROR, "Magic tag does not match")
                return None

    trt.OnnxParser, trt.Builder, trt.Runtime = OnnxParser, Builder, Runtime
    module: ModuleType = trt
    return module


def _at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)
