#!/usr/bin/python3
"""train and stream with a real Prometheus that scrapes a real node exporter."""
import json
import pathlib
import subprocess
import tempfile
import unittest
import urllib.parse

from programs import ASTRAY, PATIENCE_SECONDS, Server, free_port, http, run, wait_for

QUERIES = ('rate(node_cpu_seconds_total{mode=~"idle|user|system"}[5s])', "node_memory_MemAvailable_bytes")
RECIPE = """
features { window: 1 }
network { encoder: [ 8, 4 ] }
training { max_steps: 50 }
"""


class PrometheusTest(unittest.TestCase):
    def start(self, *arguments):
        log = open(self.folder / f"{arguments[0]}.log", "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait, PATIENCE_SECONDS)
        self.addCleanup(process.kill)

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        exporter, self.port = free_port(), free_port()
        config = self.folder / "prometheus.yml"
        config.write_text(f"""
global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]}}]
""")
        self.start("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}",
                   "--collector.disable-defaults", "--collector.cpu", "--collector.meminfo")
        self.start("prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}",
                   f"--web.listen-address=127.0.0.1:{self.port}")

    def scrapes(self):
        """How many are behind the newest value."""
        query = urllib.parse.quote("min(count_over_time(node_memory_MemAvailable_bytes[1m]))")
        status, body = http(self.port, f"/api/v1/query?query={query}")
        result = json.loads(body)["data"]["result"] if status == 200 else []
        return int(result[0]["value"][1]) if result else 0

    def test_what_a_range_taught_is_scored_live(self):
        wait_for(lambda: self.scrapes() >= 12, "scrapes")
        recipe = self.folder / "quick.textproto"
        recipe.write_text(RECIPE)
        source = f"prometheus:http://127.0.0.1:{self.port}"
        queries = [f"--query={query}" for query in QUERIES]
        trained = run("train", f"--data={source}", *queries, "--range=8s", "--step=100ms", "--by=cpu,mode", "--name=node",
                      f"--recipe={recipe}", f"--model-base-path={self.folder / 'models'}", "--false-positive-rate=0.1")
        self.assertIn(f"astray stream --model=node --source='{source}' --query='{QUERIES[0]}'", trained.stderr)
        with Server(self.folder / "models") as server:
            server.wait_until_ready()
            described = run("models", "describe", "--model=node", f"--server={server.address}").stdout
            self.assertIn('node_memory_MemAvailable_bytes', described)
            self.assertIn('{cpu="0",mode="idle"}', described)
            stream = subprocess.Popen(
                [ASTRAY, "stream", f"--server={server.address}", "--model=node", f"--source={source}", *queries,
                 "--step=200ms", "--by=cpu,mode", "--format=jsonl", "--give-up-after=0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                verdicts = [json.loads(stream.stdout.readline()) for _ in range(5)]
                server.terminate()
                _, notes = stream.communicate(timeout=PATIENCE_SECONDS)
            finally:
                stream.kill()
                stream.wait(PATIENCE_SECONDS)
        self.assertEqual([verdict["row"] for verdict in verdicts], [1, 2, 3, 4, 5])
        self.assertEqual({verdict["state"] for verdict in verdicts}, {"SCORED"})
        self.assertEqual(stream.returncode, 69, notes)
        self.assertNotIn("passed over", notes)


if __name__ == "__main__":
    unittest.main()
