"""The examples in public docstrings are run."""

import doctest
import importlib

import pytest

MODULES = (
    "columns.declared",
    "components.registry",
    "data.partitions.dealing",
    "notebook",
    "privacy.accounting.calibration",
    "privacy.accounting.epsilon",
    "privacy.clipping",
    "privacy.plan",
    "privacy.setting",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_docstring_hold(name):
    outcome = doctest.testmod(importlib.import_module(f"fedpareto.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
