#!/usr/bin/python3
"""tests/bench/quality.py on made-up data in the public sets' form: the page has the means of what evaluate says."""
import csv
import gzip
import math
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

from programs import ASTRAY, PATIENCE_SECONDS, ROOT

BENCH = ROOT / "tests" / "bench" / "quality.py"
sys.path.insert(0, str(BENCH.parent))
import quality  # noqa: E402


class QualityBenchTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write_series(self, data_set, entity, height):
        """A wave; in the test part with a stretch that leaves it by `height`."""
        numbers = random.Random(entity)
        (self.folder / data_set).mkdir(exist_ok=True)
        for part, rows in (("train", 600), ("test", 500)):
            with gzip.open(self.folder / data_set / f"{entity}_{part}.csv.gz", "wt", newline="") as file:
                out = csv.writer(file)
                out.writerow(["f1", "label"])
                for i in range(rows):
                    odd = part == "test" and 300 <= i < 330
                    out.writerow([f"{math.sin(i / 8) + numbers.gauss(0, 0.05) + height * odd:.4f}", int(odd)])

    def bench(self, *arguments):
        return subprocess.run([sys.executable, "-B", BENCH, f"--astray={ASTRAY}", "--out=-", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env={**os.environ, "ASTRAY_DATA_DIR": str(self.folder)},
                              timeout=4 * PATIENCE_SECONDS)

    def test_a_sets_figures_are_the_means_of_its_entities(self):
        self.write_series("nab", "easy", 9)
        self.write_series("nab", "hard", 0)
        done = self.bench("--sets=nab,tep", "--jobs=2", "--seeds=2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("note: no tep in", done.stderr)
        self.assertNotIn("Tennessee", done.stdout)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("| nab")]
        (total, later), entities = [row for row in rows if row[1] == "2"], [row for row in rows if row[1] in ("easy", "hard")]
        self.assertEqual(len(entities), 2)
        self.assertEqual([total[0], later[0]], ["nab", "nab, in hindsight"])
        of_seeds = total.pop(3)
        for column in range(2, 8):  # AUROC .. false alarms
            values = [float(row[column]) for row in entities]
            self.assertAlmostEqual(float(total[column]), sum(values) / 2, delta=0.0011)
        with tempfile.TemporaryDirectory() as models, unittest.mock.patch.multiple(
                quality, create=True, ASTRAY=ASTRAY, DATA=self.folder):
            results = [[quality.measure_entity(models, "nab", entity, seed) for entity in ("easy", "hard")] for seed in (1, 2)]
        auroc = [[result["auroc"] for result in of_seed] for of_seed in results]
        self.assertAlmostEqual(float(entities[1][2]), (auroc[0][1] + auroc[1][1]) / 2, delta=0.0006)
        self.assertAlmostEqual(float(of_seeds), abs(sum(auroc[0]) - sum(auroc[1])) / 2 / math.sqrt(2), delta=0.0006)
        self.assertGreater(float(entities[0][2]), 0.95, "the easy one's AUROC")
        hindsight = [result["hindsight"]["vus_pr"] for of_seed in results for result in of_seed]
        self.assertAlmostEqual(float(later[5]), sum(hindsight) / 4, delta=0.0006)
        self.assertAlmostEqual(float(entities[1][9].split(" / ")[2]), (hindsight[1] + hindsight[3]) / 2, delta=0.0006)
        self.assertEqual(total[8:], list(quality.BASELINES["nab"]))
        self.assertRegex(entities[0][8], r"^1 of 1, [\d.]+ rows?$")

    def test_without_any_data_nothing_is_written(self):
        done = self.bench("--sets=nab")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^no data in .*: set ASTRAY_DATA_DIR\n$")
        self.assertNotEqual(self.bench("--sets=nope").returncode, 0)

    def test_numbers_read_as_in_papers(self):
        self.assertEqual([quality.number(value) for value in (0.8734, 1, 0, None, "NaN")], [".873", "1.000", ".000", "–", "–"])

    def test_raw_lines_hold_their_session_and_order(self):
        path = self.folder / "x.log"
        quality.write_log(path, [["blk_1", "E1 E2", "0"], ["blk_2", "E2 E9", "1"]], {"E1": "Receiving <*> src <*> to", "E2": "done"})
        lines = path.read_text().splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(sorted(lines), lines, "by time")
        first = [re.sub(r"^2008-11-09 \S+ INFO x: ", "", line) for line in lines if "blk_1" in line]
        self.assertRegex(first[0], r"^Receiving  blk_1  src  10\.\d+\.\d+\.1:\d+  to$")
        self.assertEqual(first[1], "done blk_1")
        self.assertEqual([line.split()[-2:] for line in lines if "blk_2" in line], [["done", "blk_2"], ["E9", "blk_2"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
