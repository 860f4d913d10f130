#!/usr/bin/env python3
"""Holds docs/recipes.md to recipe.proto: every field and value has its place there."""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = (ROOT / "proto/astray/v1/recipe.proto").read_text()
PAGE = (ROOT / "docs/recipes.md").read_text()


class RecipesDocTest(unittest.TestCase):
    def test_every_field_is_explained(self):
        fields = re.findall(r"^\s+(?:optional |repeated )?[\w.]+ (\w+) = \d+;", PROTO, re.MULTILINE)
        self.assertGreater(len(fields), 30)
        for field in fields:
            self.assertRegex(PAGE, rf"`([\w.]+\.)?{field}[`.]", field)

    def test_every_value_is_explained(self):
        values = [value for value in re.findall(r"^\s+([A-Z_]+) = \d+;", PROTO, re.MULTILINE)
                  if not value.endswith("UNSPECIFIED")]
        self.assertGreater(len(values), 7)
        for value in values:
            self.assertIn(f"`{value}`", PAGE)


if __name__ == "__main__":
    sys.exit(unittest.main())
