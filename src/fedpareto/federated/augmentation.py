"""Random views of training images (De et al. 2022, section 3.2; TensorFlow's CIFAR-10 tutorial, for McMahan et al. 2017).

What is drawn need not be secret: a record's contribution is clipped after its views have been averaged, whatever they are,
so that it moves a sum by at most the clip norm. It is drawn from the public key, afresh for every round, step and record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Augmentation:
    """How a view of an image is drawn: mirrored or not, cut out of the padded image, brightness and contrast changed.

    Attributes:
      multiplicity: Views of a record, whose gradients are averaged before clipping.
      padding: Pixels around the image, its own mirrored at the edge.
      crop: Height and width that are cut out; None for those of the image.
      brightness: What is added to all pixels is uniform in [-brightness, brightness].
      contrast: The factor on what differs from a channel's mean is uniform in [1 - contrast, 1 + contrast].
    """

    multiplicity: int = 1
    padding: int = 0
    crop: int | None = None
    brightness: float = 0.0
    contrast: float = 0.0

    @staticmethod
    def of(spec: Mapping[str, Any] | None) -> Augmentation | None:
        """The augmentation that a study's spec names, or None."""
        return None if spec is None else Augmentation(**{key: value for key, value in spec.items() if key != "name"})

    def views(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Views of images.

        Args:
          keys: Typed PRNG keys [n], one an image.
          images: float32 [n, height, width, channels].

        Returns:
          float32 [n, height, width, channels] where `multiplicity` is 1, else [n, multiplicity, height, width, channels].
        """
        if self.multiplicity == 1:
            return jax.vmap(self._view)(keys, images)
        several = jax.vmap(lambda key: jax.random.split(key, self.multiplicity))(keys)
        return jax.vmap(jax.vmap(self._view, (0, None)))(several, images)

    def _view(self, key: jax.Array, image: jax.Array) -> jax.Array:
        key_place, key_flip, key_brightness, key_contrast = jax.random.split(key, 4)
        height, width, channels = image.shape
        size = (self.crop or height, self.crop or width)
        around = (self.padding, self.padding)
        padded = jnp.pad(image, (around, around, (0, 0)), mode="symmetric")
        room = jnp.asarray(padded.shape[:2]) - jnp.asarray(size)
        top, left = jax.random.randint(key_place, (2,), 0, room + 1)
        view = jax.lax.dynamic_slice(padded, (top, left, jnp.zeros_like(top)), (*size, channels))
        view = jnp.where(jax.random.bernoulli(key_flip), view[:, ::-1], view)
        if self.brightness:
            view = view + jax.random.uniform(key_brightness, minval=-self.brightness, maxval=self.brightness)
        if self.contrast:
            factor = jax.random.uniform(key_contrast, minval=1 - self.contrast, maxval=1 + self.contrast)
            mean = jnp.mean(view, axis=(0, 1))
            view = (view - mean) * factor + mean
        return view


def keys_of(key: jax.Array, members: jax.Array) -> jax.Array:
    """One key a member (int32 [n]) from the key of a round."""
    return jax.vmap(lambda member: jax.random.fold_in(key, member))(members)
