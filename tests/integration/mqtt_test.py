#!/usr/bin/python3
"""stream between two topics of a real broker, while its server is killed and started again."""
import csv
import json
import math
import pathlib
import subprocess
import tempfile
import threading
import unittest

from programs import ASTRAY, PATIENCE_SECONDS, Plant, Server, free_port, http, run, wait_for

ROWS = 900


class MqttTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.plant = Plant(self.folder / "plant")
        self.broker = free_port()
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.broker} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        self.start("mosquitto", "-c", config)
        wait_for(lambda: subprocess.run(["mosquitto_pub", "-p", str(self.broker), "-t", "up", "-m", "?"],
                                        capture_output=True).returncode == 0, "the broker")

    def start(self, *arguments, **options):
        log = open(self.folder / f"{pathlib.Path(arguments[0]).name}.log", "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(list(map(str, arguments)), stdin=subprocess.DEVNULL, stderr=log,
                                   **{"stdout": log, **options})
        self.addCleanup(process.wait, PATIENCE_SECONDS)
        self.addCleanup(process.kill)
        return process

    def publish(self, rows):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        subprocess.run(["mosquitto_pub", "-p", str(self.broker), "-t", "rows", "-q", "1", "-l"], input=lines, text=True,
                       check=True, timeout=PATIENCE_SECONDS)

    def test_a_killed_server_loses_no_event_and_repeats_no_wrong_verdict(self):
        with open(self.plant.faulty, newline="") as file:
            rows = [{name: value if name == "timestamp" else float(value or "nan")
                     for name, value in row.items() if name not in ("label", "culprits")}
                    for row in csv.DictReader(file)][:ROWS]
        for row in rows:
            for name, value in row.items():
                row[name] = None if value != value else value
        offline = run("score", "--offline", f"--model={self.plant.models / 'pump' / '1'}", f"--data={self.plant.faulty}",
                      "--format=jsonl").stdout.splitlines()[:ROWS]
        expected = {verdict["timestamp"]: verdict for verdict in map(json.loads, offline)}
        self.assertEqual(len(expected), ROWS)

        ports = free_port(), free_port()
        verdicts = []
        subscriber = self.start("mosquitto_sub", "-p", self.broker, "-t", "verdicts", "-q", "1", "-i", "reader",
                                stdout=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: verdicts.extend(map(json.loads, subscriber.stdout)), daemon=True).start()
        url = f"mqtt://127.0.0.1:{self.broker}"
        with Server(self.plant.models, ports=ports) as server:
            server.wait_until_ready()
            worker = self.start(ASTRAY, "stream", f"--server={server.address}", "--model=pump",
                                f"--source={url}/rows?client-id=worker", f"--sink={url}/verdicts")
            wait_for(lambda: "astray_streams_active 1" in server.metrics(), "the stream")
            self.publish(rows[:ROWS // 3])
            wait_for(lambda: len(verdicts) > ROWS // 6, "some verdicts")
            server.kill()
        self.publish(rows[ROWS // 3:2 * ROWS // 3])
        with Server(self.plant.models, ports=ports) as server:
            self.publish(rows[2 * ROWS // 3:])
            wait_for(lambda: len(verdicts) >= ROWS, "all verdicts")
            # A row more: had anything been sent twice, it would have come before this one's verdict.
            self.publish([dict(rows[-1], timestamp="last")])
            wait_for(lambda: any(verdict["timestamp"] == "last" for verdict in verdicts), "the last verdict")
            self.assertIsNone(worker.poll())
        self.assertEqual(len(verdicts), ROWS + 1)
        for verdict in verdicts[:-1]:
            want = expected.pop(verdict["timestamp"])
            self.assertEqual(verdict["state"], want["state"], verdict)
            self.assertTrue(math.isclose(verdict["score"], want["score"], rel_tol=1e-6), (verdict, want))
            self.assertEqual(verdict.get("alarm", {}).get("state"), want.get("alarm", {}).get("state"))
        self.assertFalse(expected)
        self.assertIn("trying again", (self.folder / "astray.log").read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
