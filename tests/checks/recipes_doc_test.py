#!/usr/bin/env python3
"""Holds docs/recipes.md to recipe.proto: every field and value has its place there."""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = (ROOT / "proto/astray/v1/recipe.proto").read_text()
NETWORK = (ROOT / "proto/astray/v1/network.proto").read_text()
REPORT = (ROOT / "proto/astray/v1/report.proto").read_text()
PAGE = (ROOT / "docs/recipes.md").read_text()
EXAMPLE = "".join(block.split("```")[0] for block in PAGE.split("```textproto\n")[1:])
FIELD = re.compile(r"^\s+(?:optional |repeated )?[\w.]+ (\w+) = \d+;", re.MULTILINE)


def body(proto, name):
    """What stands between the braces of a message or enum, those nested in it included."""
    return re.search(rf"^( *)(?:message|enum) {name} {{\n(.*?)^\1}}", proto, re.MULTILINE | re.DOTALL)[2]


class RecipesDocTest(unittest.TestCase):
    def test_every_field_is_explained(self):
        layers = ("TensorShape", "Extent", "DenseLayer", "ConvolutionLayer", "MaxPoolLayer",
                  "TransposedConvolutionLayer", "DropoutLayer")
        fields = FIELD.findall(PROTO + "".join(body(NETWORK, layer) for layer in layers))
        self.assertGreater(len(fields), 30)
        for field in fields:
            self.assertRegex(PAGE, rf"`([\w.]+\.)?{field}[`.]", field)

    def test_every_value_is_explained(self):
        enums = PROTO + body(NETWORK, "Activation")
        values = [value for value in re.findall(r"^\s+([A-Z_]+) = \d+;", enums, re.MULTILINE)
                  if not value.endswith("UNSPECIFIED")]
        self.assertGreater(len(values), 7)
        for value in values:
            self.assertIn(f"`{value}`", PAGE)

    def test_the_example_sets_every_field(self):
        one_of_two = {"sgd", "preset"}
        for message in ("Recipe", "FeaturesRecipe", "NetworkRecipe", "TrainingRecipe", "AdamOptimizer", "ScoreRecipe",
                        "CalibrationRecipe"):
            fields = set(FIELD.findall(body(PROTO, message))) - one_of_two
            self.assertTrue(fields, message)
            for field in fields:
                self.assertRegex(EXAMPLE, rf"\b{field}(:| {{)", message)

    def test_every_warning_has_a_line(self):
        kinds = re.findall(r"^\s+([A-Z_]+) = [1-9]\d*;", body(REPORT, "Kind"), re.MULTILINE)
        table = PAGE.split("| warning | means | do |")[1].split("\n\n")[0]
        self.assertEqual(len(table.strip().splitlines()) - 1, len(kinds))


if __name__ == "__main__":
    sys.exit(unittest.main())
