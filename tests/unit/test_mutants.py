"""The list of mutants is about the code as it is."""

import ast
from pathlib import Path

import pytest
from mutate import TESTS, caught_before, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.what)
def test_a_mutant_still_breaks_the_code(mutant):
    assert mutant.this != mutant.that
    ast.parse(mutant.applied())  # raises where what it replaces is gone
    assert mutant.tests


def test_every_line_of_the_table_is_about_a_mutant():
    files = [mutant.file for mutant in mutants()]
    assert [start for start in TESTS if not any(file.startswith(start) for file in files)] == []


def test_the_tests_of_mutants_exist():
    root = Path(__file__).parents[2]
    assert all((root / file).is_file() for files in TESTS.values() for file in files)


def test_the_table_names_the_test_that_caught_each_mutant():
    root, known = Path(__file__).parents[2], caught_before()
    assert [mutant.what for mutant in mutants()] == list(known)
    for file, _, name in known.values():
        assert f"def {name}(" in (root / file).read_text(encoding="utf-8")
