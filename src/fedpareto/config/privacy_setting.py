"""From the keys of a configuration, each with one value, to the setting that the soundness table judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedpareto.components import registry
from fedpareto.data.partitions.interface import is_drawn
from fedpareto.privacy.setting import PrivacySetting, schedule_length


def privacy_setting(keys: Mapping[str, Any]) -> PrivacySetting:
    """The setting of one point of a study's grid, or of a run's flat form: the same for both.

    Args:
      keys: One value a key, None for the default. A spec is a mapping with `name`, or its bare name. The number of steps may be
        missing, and so may `records` and `clients`: a schedule is then as long as its sampling rate says.
    """
    specs = {key: _spec(keys[key], default) for key, default in DEFAULTS.items()}
    rate, population = keys["sampling_rate"], keys.get("records") or keys.get("clients")
    weighting, augmentation = specs["weighting"], specs["augmentation"]
    return PrivacySetting(
        unit=keys["unit"],
        trust=keys["trust"],
        sampling=keys["sampling"],
        participation=keys["participation"],
        mechanism=specs["mechanism"]["name"],
        clipping=specs["clipping"]["name"],
        algorithm=specs["algorithm"]["name"],
        sampling_rate=rate,
        min_separation=schedule_length(population, rate) if population else round(1 / rate),
        weight_cap=None if weighting["name"] == "uniform" else weighting["cap"] or 0,
        several_steps=(keys.get("local_steps") or 1) > 1 or keys.get("local_epochs") is not None,
        dropout=bool(keys["dropout"]),
        stragglers=bool(keys["stragglers"]),
        bands=specs["mechanism"].get("bands", 1),
        learns_from_records=bool(registry.constant("preprocessing", specs["preprocessing"], "RELEASES")),
        drawn_shards=is_drawn(specs["partition"]),
        augmentation=augmentation["name"],
        views=augmentation.get("multiplicity", 1),
    )


# Key of a spec -> the name that None stands for.
DEFAULTS = {
    "mechanism": "gaussian",
    "clipping": "fixed",
    "algorithm": "fedavg",
    "weighting": "uniform",
    "preprocessing": "none",
    "partition": "iid",
    "augmentation": "none",
}


def _spec(value: Any, default: str) -> Mapping[str, Any]:
    if value is None:
        return {"name": default}
    return value if isinstance(value, Mapping) else {"name": value}
