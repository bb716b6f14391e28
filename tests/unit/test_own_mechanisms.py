"""A mechanism and an algorithm of one's own: one file each, found by path, accounted, trained, and refused until proved."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problem import CLIENTS, MODEL, assert_close, first_run, make_data, make_hypers, make_static

from fedpareto.components import registry
from fedpareto.federated.algorithms.interface import shape_of, traced_arguments
from fedpareto.federated.contributions.contribution import CONTRIBUTIONS
from fedpareto.federated.engine.round import one_round
from fedpareto.federated.inputs.state import Carried, first_memory
from fedpareto.privacy.accounting.epsilon import guarantee
from fedpareto.privacy.accounting.rdp import rdp_curve
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError
from fedpareto.privacy.setting import PrivacySetting
from fedpareto.privacy.soundness import violations

MECHANISM = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from fedpareto.components.rules import Rule
from fedpareto.privacy.mechanisms.interface import Mechanism


@dataclass(frozen=True)
class Louder(Mechanism):
    """Gaussian noise, some times louder than asked for."""

    SOUND_FOR: ClassVar = (("client", "central"),)
    times: Annotated[float, Rule(minimum=1)] = 1.0

    def rdp(self, plan, orders):
        return orders / (2 * (self.times * plan.relative_noise) ** 2)

    def device_params(self, plans):
        return [np.float32(self.times) for _ in plans]

    def init(self, like, device):
        return jnp.int32(0)

    def privatize(self, key, total, state, params):
        keys = iter(jax.random.split(key, len(jax.tree.leaves(total))))
        scale = params.device * params.stddev
        return jax.tree.map(lambda leaf: leaf + scale * jax.random.normal(next(keys), leaf.shape), total), state + 1
'''
ALGORITHM = '''
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from fedpareto.components.rules import Rule
from fedpareto.federated.algorithms.interface import Algorithm
from fedpareto.federated.algorithms.local_sgd import local_sgd


@dataclass(frozen=True)
class Heavy(Algorithm):
    """FedAvg with a heavy ball on the server."""

    SOUND_FOR: ClassVar = (("client", "central"),)
    REMEMBERS_CLIENTS: ClassVar = False
    friction: Annotated[float, Rule(minimum=0, maximum=1)] = 0.5

    def init(self, params, clients):
        return jax.tree.map(jnp.zeros_like, params)

    def client(self, problem, state):
        return local_sgd(problem), None

    def server(self, mean, state, problem):
        speed = jax.tree.map(lambda v, m: self.friction * v + m, state, mean)
        return speed, speed
'''
LOUDER, HEAVY = "./noise.py:Louder", "./heavy.py:Heavy"
PLAN = PrivacyPlan(
    setting=PrivacySetting(sampling_rate=0.5, participation="secret"),
    population=CLIENTS,
    rounds=6,
    clip_norm=0.5,
    noise_multiplier=2.0,
    delta=1e-5,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noise.py").write_text(MECHANISM)
    (tmp_path / "heavy.py").write_text(ALGORITHM)
    yield tmp_path
    while str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def rounds_of(static, run_params, rounds=1):
    """What is carried after each round."""
    params, data, step = MODEL.init(jax.random.key(5)), make_data(), jax.jit(one_round, static_argnums=0)
    carried = Carried(params, static.server(run_params.server).init(params), first_memory(static, run_params, params))
    states = [carried]
    for number in range(rounds):
        states.append(step(static, data, run_params, states[-1], jnp.int32(number)).carried)
    return states


def test_a_mechanism_that_states_its_divergence_is_accounted_at_integer_orders():
    everybody = PLAN.replace(sampling_rate=1.0)
    own = everybody.replace(mechanism=LOUDER)
    orders, stated = rdp_curve(own)
    assert all(float(order).is_integer() for order in orders)
    np.testing.assert_allclose(stated, orders / (2 * own.relative_noise**2))
    assert guarantee(own).epsilon_rdp >= guarantee(everybody).epsilon_rdp
    assert np.isnan(guarantee(own).epsilon_pld)
    louder = own.replace(mechanism_arguments=(("times", 2.0),))
    assert guarantee(louder).epsilon_rdp < guarantee(own).epsilon_rdp
    # Secrecy of the sample amplifies by a bound for any mechanism: between the Gaussian's own and none.
    sampled = PLAN.replace(mechanism=LOUDER)
    assert guarantee(PLAN).epsilon_rdp <= guarantee(sampled).epsilon_rdp < guarantee(own).epsilon_rdp


def test_it_draws_its_noise_with_the_numbers_of_the_run():
    plan = PLAN.replace(mechanism=LOUDER, mechanism_arguments=(("times", 3.0),))
    static = make_static(mechanism=plan.noise, sampling_rate=1.0, expected_cohort=1.0)
    (device,) = plan.noise.device_params([plan])
    run_params = first_run(make_hypers(clip=1e-6, noise=4.0))._replace(mechanism=jnp.asarray(device))
    start, after = rounds_of(static, run_params)
    noise = np.concatenate([np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, (after[0], start[0])), strict=True)])
    assert noise.std() == pytest.approx(12.0, rel=0.5)  # 39 draws: four standard errors
    assert int(after.memory.mechanism) == 1


def test_an_algorithm_carries_its_state_and_its_floats_are_numbers_of_the_run():
    heavy = registry.build("algorithm", {"name": HEAVY, "friction": 0.25})
    assert traced_arguments(heavy) == ("friction",)
    static = make_static(algorithm=shape_of(heavy))
    assert static == make_static(algorithm=shape_of(replace(heavy, friction=0.75)))
    quiet = first_run(make_hypers(noise=0.0))
    plain = rounds_of(make_static(), quiet)[1]
    states = rounds_of(static, quiet._replace(algorithm={"friction": jnp.float32(0.25)}), rounds=2)
    assert_close(states[1].params, plain.params)  # at rest before the first round
    loose = rounds_of(static, quiet._replace(algorithm={"friction": jnp.float32(0.0)}), rounds=2)
    expected = jax.tree.map(lambda free, v: free + 0.25 * v, loose[2].params, states[1].memory.algorithm)
    assert_close(states[2].params, expected, rtol=1e-5, atol=1e-6)


def test_runs_that_share_a_program_have_equal_components_and_one_trace():
    traces = []

    def counted(static, data, run_params, carried, number):
        traces.append(1)
        return one_round(static, data, run_params, carried, number)

    step, params = jax.jit(counted, static_argnums=0), MODEL.init(jax.random.key(5))
    for friction in (0.25, 0.75):
        algorithm = registry.build("algorithm", {"name": HEAVY, "friction": friction})
        mechanism = registry.build("mechanism", {"name": "gaussian"})
        static = make_static(algorithm=shape_of(algorithm), mechanism=mechanism)
        run_params = first_run(make_hypers())._replace(algorithm={"friction": jnp.float32(friction)})
        carried = Carried(
            params, static.server(run_params.server).init(params), first_memory(static, run_params, params)
        )
        step(static, make_data(), run_params, carried, jnp.int32(0))
    assert len(traces) == 1


@pytest.mark.parametrize("changes", [{"trust": "local", "participation": "seen"}, {"unit": "record"}])
@pytest.mark.parametrize("own", [{"mechanism": LOUDER}, {"algorithm": HEAVY}])
def test_ones_own_is_refused_where_it_does_not_say_that_it_is_sound(own, changes):
    assert not list(violations(PrivacySetting(**own)))
    assert next(iter(own)) in {fault.key for fault in violations(PrivacySetting(**own, **changes))}
    with pytest.raises(PrivacyPlanError, match=next(iter(own))):
        PLAN.replace(**own | changes)


def test_without_a_word_on_soundness_it_is_refused_everywhere(folder):
    (folder / "noise.py").write_text(
        MECHANISM.replace('SOUND_FOR: ClassVar = (("client", "central"),)', "X: ClassVar = 1")
    )
    (fault,) = violations(PrivacySetting(mechanism=LOUDER))
    assert "SOUND_FOR" in fault.why


def test_an_algorithm_that_remembers_clients_or_sends_two_vectors_says_so(folder):
    text = ALGORITHM.replace(
        "friction: ", "REMEMBERS_CLIENTS: ClassVar = True\n    VECTORS: ClassVar = 2\n    friction: "
    )
    (folder / "heavy.py").write_text(text)
    secret = PrivacySetting(algorithm=HEAVY, sampling_rate=0.5)
    assert [fault.key for fault in violations(secret)] == ["participation"]
    assert not list(violations(replace(secret, participation="seen")))
    assert [fault.key for fault in violations(replace(secret, participation="seen", clipping="adaptive"))] == [
        "algorithm"
    ]


@pytest.mark.parametrize("kind", ["mechanism", "algorithm"])
def test_the_table_and_the_built_in_components_agree_on_what_is_sound(kind):
    free = {"sampling": ("poisson", "fixed_size", "cyclic"), "mechanism": registry.names("mechanism")}
    for name in registry.names(kind):
        sound = {*registry.find(kind, name).constants["SOUND_FOR"]}
        allowed = {
            (unit, trust)
            for unit, trust in CONTRIBUTIONS
            for sampling in free["sampling"]
            for mechanism in ([name] if kind == "mechanism" else free["mechanism"])
            for other in (["fedavg"] if kind == "mechanism" else [name])
            if not list(
                violations(
                    PrivacySetting(
                        unit=unit,
                        trust=trust,
                        sampling=sampling,
                        mechanism=mechanism,
                        algorithm=other,
                        participation="seen",
                    )
                )
            )
        }
        assert allowed <= sound, name
        assert sound <= allowed | {("record", "distributed"), ("record", "central")}, name


@pytest.mark.parametrize(("unit", "trust"), CONTRIBUTIONS)
def test_the_rows_of_contributions_and_the_setting_agree_on_who_draws(unit, trust):
    setting, row = PrivacySetting(unit=unit, trust=trust), CONTRIBUTIONS[unit, trust]
    assert (unit == "record") == row.OF_RECORDS
    assert (setting.sums_records and not setting.clients_draw_records) == row.DRAWS_RECORDS
    assert (setting.sums_records and setting.clients_draw_records) == row.ASKS_EVERYBODY
    assert (setting.summand == "integers") == row.noise.HIDES_MEMBERS
