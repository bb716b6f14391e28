"""The list of mutants is about the code as it is."""

import ast
from pathlib import Path

import pytest
from mutate import TESTS, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.what)
def test_a_mutant_still_breaks_the_code(mutant):
    assert mutant.this != mutant.that
    ast.parse(mutant.applied())  # raises where what it replaces is gone


def test_the_tests_of_mutants_exist():
    root = Path(__file__).parents[2]
    assert all((root / file).is_file() for files in TESTS.values() for file in files)
