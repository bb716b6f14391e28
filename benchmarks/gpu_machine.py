"""What the machine is and could do at best: the rates that others are held against."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import jax
import jax.numpy as jnp
from gpu_stage import Stage, memory, seconds_of

from fedpareto.components import provenance


def machine(stage: Stage) -> None:
    """Versions, memory, and the rates of a copy and of matrix products in each precision."""
    stage.measure("device", device)
    small = stage.reduced or jax.default_backend() == "cpu"  # where a large product takes minutes
    side, copied = (1024, 2**26) if small else (8192, 2**30)
    stage.measure("copy", copy, copied)
    for precision in ("float32", "tensorfloat32", "bfloat16"):
        stage.measure(f"product {precision}", product, side, precision)


def device() -> dict[str, Any]:
    found = jax.local_devices()[0]
    about = {"kind": found.device_kind, "platform": found.platform, "devices": len(jax.local_devices())}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        about["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return about | {"python": platform.python_version(), **provenance.versions(), **memory()}


def copy(size: int) -> dict[str, Any]:
    """Bytes a second of x + 1, read and written."""
    x = jnp.ones(size // 4, jnp.float32)
    add_one = jax.jit(lambda x: x + 1)  # an argument: of a constant the compiler would make another, and read nothing
    seconds = seconds_of(lambda: add_one(x), 20)
    return {"value": round(2 * size / seconds / 1e9, 1), "unit": "GB/s"}


def product(side: int, precision: str) -> dict[str, Any]:
    """Operations a second of a square product of random matrices."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    a, b = (jax.random.normal(jax.random.key(i), (side, side), dtype) for i in range(2))
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=None if precision == "bfloat16" else precision))
    return {"value": round(2 * side**3 / seconds_of(lambda: multiply(a, b), 10) / 1e12, 2), "unit": "TFLOP/s"}
