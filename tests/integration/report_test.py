#!/usr/bin/python3
"""The page of `astray evaluate --report` in headless Chromium: what it draws, that it asks for nothing and complains of nothing."""
import csv
import json
import math
import pathlib
import random
import re
import tempfile
import unittest

from browser import Browser
from programs import Plant, run

HOSTILE = ["</script><script>window.hacked=1</script>", "\"'><img src=x onerror=window.hacked=1>", "{{script}}<b>${window.hacked=1}"]
SCORE_LIGHT, LABEL_ON_LIGHT, LIMIT_LIGHT = (29, 95, 191), (252, 229, 200), (179, 38, 30)  # as the page mixes its colours
LATER_LIGHT, CARD_DARK, SCORE_DARK, LATER_DARK = (27, 31, 38), (27, 31, 38), (110, 168, 255), (244, 246, 250)


def near(colours, wanted, distance=12):
    """Pixels whose colour is about the wanted one."""
    total = 0
    for colour, pixels in colours.items():
        if all(abs(int(a) - b) <= distance for a, b in zip(colour.split(","), wanted)):
            total += pixels
    return total


def grey(colour):
    """What a black-and-white printer makes of it, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def vertices(path):
    return len(re.findall("[ML]", path))


def labelled_ranges(path):
    """[first, end) of adjacent labelled rows, from 0."""
    with open(path, newline="") as file:
        labels = [row["label"] == "1" for row in csv.DictReader(file)]
    starts = [i for i, label in enumerate(labels) if label and (i == 0 or not labels[i - 1])]
    return [(i, next((j for j in range(i, len(labels)) if not labels[j]), len(labels))) for i in starts]


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.plant = Plant(cls.folder / "pump")
        cls.page = cls.folder / "pump.html"
        done = run("evaluate", f"--model={cls.plant.models / 'pump' / '1'}", f"--data={cls.plant.faulty}", "--json",
                   f"--report={cls.page}")
        cls.evaluation = json.loads(done.stdout)
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        self.browser.requests.clear()
        self.browser.complaints.clear()

    def tearDown(self):
        """Holds for every page that a test showed."""
        self.assertEqual([url for url in self.browser.requests if not url.startswith(("file://", "data:"))], [])
        self.assertEqual(self.browser.complaints, [])

    def open(self, page, **options):
        self.browser.open(page, **options)
        self.assertEqual(sum(url.startswith("file://") for url in self.browser.requests), 1, self.browser.requests)

    def text(self, selector):
        return self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def count(self, selector):
        return self.browser.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")

    def path(self, selector):
        return self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).getAttribute('d')")

    def data(self, expression):
        return self.browser.evaluate(f"(data => {expression})(JSON.parse(document.getElementById('data').textContent))")

    def write_rows(self, name, names, rows, odd):
        """Rows that hang together, with `odd` ones that do not; labelled, of two machines."""
        path = self.folder / name
        numbers = random.Random(3)
        with open(path, "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["machine", *names, "label"])
            for i in range(rows):
                x = numbers.gauss(0, 1)
                values = [x + numbers.gauss(0, 0.1) for _ in names]
                if i in odd:
                    values[i % len(names)] += 9
                out.writerow([HOSTILE[i % 2], *(f"{value:.4f}" for value in values), int(i in odd)])
        return path

    def test_measures_are_those_that_json_prints(self):
        self.open(self.page)
        shown = {"auroc": "auroc", "average-precision": "average_precision", "vus-pr": "vus_pr", "f1": "f1_at_threshold",
                 "best-f1": "best_f1", "false-positive-rate": "false_positive_rate"}
        for tile, field in shown.items():
            self.assertEqual(self.text(f"#{tile} .value"), f"{self.evaluation[field]:.4f}", tile)
        self.assertEqual(self.text("#ranges .value"), f"{self.evaluation['ranges_detected']} of {self.evaluation['ranges']}")
        self.assertEqual(self.evaluation["ranges"], len(labelled_ranges(self.plant.faulty)))
        self.assertIn(f"{self.evaluation['flagged_rows']:,} flagged", self.text("#subtitle"))
        self.assertEqual(self.text("#title"), "pump, version 1")

    def test_measures_in_hindsight_stand_below_them(self):
        self.open(self.page)
        later = self.evaluation["hindsight"]
        shown = {"auroc": "auroc", "average-precision": "average_precision", "vus-pr": "vus_pr", "f1": "f1_at_threshold",
                 "best-f1": "best_f1", "false-positive-rate": "false_positive_rate"}
        for tile, field in shown.items():
            self.assertEqual(self.text(f"#{tile} .later"), f"in hindsight {later[field]:.4f}", tile)
        self.assertGreater(later["average_precision"], 0.3)
        self.assertEqual(self.count("#measures .later"), len(shown))
        self.assertIn(f"in hindsight precision {later['precision_at_threshold']:.4f}, recall {later['recall_at_threshold']:.4f}",
                      self.text("#f1 .more"))
        self.assertFalse(self.browser.evaluate("document.getElementById('hindsight-note').hidden"))
        self.assertIn("astray score --offline --hindsight", self.text("#hindsight-note"))

    def test_scores_in_hindsight_are_a_line_of_their_own(self):
        self.open(self.page)
        # It has a score for the rows before the first full window, too.
        firsts = self.browser.evaluate("['score', 'later'].map((line) => Number(document.querySelector(`#score-plot path.${line}`)"
                                       ".getAttribute('d').match(/M([0-9.]+)/)[1]))")
        self.assertLess(firsts[1], firsts[0])
        self.assertEqual(self.data("data.entities[0].hindsight_high.filter((score) => score !== null).length"),
                         self.evaluation["hindsight"]["scored_rows"])
        self.assertEqual(self.data("data.entities[0].hindsight_high.filter((score) => score > 1).length"),
                         self.evaluation["hindsight"]["flagged_rows"])
        for legend in ("#timeline-legend", "section:has(> #roc) .legend", "section:has(> #pr) .legend"):
            self.assertIn("in hindsight", self.text(legend))
        self.assertEqual(vertices(self.path("#roc .curve.later")), self.data("data.hindsight.curve.length") + 1)
        self.assertEqual(vertices(self.path("#pr .curve.later")), self.data("data.hindsight.curve.length"))
        self.assertIn(f"in hindsight {self.evaluation['hindsight']['auroc']:.4f}", self.text("#roc-note"))
        self.browser.evaluate("show(100, 120)")
        self.assertEqual(vertices(self.path("#score-plot .later")), 20, "a point a row")
        light = self.browser.colours("#score-plot svg")
        self.assertGreater(near(light, LATER_LIGHT), 500)
        self.assertGreater(near(light, SCORE_LIGHT), 200, "a thin line")
        self.assertGreater(abs(grey(SCORE_LIGHT) - grey(LATER_LIGHT)), 50, "told apart in print")
        self.browser.requests.clear()
        self.open(self.page, dark=True)
        self.assertGreater(near(self.browser.colours("#score-plot svg"), LATER_DARK), 500)

    def test_every_curve_has_its_points(self):
        self.open(self.page)
        self.assertEqual(vertices(self.path("#roc .curve")), self.data("data.curve.length") + 1)
        self.assertEqual(vertices(self.path("#pr .curve")), self.data("data.curve.length"))
        self.assertEqual(vertices(self.path("#calibration .curve")),
                         self.data("data.calibration.filter(([, share]) => share > 0).length"))
        self.assertGreater(self.data("data.curve.length"), 20)
        self.assertEqual(self.count("#score-plot .range"), self.evaluation["ranges"])
        self.assertEqual(self.count("#leads .lead"), self.data("data.leads.length"))
        self.assertEqual(self.count("#alarms tbody tr"), self.data("data.alarms.length"))
        self.assertEqual(self.data("data.leads.reduce((sum, [, hits, misses]) => sum + hits + misses, 0)"),
                         self.evaluation["flagged_rows"])

    def test_a_range_stands_where_its_rows_are(self):
        self.open(self.page)
        rows = self.evaluation["rows"]
        ticks = self.browser.evaluate("[...document.querySelectorAll('#score-plot .grid')].length")
        self.assertGreater(ticks, 6)
        left, width = self.browser.evaluate("(() => { const d = document.querySelector('#score-plot .threshold').getAttribute('d')"
                                            ".match(/M([0-9.]+) .*H([0-9.]+)/); return [Number(d[1]), d[2] - d[1]]; })()")
        for i, (first, end) in enumerate(labelled_ranges(self.plant.faulty)):
            x, wide = self.browser.evaluate(f"(() => {{ const r = document.querySelectorAll('#score-plot .range')[{i}];"
                                            " return [Number(r.getAttribute('x')), Number(r.getAttribute('width'))]; })()")
            self.assertAlmostEqual(x, left + width * first / rows, delta=0.1)
            self.assertAlmostEqual(wide, width * (end - first) / rows, delta=0.1)

    def test_dragging_zooms_and_the_button_shows_all_again(self):
        self.open(self.page)
        box = self.browser.evaluate("(() => { const b = document.querySelector('#score-plot svg').getBoundingClientRect();"
                                    " return [b.left, b.top, b.width]; })()")
        before = self.path("#score-plot .score")
        first, _ = labelled_ranges(self.plant.faulty)[0]
        place = lambda row: box[0] + 62 + (box[2] - 62 - 12) * row / self.evaluation["rows"]
        self.browser.drag(place(first - 20), place(first + 20), box[1] + 100)
        zoomed = self.path("#score-plot .score")
        self.assertLess(abs(vertices(zoomed) - 40), 6, "a point a row")
        self.assertEqual(self.count("#score-plot .range"), 1)
        with open(self.plant.faulty, newline="") as file:
            times = [row["timestamp"] for row in csv.DictReader(file)]
        begin, end = self.browser.evaluate("[...document.querySelectorAll('#score-plot .time')].map((text) => text.textContent)")
        self.assertLess(abs(times.index(begin) - (first - 20)), 3)
        self.assertLess(abs(times.index(end) - (first + 20)), 3)
        self.browser.mouse("mouseMoved", place(self.evaluation["rows"] * 0.9), box[1] + 100)
        self.assertRegex(self.text("#readout"), r"^row [\d,]+ · 2026-.* · score [\d.e-]+(, flagged)? · in hindsight [\d.e-]+(, flagged)?"
                         r" · labelled anomalous$")
        self.browser.evaluate("document.getElementById('all').click()")
        self.assertEqual(self.path("#score-plot .score"), before)
        self.browser.evaluate("document.getElementById('log').click()")
        self.assertNotEqual(self.path("#score-plot .score"), before)

    def test_it_is_not_blank_in_light_and_in_dark(self):
        self.open(self.page)
        light = self.browser.colours("#score-plot svg")
        self.assertGreater(near(light, SCORE_LIGHT), 2000)
        self.assertGreater(near(light, LABEL_ON_LIGHT), 2000)
        self.assertGreater(near(light, LIMIT_LIGHT), 500)
        self.assertGreater(near(self.browser.colours("#calibration svg"), SCORE_LIGHT), 200)
        for plot in ("#roc svg", "#pr svg"):  # where the two coincide, the second is on top
            colours = self.browser.colours(plot)
            self.assertGreater(near(colours, SCORE_LIGHT), 50, plot)
            self.assertGreater(near(colours, LATER_LIGHT), 200, plot)
        self.browser.requests.clear()
        self.open(self.page, dark=True)
        dark = self.browser.colours("#score-plot svg")
        self.assertGreater(near(dark, CARD_DARK, 2), sum(dark.values()) / 4)
        self.assertGreater(near(dark, SCORE_DARK), 2000)

    def test_it_fits_a_phone(self):
        self.open(self.page, width=390, height=844)
        self.assertEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 390)
        for plot in ("score-plot", "roc", "pr", "calibration"):
            self.assertLessEqual(self.browser.evaluate(f"document.querySelector('#{plot} svg').getBoundingClientRect().right"), 390)

    def test_this_browser_sees_what_a_page_asks_for_and_complains_of(self):
        page = self.folder / "bad.html"
        page.write_text("<img src='http://127.0.0.1:1/x.png'><script>console.error('no'); missing();</script>")
        self.open(page)
        self.assertIn("http://127.0.0.1:1/x.png", self.browser.requests)
        self.assertGreaterEqual(len(self.browser.complaints), 2)
        self.setUp()

    def test_hostile_names_are_shown_as_text(self):
        train = self.write_rows("train<b>.csv", HOSTILE, 1200, set())
        test = self.write_rows("test<b>.csv", HOSTILE, 600, set(range(100, 130)) | {400})
        recipe = self.folder / "rows.textproto"
        recipe.write_text("features { window: 1 } network { encoder: [ 16, 8 ] } training { max_steps: 200 }")
        models, page = self.folder / "models", self.folder / "hostile.html"
        run("train", f"--data={train}", "--name=m", f"--recipe={recipe}", "--entity-column=machine", f"--model-base-path={models}")
        done = run("evaluate", f"--model={models / 'm' / '1'}", f"--data={test}", "--entity-column=machine", "--json",
                   f"--report={page}")
        self.open(page)
        self.assertEqual(self.browser.evaluate("typeof window.hacked"), "undefined")
        self.assertEqual([self.count("b"), self.count("img"), self.count("script")], [0, 0, 2])
        body = self.text("main")
        for name in HOSTILE:
            self.assertIn(name, body.replace("\\\"", "\"").replace("\\'", "'"))
        self.assertIn("<b>.csv", self.browser.evaluate("document.title"))
        # Rows in no order of time: dots, and neither ranges nor a delay.
        evaluation = json.loads(done.stdout)
        self.assertEqual(evaluation["vus_pr"], "NaN")
        self.assertEqual(self.count("#vus-pr") + self.count("#ranges"), 0)
        self.assertEqual(self.text("#timeline-title"), "Score of each row")
        # Rows judged alone have no hindsight.
        self.assertNotIn("hindsight", evaluation)
        self.assertEqual(self.count(".later"), 0)
        self.assertNotIn("hindsight", self.browser.evaluate("document.querySelector('main').innerText"))
        dots = [self.path("#score-plot .dots.normal"), self.path("#score-plot .dots.anomalous")]
        self.assertEqual([vertices(path) for path in dots], [300, 16])
        self.browser.evaluate("(() => { const s = document.getElementById('entity'); s.value = 1;"
                              " s.dispatchEvent(new Event('change')); })()")
        self.assertEqual(vertices(self.path("#score-plot .dots.anomalous")), 15)

    def test_an_alarm_by_the_level_of_its_readings_says_so(self):
        def write(name, rows, climbing=(), broken=()):
            numbers = random.Random(name)
            with open(self.folder / name, "w", newline="") as file:
                out = csv.writer(file)
                out.writerow(["time", "flow", "pressure", "temperature", "label"])
                for i in range(rows):
                    load = 1 + 0.03 * climbing.index(i) if i in climbing else math.sin(i / 17)
                    other = -load if i in broken else load
                    values = [20 + 3 * load, 1000 - 50 * load, 0.5 + 0.2 * other]
                    out.writerow([i, *(f"{value * (1 + numbers.gauss(0, 0.002)):.5g}" for value in values),
                                  int(i in climbing or i in broken)])
            return self.folder / name

        train = write("steady.csv", 800)
        test = write("moved.csv", 234, climbing=range(134, 234), broken=range(80, 90))
        recipe = self.folder / "level.textproto"
        recipe.write_text("features { window: 4 } network { activation: LINEAR encoder: 2 } training { max_steps: 400 } "
                          "score { t_squared_rows: 2 }")
        models, page = self.folder / "level-models", self.folder / "level.html"
        run("train", f"--data={train}", "--name=m", f"--recipe={recipe}", f"--model-base-path={models}")
        run("evaluate", f"--model={models / 'm' / '1'}", f"--data={test}", f"--report={page}")
        self.open(page)
        rows = self.browser.evaluate("[...document.querySelectorAll('#alarms tbody tr')].map((row) => row.textContent)")
        said = self.data("data.alarms.map((alarm) => alarm.by_t_squared)")
        self.assertEqual([("level (T²)" in row, ", normally about " in row, " instead of " in row) for row in rows],
                         [(by_level, by_level, not by_level) for by_level in said])
        self.assertEqual(set(said), {True, False})
        self.assertIn("level (T²)", self.text("#footer"))

    def test_sessions_of_a_log_have_their_keys(self):
        def write(name, requests, odd=()):
            lines = [f"2024-05-01 10:{i // 60 % 60:02}:{i % 60:02} INFO req-{i} {text}\n" for i in range(requests)
                     for text in (["accepted", "looked up"] + (["lost its store"] if i in odd else []) + ["answered"])]
            (self.folder / name).write_text("".join(lines))
            return self.folder / name

        train, test = write("train.log", 400), write("test.log", 120, odd={17, 40})
        labels = self.folder / "labels.csv"
        labels.write_text("session,label\n" + "".join(f"req-{i},{int(i in (17, 40))}\n" for i in range(120)))
        models, page = self.folder / "log-models", self.folder / "log.html"
        run("train", f"--data={train}", "--name=m", "--session-pattern=req-[0-9]+", f"--model-base-path={models}")
        run("evaluate", f"--model={models / 'm' / '1'}", f"--data={test}", f"--labels={labels}", f"--report={page}")
        self.open(page)
        self.assertEqual(self.text("#timeline-title"), "Score of each session")
        self.assertEqual(vertices(self.path("#score-plot .dots.anomalous")), 2)
        self.assertRegex(self.text("#alarms tbody"), r"req-(17|40)")


if __name__ == "__main__":
    unittest.main(verbosity=2)
