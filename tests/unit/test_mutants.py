"""The list of mutants is about the code as it is."""

import ast
from pathlib import Path

import pytest
from mutate import CLOSEST, TESTS, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.what)
def test_a_mutant_still_breaks_the_code(mutant):
    assert mutant.this != mutant.that
    ast.parse(mutant.applied())  # raises where what it replaces is gone
    assert mutant.tests


def test_every_line_of_the_tables_is_about_a_mutant():
    files = [mutant.file for mutant in mutants()]
    assert [start for start in {**TESTS, **CLOSEST} if not any(file.startswith(start) for file in files)] == []


def test_the_tests_of_mutants_exist():
    root = Path(__file__).parents[2]
    assert all((root / file).is_file() for files in (*TESTS.values(), CLOSEST.values()) for file in files)
