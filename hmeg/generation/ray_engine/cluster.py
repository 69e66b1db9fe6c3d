"""Connects to a Ray cluster, and says what is there in words that people can act on."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import hmeg
from hmeg.quoting import quoted

OWN, FOUND = "local", "auto"  # in place of an address, as Ray calls them
ANSWER_SECONDS = 10
PROBE_SECONDS = 120  # starting a process on a busy node takes its time
NOT_INSTALLED = "--engine ray needs Ray, which is not installed: pip install 'hmeg[ray]'"


class ClusterError(ValueError):
    """The cluster cannot do what is asked for; the message says why and what helps."""


@dataclass(frozen=True)
class Cluster:
    """A cluster this process is connected to, and the actors it shall run.

    room     how many such actors its nodes hold, if nobody else uses them
    actors   how many there shall be
    cpus, gpus  that each has for itself; part of a GPU is shared with others
    """

    address: str
    nodes: int
    room: int
    actors: int
    cpus: int
    gpus: float

    def __str__(self) -> str:
        each = _number(self.cpus, "CPU") + (f" and {self.gpus:g} GPU" if self.gpus else "")
        nodes, actors = _number(self.nodes, "node"), _number(self.actors, "actor")
        short = "" if self.actors <= self.room else f"; there is room for {self.room} of them now"
        return f"Ray at {self.address}, {nodes}: {actors} with {each} each{short}"


@contextlib.contextmanager
def connected(address: str | None, actors: int | None, cpus: int, gpus: float | None) -> Iterator[Cluster]:
    """A connection to a cluster, cut at the end, which ends the run's actors too.

    address  ``host:port`` of the cluster's head, or ``auto`` for the cluster this machine was made part of; None: what
             RAY_ADDRESS says, else a Ray of its own on this machine, which ends with the connection
    actors   None: as many as there is room for
    gpus     None: 1 if the cluster has any, else 0

    Meanwhile SIGTERM is a KeyboardInterrupt. :class:`ClusterError` where Ray is missing, does not answer or has no
    node that holds such an actor.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError(NOT_INSTALLED) from error
    address = address or os.environ.get("RAY_ADDRESS") or OWN
    if address not in (OWN, FOUND):
        _check_answers(address)
    # Ray Data provokes an alarming line of Ray's own at every start; what goes wrong comes as an exception.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    handler_before = signal.getsignal(signal.SIGTERM)  # Ray sets its own, which ends without a word
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if address == OWN else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no connection to a Ray cluster ({address}): {_first_line(error)} (if it asks for a token, set "
            "RAY_AUTH_MODE=token here too)"
        ) from error
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        nodes = ray.nodes()
        cluster = _surveyed(ray.get_runtime_context().gcs_address, nodes, actors, cpus, gpus)
        alive = [node for node in nodes if node["Alive"]]
        _check_versions([node for node in alive if _fitting(node["Resources"], cluster.cpus, cluster.gpus)])
        yield cluster
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler_before)


def _check_answers(address: str) -> None:
    """:class:`ClusterError` for an address that is none or where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ClusterError(
            f"{quoted(address)} is no address of a Ray cluster: give host:port of its head, and call hmeg on a machine "
            "of the cluster (`ray start --address=HOST:PORT --num-cpus=0` makes this one part of it)"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}); `ray start --head` starts one and tells its address"
        ) from error


def _surveyed(address: str, nodes: list[dict[str, Any]], actors: int | None, cpus: int, gpus: float | None) -> Cluster:
    """The cluster of these nodes (as ``ray.nodes()`` lists them)."""
    has = [node["Resources"] for node in nodes if node["Alive"]]
    if gpus is None:
        gpus = 1.0 if any(resources.get("GPU", 0) for resources in has) else 0.0
    room = sum(_fitting(resources, cpus, gpus) for resources in has)
    if not room:
        wanted = _number(cpus, "CPU") + (f" and {gpus:g} GPU" if gpus else "")
        there = "; ".join(f"{r.get('CPU', 0):g} CPUs, {r.get('GPU', 0):g} GPUs" for r in has)
        raise ClusterError(
            f"no node of the Ray cluster at {address} holds an actor with {wanted} (--cpus-per-actor, "
            f"--gpus-per-actor); its nodes have: {there}"
        )
    return Cluster(address, len(has), room, actors or room, cpus, gpus)


def _check_versions(nodes: list[dict[str, Any]]) -> None:
    """:class:`ClusterError`, naming the nodes, unless all of these have this version of hmeg."""
    import ray

    def version() -> str:  # by being local it is sent as a whole: it must run where there is no hmeg
        try:
            import hmeg
        except ModuleNotFoundError:
            return "no hmeg"
        return f"hmeg {hmeg.__version__}"

    ask = ray.remote(version)
    there = [ask.options(num_cpus=0, label_selector={"ray.io/node-id": node["NodeID"]}).remote() for node in nodes]
    try:
        answers = ray.get(there, timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a node of the Ray cluster does not answer: {_first_line(error)}") from error
    pairs = zip(nodes, answers, strict=True)
    others = [f"{node['NodeManagerAddress']} has {has}" for node, has in pairs if has != f"hmeg {hmeg.__version__}"]
    if others:
        raise ClusterError(f"this is hmeg {hmeg.__version__}, but {', '.join(others)}; install the same on every node")


def _fitting(resources: dict[str, float], cpus: int, gpus: float) -> int:
    by_cpu = resources.get("CPU", 0) // cpus
    if not gpus:
        return int(by_cpu)
    whole = resources.get("GPU", 0)
    # an actor's part of a GPU lies on one GPU
    by_gpu = whole // gpus if gpus >= 1 else whole * math.floor(1 / gpus + 1e-9)
    return int(min(by_cpu, by_gpu))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
