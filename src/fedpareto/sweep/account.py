"""The accounting stage: from a bundle's runs to their plans and epsilons by round, before anything is trained."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedpareto.components import registry
from fedpareto.privacy.accounting.guarantee import Guarantee, headline
from fedpareto.privacy.plan import PrivacyPlan, PrivacyPlanError
from fedpareto.privacy.setting import LocalSteps, PrivacySetting, SecureAggregation
from fedpareto.sweep.groups import TargetEpsilon
from fedpareto.sweep.run import Bundle, Run

UNCALIBRATED = 1.0  # the noise of a plan that is still to be calibrated


@dataclass(frozen=True)
class DataSizes:
    """Sizes that only the prepared data can tell, and only some mechanisms need.

    Attributes:
      parameters: Number of model parameters.
      records: Seed -> number of training records of each client, in the order of the clients.
    """

    parameters: int
    records: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class AccountedRun:
    """A run's plan, and its guarantee after each evaluation.

    Attributes:
      plan: The plan that trains the run, its noise calibrated where the run names a target epsilon, and its rounds cut
        where it stops at one.
      guarantees: One for each of `Run.evaluation_rounds`; after the plan's last round nothing is released any more.
      client_epsilons: Epsilon by accountant that each client proves for its own records; empty where all share one guarantee.
      curve: Rényi orders and the divergence of the whole run at each, for what is later made of the run (a selection
        among several, say); empty where the run is not private.
    """

    plan: PrivacyPlan
    guarantees: tuple[Guarantee, ...]
    client_epsilons: tuple[Mapping[str, float], ...] = ()
    curve: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def final(self) -> Guarantee:
        """The guarantee of the whole run."""
        return self.guarantees[-1]


def privacy_plan(run: Run, measured: DataSizes | None = None) -> PrivacyPlan:
    """The plan of a run; its noise is still to be calibrated if the run names a target epsilon.

    Args:
      run: The run.
      measured: Needed where `run.needs_data_to_account`.
    """
    data, training, privacy, setting = run.data, run.training, run.privacy, run.setting
    mechanism, clipping = (privacy and privacy.mechanism) or {}, run.contribution.clipping or {}
    sizes: dict[str, Any] = {}
    if run.needs_data_to_account:
        if measured is None:
            raise ValueError(f"run {run.run_id} with trust {setting.trust} needs the data to be accounted for")
        if setting.summand == "integers":
            asked = data.clients if setting.clients_draw_records else round(data.clients * setting.sampling_rate)
            sizes["sum"] = SecureAggregation(
                measured.parameters, max(1, asked), mechanism["bits"], mechanism["threshold"]
            )
        elif setting.trains_records_locally:
            batch = training.batch_size or 1
            records = measured.records[run.seed]
            # Who has no record has nothing to protect, and speaks for nobody: the rate of the largest client is the smallest.
            rates = tuple(min(1.0, batch / (n or max(1, *records))) for n in records)
            sizes["local"] = LocalSteps(training.local_steps or 1, rates)
    if mechanism:
        sizes["strategy"] = registry.build("mechanism", mechanism).strategy(training.rounds)
    if privacy is not None and training.preprocessing is not None:
        sizes["preprocessing_noise_multipliers"] = _preprocessing_noise(training.preprocessing)
        moved = registry.constant("preprocessing", training.preprocessing, "REPLACE_SENSITIVITIES", ())
        sizes["preprocessing_replace_sensitivities"] = tuple(map(float, moved))
    return PrivacyPlan(
        setting=setting,
        population=data.clients if data.records is None else data.records,
        rounds=training.rounds,
        clip_norm=run.contribution.clip_norm,
        noise_multiplier=0.0 if privacy is None else privacy.noise_multiplier or UNCALIBRATED,
        delta=None if privacy is None else privacy.delta,
        mechanism_arguments=tuple(sorted((key, value) for key, value in mechanism.items() if key != "name")),
        count_noise=clipping.get("count_noise"),
        **sizes,
    )


def releases_of(preprocessing: Mapping[str, Any] | None) -> int:
    """Releases of all records that a preprocessing makes: a covariance, means and mean squares, or none."""
    return int(registry.constant("preprocessing", preprocessing, "RELEASES", 0))


def _preprocessing_noise(preprocessing: Mapping[str, Any]) -> tuple[float, ...]:
    """The noise of each release that the preprocessing of a private run makes."""
    releases, noise = releases_of(preprocessing), preprocessing.get("noise_multiplier")
    if noise is None and releases:
        raise PrivacyPlanError(f"preprocessing {preprocessing['name']} of a private run needs a noise_multiplier")
    return () if noise is None else (float(noise),) * releases


def account(bundle: Bundle, measured: DataSizes | None = None) -> dict[str, AccountedRun]:
    """Plans and guarantees of all runs of a bundle, by run id.

    Runs that differ only in clip norm or seed prove the same epsilon, which is computed once.

    Raises:
      PrivacyPlanError: An epsilon is out of reach, or not a single round is within the one to stop at.
    """
    # The trainer reads what was proven, and need not wait for the accountants to be imported.
    from fedpareto.privacy.accounting.calibration import calibrate, end_of_search, stopped
    from fedpareto.privacy.accounting.epsilon import by_client, guarantees
    from fedpareto.privacy.accounting.rdp import whole_curve

    shared: dict[tuple[Any, ...], AccountedRun] = {}
    accounted = {}
    for run in bundle.runs:
        plan = privacy_plan(run, measured)
        proving = plan if plan.clip_norm is None else replace(plan, clip_norm=1.0)
        privacy = run.privacy
        key = (proving, privacy and (privacy.noise, privacy.accountant, privacy.stop_at_epsilon), run.evaluation_rounds)
        if key not in shared:
            doubt = None
            if privacy and privacy.accountant:  # it decides something
                if isinstance(privacy.noise, TargetEpsilon):
                    proving = calibrate(proving, privacy.noise.value, privacy.accountant)
                    doubt = end_of_search(proving, privacy.accountant)
                if privacy.stop_at_epsilon is not None:
                    proving = stopped(proving, privacy.stop_at_epsilon, privacy.accountant)
            proven = tuple(guarantees(proving, [min(t, proving.rounds) for t in run.evaluation_rounds]))
            if doubt:
                proven = (*proven[:-1], replace(proven[-1], warnings=(*proven[-1].warnings, doubt)))
            own = tuple(by_client(proving)) if proving.local is not None else ()
            if own:
                proven = (
                    *proven[:-1],
                    replace(proven[-1], epsilon_median=statistics.median(headline(one)[0] for one in own)),
                )
            shared[key] = AccountedRun(proving, proven, own, whole_curve(proving) if proving.private else ((), ()))
        same = shared[key]
        accounted[run.run_id] = replace(same, plan=replace(same.plan, clip_norm=plan.clip_norm))
    return accounted


def to_json(accounted: dict[str, AccountedRun]) -> str:
    """The accounted runs as JSON text; infinities and NaN are the strings `inf` and `nan`, and equal curves stand once."""
    curves = list({run.curve: None for run in accounted.values()})
    place = {curve: i for i, curve in enumerate(curves)}
    return json.dumps(
        {
            "curves": [[[_encode(v) for v in part] for part in curve] for curve in curves],
            "runs": {
                run_id: {
                    "plan": run.plan.to_dict(),
                    "guarantees": [{k: _encode(v) for k, v in vars(g).items()} for g in run.guarantees],
                    "client_epsilons": [{k: _encode(v) for k, v in one.items()} for one in run.client_epsilons],
                    "curve": place[run.curve],
                }
                for run_id, run in accounted.items()
            },
        },
        indent=1,
    )


def from_json(text: str) -> dict[str, AccountedRun]:
    """Reads the JSON of `to_json`."""
    tree = json.loads(text)
    curves = [tuple(tuple(_decode(v) for v in part) for part in curve) for curve in tree["curves"]]
    accounted = {}
    for run_id, entry in tree["runs"].items():
        proven = []
        for stored in entry["guarantees"]:
            values: dict[str, Any] = {key: _decode(value) for key, value in stored.items() if key != "warnings"}
            proven.append(Guarantee(**values, warnings=tuple(stored["warnings"])))
        own = tuple({k: _decode(v) for k, v in one.items()} for one in entry["client_epsilons"])
        orders, rdp = curves[entry["curve"]]
        accounted[run_id] = AccountedRun(_plan_from_dict(entry["plan"]), tuple(proven), own, (orders, rdp))
    return accounted


def _plan_from_dict(stored: Mapping[str, Any]) -> PrivacyPlan:
    """Reads the result of `PrivacyPlan.to_dict`."""
    values = {key: value for key, value in stored.items() if key in PrivacyPlan.__dataclass_fields__}
    values["setting"] = PrivacySetting(**values["setting"])
    values["mechanism_arguments"] = tuple((name, value) for name, value in values["mechanism_arguments"])
    tuples = ("strategy", "preprocessing_noise_multipliers", "preprocessing_replace_sensitivities")
    values |= {name: tuple(values[name]) for name in tuples}
    if values.get("sum") is not None:
        values["sum"] = SecureAggregation(**values["sum"])
    if values.get("local") is not None:
        values["local"] = LocalSteps(values["local"]["steps"], tuple(values["local"]["record_rates"]))
    return PrivacyPlan(**values)


def _encode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _decode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _decode(entry) for key, entry in value.items()}
    return float(value) if isinstance(value, str) else value
