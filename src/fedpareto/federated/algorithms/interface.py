"""The interface of an algorithm: a client's part of a round, and the server's part, on the mean of the clients' messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

import jax

from fedpareto.federated.augmentation import Augmentation
from fedpareto.federated.execution.over_runs import Program
from fedpareto.federated.inputs.device_data import Examples
from fedpareto.privacy.sampling import Cohort

PyTree = Any
Apply = Callable[[PyTree, jax.Array], jax.Array]
Loss = Callable[[jax.Array, jax.Array], jax.Array]  # `Task.loss`: (outputs, targets) -> float32 [batch]


@dataclass(frozen=True)
class LocalWork:
    """How long a client trains in a round. Exactly one of `epochs` and `steps` is set.

    Attributes:
      epochs: Passes over the client's examples, reshuffled for each.
      steps: SGD steps, running on into a reshuffled next pass where the examples are used up.
      batch_size: Examples a step, or None for all of them.
    """

    epochs: int | None
    steps: int | None
    batch_size: int | None

    def steps_of(self, records: int) -> int:
        """SGD steps of a client that holds `records` examples (above 0)."""
        batch = records if self.batch_size is None else min(self.batch_size, records)
        return (self.epochs or 0) * -(-records // batch) if self.steps is None else self.steps


@dataclass(frozen=True)
class LocalProblem:
    """One client's part of a round, inside a compiled function.

    Attributes:
      apply: The model, (parameters, x) -> outputs.
      loss: The task's loss of each example.
      work: Epochs or steps, and batch size.
      params: The global parameters.
      examples: All clients' examples.
      index: int32 [pad], rows of `examples` that are the client's, the first `count` of them real.
      count: int32 scalar.
      learning_rate: float32 scalar.
      key: A typed PRNG key for shuffling; public.
      client: int32 scalar, the client's number.
      responds: bool scalar, whether its answer arrives; None where all do.
      share_of_steps: float32 scalar in [0, 1], the share of its steps that the client finishes, rounded up; None for all.
      augmentation: How each step sees its images, in one view each; None as they are.
      in_order: Whether all of `examples`, and no others, are the client's and are taken in their order, by a loop that can be
        differentiated: the problem that an attack solves for the examples.
    """

    apply: Apply
    loss: Loss
    work: LocalWork
    params: PyTree
    examples: Examples
    index: jax.Array
    count: jax.Array
    learning_rate: jax.Array
    key: jax.Array
    client: jax.Array
    responds: jax.Array | None = None
    share_of_steps: jax.Array | None = None
    augmentation: Augmentation | None = None
    in_order: bool = False


class ClientUpdate(NamedTuple):
    """A client's update: new minus old parameters, and its number of steps."""

    delta: PyTree
    steps: jax.Array


@dataclass(frozen=True)
class ServerProblem:
    """The server's part of a round, inside a compiled function.

    Attributes:
      work: Local training of a client.
      examples_pad: Examples of the largest client.
      clients: Number of clients.
      expected_cohort: The public expected size of the cohort.
      learning_rate: float32 scalar, that of the clients.
      cohort: Who took part.
      kept: State of each member after the round (`Algorithm.client`), [cohort buffer, ...], or None.
    """

    work: LocalWork
    examples_pad: int
    clients: int
    expected_cohort: float
    learning_rate: jax.Array
    cohort: Cohort
    kept: PyTree | None


@dataclass(frozen=True)
class Algorithm:
    """An algorithm without memory; `client` is all that it must define.

    Fields declared `float` may differ between runs of one program: inside it they are float32 scalars of the run.

    Attributes:
      NAME: Its name in a configuration.
      SOUND_FOR: Pairs (unit, trust) for which its updates are bounded by joint clipping alone; a user's own is refused everywhere
        else, and `privacy.soundness` has the rules of the built-in ones.
      REMEMBERS_CLIENTS: Whether its state remembers who took part, so that participation may not amplify.
      VECTORS: Vectors that a client sends in a round, clipped and noised as one; 0 where clients send nothing.
    """

    NAME: ClassVar[str] = ""
    SOUND_FOR: ClassVar[tuple[tuple[str, str], ...]] = ()
    REMEMBERS_CLIENTS: ClassVar[bool] = False
    VECTORS: ClassVar[int] = 1

    def init(self, params: PyTree, clients: int) -> PyTree | None:
        """The state that rounds carry, before the first of them; None for none."""
        return None

    def client(self, problem: LocalProblem, state: PyTree) -> tuple[ClientUpdate, PyTree | None]:
        """The update of one client, and its state after the round, which `server` gets without its being sent; None for none.

        The update's `delta` is a pytree of all vectors that the client sends: it is clipped, weighted and noised jointly.
        """
        raise NotImplementedError(f"algorithm {self.NAME} trains no client for a sum")

    def server(self, mean: PyTree, state: PyTree, problem: ServerProblem) -> tuple[PyTree, PyTree | None]:
        """The mean update, like the parameters, and the next state; `mean` is the released mean of the clients' messages."""
        return mean, state

    def program(self, static: Any, devices: list[jax.Device], runs_at_once: int) -> Program | None:
        """The whole program of a bundle (`ProgramConfig`), where it has no federated rounds; None for rounds."""
        return None


def traced_arguments(component: Algorithm) -> tuple[str, ...]:
    """The fields that are declared `float`, hence numbers of a run and no part of a program's shape."""
    hints = get_type_hints(type(component), include_extras=True)
    return tuple(f.name for f in fields(component) if _bare(hints[f.name]) is float)


def shape_of(component: Algorithm) -> Algorithm:
    """The component with all of its traced arguments at 0: equal for runs that can share a program."""
    return replace(component, **dict.fromkeys(traced_arguments(component), 0.0))


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
