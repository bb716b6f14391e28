"""The devices that train, and how the work is laid out on them.

The rules come from measurements (docs/performance.md). None of them changes what is computed, and on a CPU no choice
of devices changes a bit of it; the choice is in the results, and `execution` in the configuration overrides it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from fedpareto.federated.execution.cohort_sum import LANES
from fedpareto.models.model import Model
from fedpareto.models.numerics import PLAIN, Numerics

GPU_CLIENTS_AT_ONCE = 64
GPU_RECORDS_AT_ONCE = 1024
GPU_NUMERICS = Numerics("patches", "float32")
DEFAULT_MEMORY = 4 * 2**30  # of a device that does not say
MEMORY_OF_A_CHUNK = 0.25  # of an accelerator's memory, that records of one chunk may take
CPU_MEMORY_OF_A_CHUNK = 2**29
CACHE_BYTES = 2 * 2**20  # what a chunk of records may keep at hand on a CPU core
WORTH_SPLITTING = 10**6  # parameters x cohort, below which devices that share a cohort mostly wait for each other
SPLIT_OVERHEAD = 1.05


@dataclass(frozen=True)
class Layout:
    """How a bundle is laid out on the machine.

    Attributes:
      kind: `cpu` or the accelerator's own name.
      devices: Number of devices in use.
      cohort_devices: Of these, how many share one run's cohort.
      at_once: Members of a cohort (clients or records) in one vectorised chunk; 1 for one after another.
      runs_at_once: Runs in one vectorised batch on each group of devices; with 1 results do not depend on the bundle,
        to the bit. 0 on an accelerator until it has been chosen from measured memory.
      convolution: Form of convolutions, see `Numerics`.
      precision: Precision of the model's products, see `Numerics`.
    """

    kind: str
    devices: int
    cohort_devices: int
    at_once: int
    runs_at_once: int
    convolution: str = PLAIN.convolution
    precision: str = PLAIN.precision

    @property
    def numerics(self) -> Numerics:
        """How the model's products are computed."""
        return Numerics(self.convolution, self.precision)

    @property
    def groups(self) -> int:
        """Groups of devices; each has runs of its own, and shares the cohort of one run at a time."""
        return self.devices // self.cohort_devices

    def to_dict(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


def choose(
    runs: int, model: Model, cohort: float, unit: str, *, wanted: Mapping[str, int | str] | None = None, views: int = 1
) -> tuple[Layout, list[jax.Device]]:
    """The layout for a bundle, and its devices.

    Args:
      runs: Number of runs.
      model: The model.
      cohort: Expected cohort.
      unit: `client` or `record`.
      wanted: Fields of the layout that the user has set; more devices than there are means all of them.
      views: Augmentations of a record whose gradients are averaged.
    """
    available = jax.local_devices()
    platform = available[0].platform
    layout = Layout(
        kind="cpu" if platform == "cpu" else available[0].device_kind,
        devices=0,
        cohort_devices=_cohort_devices(runs, len(available), model.parameters * cohort),
        at_once=min(_at_once(available[0], model, unit, views), max(1, math.ceil(cohort))),
        runs_at_once=1 if platform == "cpu" else 0,
        **asdict(PLAIN if platform == "cpu" else GPU_NUMERICS),
    )
    changes: dict[str, Any] = dict(wanted or {})
    layout = replace(layout, **changes)
    # What was set for a larger machine is cut to this one.
    devices = min(layout.devices or len(available), len(available))
    sharing = max(_sharing(min(devices, layout.cohort_devices)))
    layout = replace(layout, devices=min(runs, devices // sharing) * sharing, cohort_devices=sharing)
    return layout, available[: layout.devices]


def memory_of(device: jax.Device) -> int | None:
    """The memory of a device in bytes, where it says."""
    return (device.memory_stats() or {}).get("bytes_limit")


def _cohort_devices(runs: int, devices: int, work: float) -> int:
    """How many devices should share a cohort, so that the bundle is done soonest."""
    if work < WORTH_SPLITTING:
        return 1

    def time(size: int) -> float:
        turns = math.ceil(runs / min(runs, devices // size))
        return turns / size * (1 if size == 1 else SPLIT_OVERHEAD)

    return min(_sharing(devices), key=time)


def _sharing(devices: int) -> list[int]:
    """The numbers of devices that can share a cohort, of at most `devices`: each has as many lanes as the others."""
    return [size for size in range(1, LANES + 1) if LANES % size == 0 and size <= devices]


def _at_once(device: jax.Device, model: Model, unit: str, views: int) -> int:
    if unit == "client":
        # On a CPU its weights stay in cache; chunks gain on the smallest models only.
        return 1 if device.platform == "cpu" else GPU_CLIENTS_AT_ONCE
    if device.platform != "cpu":
        memory = MEMORY_OF_A_CHUNK * (memory_of(device) or DEFAULT_MEMORY)
        return records_in(memory, model, views, GPU_RECORDS_AT_ONCE)
    if model.layers is None or views > 1:
        return records_in(CPU_MEMORY_OF_A_CHUNK, model, views, GPU_RECORDS_AT_ONCE)
    outputs = sum(math.prod(leaf.shape) for leaf in model.perturbations(1).values())
    inputs = math.prod(model.example_shape)
    # Patches, activations and their gradients come to a few times the layers' inputs and outputs.
    fitting = CACHE_BYTES // (4 * 4 * max(1, inputs + outputs))
    return 2 ** max(4, min(8, int(math.log2(max(1, fitting)))))


def records_in(memory: float, model: Model, views: int, most: int) -> int:
    """Records in one chunk, a power of two up to `most`, so that gradients formed one by one fit in `memory` bytes.

    A record takes its gradient twice over (before and after clipping), and for each view a quarter of all that a forward pass
    computes: compilers keep a fifth of it or less (wide residual network and CNN, forward and backward, on a CPU).
    """
    params = jax.eval_shape(model.init, jax.random.key(0))
    example = jax.ShapeDtypeStruct((1, *model.example_shape), jnp.float32)
    computed = _floats(jax.make_jaxpr(model.apply)(params, example).jaxpr)
    each = 4 * (2 * model.parameters + views * computed / 4)
    return int(2 ** max(0, math.floor(math.log2(min(most, max(1.0, memory / each))))))


def _floats(jaxpr: Any) -> int:
    """Numbers that a program computes on its way, those of its subprograms among them."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [part.jaxpr for part in equation.params.values() if hasattr(part, "jaxpr")]
        total += sum(map(_floats, inner)) if inner else sum(math.prod(out.aval.shape) for out in equation.outvars)
    return total
