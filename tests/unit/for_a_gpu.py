"""What a GPU would be asked to run: compiled functions are lowered for CUDA, which takes no GPU, and are not run.

`DryRun` stands in the place of `jax.jit`. A function that is called from outside of any trace is exported for platform `cuda`,
and zeros of the shapes that it would return are returned instead, so that a whole stage goes by in seconds.
"""

import re

import jax
import jax.numpy as jnp
from jax import export

# `export` itself refuses what JAX does not promise to keep a lowering of; callbacks to the host are among that.
FLOAT64 = re.compile(r"tensor<(?:\d+x)*f64>")
CALLBACK = re.compile(r"callback")


class NotForAGPU(AssertionError):
    """A program that a GPU cannot run, or would run at a crawl."""


def lowered(jitted, *args, **kwargs):
    """The text of a jitted function as lowered for CUDA, and zeros of what it would return.

    Raises:
      NotForAGPU: An operation has no lowering for CUDA, calls back to the host, or is in float64.
    """
    try:
        exported = export.export(jitted, platforms=("cuda",))(*args, **kwargs)
    except (NotImplementedError, ValueError) as error:
        raise NotForAGPU(str(error)) from error
    text = str(exported.mlir_module())
    for what, pattern in (("float64", FLOAT64), ("a call back to the host", CALLBACK)):
        found = pattern.search(text)
        if found:
            start = text.rfind("\n", 0, found.start()) + 1
            raise NotForAGPU(f"{what}: {text[start : found.end() + 100].strip()}")
    zeros = [jnp.zeros(out.shape, out.dtype) for out in exported.out_avals]
    return text, jax.tree.unflatten(exported.out_tree, zeros)


class DryRun:
    """Everything that is jitted from now on is lowered; `texts` has what it became.

    Args:
      monkeypatch: Puts everything back at the end of the test.
      already: Pairs of a module and the name of a function in it that was jitted on import.
    """

    def __init__(self, monkeypatch, already=()):
        self.texts, self._jit = [], jax.jit
        monkeypatch.setattr(jax, "jit", self.jit)
        for module, name in already:
            monkeypatch.setattr(module, name, self._stand_in(getattr(module, name)))

    def jit(self, function=None, **options):
        if function is None:
            return lambda function: self.jit(function, **options)
        return self._stand_in(self._jit(function, **options))

    def _stand_in(self, jitted):
        known = {}

        def call(*args, **kwargs):
            leaves = jax.tree.leaves((args, kwargs))
            if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
                return jitted(*args, **kwargs)
            key = tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf for leaf in leaves)
            if key not in known:
                text, known[key] = lowered(jitted, *args, **kwargs)
                self.texts.append(text)
            return known[key]

        call.lower = jitted.lower
        return call
