#!/usr/bin/python3
"""Dashboards, rules and the README's table against a real Prometheus that scrapes a running astrayd."""
import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.parse

import wire
import yaml
from programs import PATIENCE_SECONDS, ROOT, Plant, Server, free_port, http, run, wait_for

DEPLOY = ROOT / "deploy"
# Grafana's variables, as a viewer who selected everything has them.
VARIABLES = {"$instance": ".*", "$model": ".*", "$version": ".*", "$__rate_interval": "30s"}
# Queries that rightly return nothing on a server that is well, with the model's own calibration never replaced.
MAY_BE_EMPTY = {"astray_model_load_failures_total"}


def queries():
    """(where, expression) of every dashboard panel and variable."""
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in dashboard["templating"]["list"]:
            series = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            yield f"{path.name}: variable {variable['name']}", f"count by ({series.group(2)}) ({series.group(1)})"


def rules():
    """(name, expression) of every recording and alerting rule."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "astray.rules.yml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            yield rule.get("record") or rule["alert"], rule["expr"]


class Prometheus:
    """A Prometheus that scrapes `port` four times a second with the repository's rules. A context manager."""

    def __init__(self, port):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        config = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
            "rule_files": [str(DEPLOY / "prometheus" / "rules" / "astray.rules.yml")],
            "scrape_configs": [{"job_name": "astray", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.log = open(folder / "log", "w+b")
        for _ in range(5):
            self.port = free_port()
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            wait_for(lambda: self.process.poll() is not None or http(self.port, "/-/ready")[0] == 200, "Prometheus")
            if self.process.poll() is None:
                return
        self.log.seek(0)
        raise AssertionError(f"Prometheus does not start:\n{self.log.read().decode()}")

    def query(self, expression):
        """The result's list of series. Raises with Prometheus's own words where the expression is wrong."""
        _, body = http(self.port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        reply = json.loads(body)
        if reply["status"] != "success":
            raise AssertionError(f"{expression}: {reply['error']}")
        return reply["data"]["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self.log.close()
        self.folder.cleanup()


class DashboardsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plant = Plant(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.server = cls.enterClassContext(Server(cls.plant.models)).wait_until_ready()
        cls.prometheus = cls.enterClassContext(Prometheus(cls.server.http_port))
        # Rates need two scrapes with traffic between them.
        wait_for(lambda: cls.prometheus.query('up{job="astray"} == 1'), "the first scrape")
        run("calibrate", f"--server={cls.server.address}", "--model=pump", f"--data={cls.plant.normal}", "--promote")
        run("models", "shadow", f"--server={cls.server.address}", "--model=pump", "--epoch=1")
        cls.traffic()
        wait_for(lambda: cls.prometheus.query("rate(astray_scored_rows_total[30s]) > 0"), "scored rows in Prometheus")
        cls.traffic()

    @classmethod
    def traffic(cls):
        run("score", f"--server={cls.server.address}", "--model=pump", f"--data={cls.plant.faulty}")
        with wire.Client(cls.server.address) as client:
            width = len(client.model("DescribeModel", reply="ModelDescription", model={"name": "pump"}).features)
            missing = [float("nan")] * width
            list(client.score_stream([{"model": {"name": "pump"}, "values": missing}, {"values": missing}]))

    def test_every_dashboard_query_returns_data(self):
        seen = 0
        for where, expression in queries():
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            with self.subTest(where=where):
                self.assertNotIn("$", expression, "a variable that the test does not know")
                wait_for(lambda: self.prometheus.query(expression), f"{where}: data for {expression}")
            seen += 1
        self.assertGreater(seen, 25)

    def test_every_rule_runs_and_its_series_exist(self):
        for name, expression in rules():
            with self.subTest(rule=name):
                self.prometheus.query(expression)
                for metric in set(re.findall(r"\bastray_[a-z_]+", expression)) - MAY_BE_EMPTY:
                    self.assertTrue(self.prometheus.query(metric), f"{name}: {metric} does not exist")

    def test_recorded_ratios_have_data(self):
        for name, _ in rules():
            if ":" in name:
                wait_for(lambda: self.prometheus.query(name), f"data of {name}")

    def test_promtool_accepts_the_scrape(self):
        done = subprocess.run(["promtool", "check", "metrics"], input=self.server.metrics(), capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_the_readme_lists_exactly_what_is_served(self):
        served = set(re.findall(r"^# TYPE (astray_\w+)", self.server.metrics(), re.MULTILINE))
        listed = set(re.findall(r"^\| `(astray_\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
        self.assertEqual(served - listed, set(), "served, but not in the README's table")
        self.assertEqual(listed - served - MAY_BE_EMPTY, set(), "in the README's table, but not served")


if __name__ == "__main__":
    unittest.main(verbosity=2)
