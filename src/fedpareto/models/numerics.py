"""How the products of a model are computed. Its function is the same but for rounding; speed is not.

The choice is the engine's (`federated.execution.devices`), for a device and by measurement. It reaches every product of a
model, forward and backward, wherever the model is applied: in training, scoring and attacks alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import jax

CONVOLUTIONS = ("patches", "lax")
PRECISIONS = ("float32", "tensorfloat32")
_CONVOLUTION = ContextVar("convolution", default=CONVOLUTIONS[0])


@dataclass(frozen=True)
class Numerics:
    """How products are computed.

    Attributes:
      convolution: `patches`, one matrix product over copied patches; or `lax`, XLA's own convolution, which on a GPU is cuDNN's.
      precision: `float32`; or `tensorfloat32`, factors rounded to 11 significant bits where a device has units for that, and as
        `float32` where it has none.
    """

    convolution: str = CONVOLUTIONS[0]
    precision: str = PRECISIONS[0]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Computes all that is traced inside in this form; an operation that names a precision keeps it."""
        token = _CONVOLUTION.set(self.convolution)
        try:
            with jax.default_matmul_precision(self.precision):
                yield
        finally:
            _CONVOLUTION.reset(token)


PLAIN = Numerics()


def convolution() -> str:
    """The form of convolutions where this is called."""
    return _CONVOLUTION.get()
