"""Keys: no two random draws of a run, or of two runs, are made from the same one.

Nothing here is random but by name: no correct implementation fails, whatever the seeds.
"""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import CLIENTS, MODEL, make_data, make_hypers, make_static

from fedpareto.federated.engine.program import make_program
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.inputs.state import Carried, first_memory
from fedpareto.privacy.mechanisms import gaussian, normal
from fedpareto.privacy.mechanisms.adaptive_clipping import AdaptiveClip
from fedpareto.privacy.mechanisms.discrete_encoding import DeviceAliasTable
from fedpareto.privacy.mechanisms.discrete_sampler import share_table
from fedpareto.privacy.mechanisms.lattice_mechanism import DeviceEncoding, Skellam
from fedpareto.privacy.mechanisms.normal import standard_normal
from fedpareto.privacy.sampling import last_to_join

DRAWING, DERIVING = ("bits", "uniform", "permutation"), ("split", "fold_in")
PUBLIC = {"_shuffle", "_signs"}  # functions that draw from the public key
ROUNDS, RUNS = 4, 3


def own_records(trust, **changes):
    shape = {"unit": "record", "trust": trust, "sampling_rate": 1.0, "max_batch_size": 4, "local_steps": 2}
    return shape | changes, {"record_draws": jnp.full((RUNS, CLIENTS), last_to_join(0.3), jnp.uint32)}


def summed():
    """Secure aggregation: what shapes it, and its numbers."""
    table = share_table("skellam", 4.0)
    words = (table.high, table.middle, table.low, table.alias, np.int32(table.offset))
    encoding = DeviceEncoding(np.float32(2**-8), np.float32(2**12), DeviceAliasTable(*words))
    shape = {"mechanism": Skellam(bits=20), "fewest_answers": 1}
    return shape, jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * RUNS), encoding)


SUM, LATTICE = summed()
RULE = AdaptiveClip(*(jnp.full(RUNS, value) for value in (0.5, 0.2, 1.0)))
OWN_SUMMED, OWN_DRAWS = own_records("distributed", **SUM)
# What shapes the program, numbers of its runs, and the functions that draw.
KINDS = {
    "central": (
        {"drops": True, "straggles": True},
        {"adaptive": RULE, "dropout": jnp.full(RUNS, 0.2), "stragglers": jnp.full(RUNS, 0.5)},
        {"poisson_cohort", "gaussian_noise", "noisy_count", "behaviour", "_shuffle"},
    ),
    "central, shuffled": (
        {"unit": "record", "sampling": "shuffled", "max_cohort_size": 30, "batches": 2},
        {},
        {"scheduled_cohort", "gaussian_noise"},
    ),
    "local": (
        {"trust": "local", "sampling": "fixed_size", "max_cohort_size": 5},
        {},
        {"fixed_size_cohort", "gaussian_noise", "_shuffle"},
    ),
    "local, own records": (*own_records("local"), {"poisson_subset", "gaussian_noise"}),
    "distributed": (
        {"trust": "distributed", **SUM},
        {"mechanism": LATTICE},
        {"poisson_cohort", "draw", "noise_share", "_signs", "_shuffle"},
    ),
    "distributed, own records": (
        OWN_SUMMED,
        OWN_DRAWS | {"mechanism": LATTICE},
        {"poisson_subset", "draw", "noise_share", "_signs"},
    ),
}


def keys_of(monkeypatch, static, run_params):
    """The keys that runs draw from and those that they derive others from, by (run, function), with repetitions."""
    found, now = {"drawn": {}, "parents": {}}, []

    def watched(kind, original):
        def watch(key, *arguments, **named):
            caller = sys._getframe(1)
            if caller.f_globals["__name__"].startswith("fedpareto."):
                note, name = found[kind], caller.f_code.co_name
                jax.debug.callback(
                    lambda run, data: note.setdefault((int(run), name), []).append(tuple(map(int, data))),
                    now[0],
                    jax.random.key_data(key),
                )
            return original(key, *arguments, **named)

        return watch

    def one(place):
        run, number = place
        now[:] = [run]
        row = jax.tree.map(lambda leaf: leaf[run], run_params)
        params = jax.tree.map(jnp.zeros_like, static.model.init(jax.random.key(0)))
        start = Carried(params, static.server(row.server).init(params), first_memory(static, row, params))
        return one_round(static, make_data(), row, start, number).report

    places = jnp.asarray([(run, number) for run in range(RUNS) for number in range(ROUNDS)], jnp.int32)
    with monkeypatch.context() as patch:
        for kind, names in (("drawn", DRAWING), ("parents", DERIVING)):
            for name in names:
                patch.setattr(jax.random, name, watched(kind, getattr(jax.random, name)))
        for module in (normal, gaussian):  # where functions look it up
            patch.setattr(module, "standard_normal", watched("drawn", standard_normal))
        options = {"xla_backend_optimization_level": 0}
        jax.block_until_ready(jax.jit(lambda: jax.lax.map(one, places), compiler_options=options)())
        jax.effects_barrier()
    return found["drawn"], found["parents"]


@pytest.fixture(scope="module")
def run_params():
    """Three runs, the first two of one seed."""
    public = jnp.asarray([[1, 2], [1, 2], [1, 3]], jnp.uint32)
    return make_hypers(RUNS)._replace(public_key=public, secret_key=jnp.asarray([[5, 0], [5, 1], [5, 2]], jnp.uint32))


def first_keys(run_params):
    """Keys of the runs' first parameters."""
    model = replace(MODEL, init=lambda key: {"key": jax.random.key_data(key)})
    params = make_program(make_static(model=model), jax.devices()[:1]).init(make_data(), run_params).params
    keys = [tuple(map(int, key)) for key in np.asarray(params["key"])]
    assert keys[0] == keys[1] != keys[2]
    return set(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_no_key_is_used_twice(kind, run_params, monkeypatch):
    shape, numbers, drawing = KINDS[kind]
    static = make_static(**shape)
    drawn, parents = keys_of(monkeypatch, static, run_params._replace(**numbers))
    assert drawn.keys() == {(run, name) for run in range(RUNS) for name in drawing}
    # Everybody turns by the same signs in a round, and a pass has one order.
    common = {"_signs": ROUNDS, "scheduled_cohort": ROUNDS // static.batches}
    users = {}
    for (run, name), keys in drawn.items():
        assert len(set(keys)) == common.get(name, len(keys))
        for key in set(keys):
            users.setdefault(key, []).append((run, name))
    for one in users.values():
        # Only public keys are shared, for the same use, and between runs of one seed.
        assert len(one) == 1 or (one[0][1] in PUBLIC and one == [(0, one[0][1]), (1, one[0][1])])
    assert PUBLIC & drawing == {one[0][1] for one in users.values() if len(one) > 1}
    # The random numbers of a key and the keys derived from it are the same bits.
    assert not users.keys() & {key for keys in parents.values() for key in keys}
    assert not users.keys() & first_keys(run_params)
