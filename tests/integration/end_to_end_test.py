#!/usr/bin/python3
"""From readings to verdicts through the programs as they are shipped, and what a crash leaves behind."""
import csv
import json
import math
import shutil
import tempfile
import threading
import time
import unittest

import grpc
import wire
from programs import Plant, Server, run

KILLS = 12


def read_rows(path, count, start=0):
    """`count` rows of the pump's sensors from row `start`, as one flat list."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))[start:start + count]
    names = [name for name in rows[0] if name not in ("timestamp", "label", "culprits")]
    return [float(row[name]) if row[name] else math.nan for row in rows for name in names]


class EndToEndTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.original = Plant(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def setUp(self):
        # A server writes beside its models: each test has its own copy.
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.models = f"{self.folder}/models"
        shutil.copytree(self.original.models, self.models)

    def serve(self, *flags):
        return self.enterContext(Server(self.models, *flags)).wait_until_ready()

    def connect(self, server):
        return self.enterContext(wire.Client(server.address))

    def test_a_faulty_run_is_flagged_where_it_is_faulty(self):
        done = run("evaluate", f"--model={self.models}/pump/1", f"--data={self.original.faulty}", "--label-column=label",
                   "--json")
        evaluation = json.loads(done.stdout)
        self.assertGreater(evaluation["auroc"], 0.8)
        self.assertGreater(evaluation["flagged_rows"], 0)

    def test_one_call_a_stream_and_offline_scoring_agree_bit_for_bit(self):
        server = self.serve()
        client = self.connect(server)
        rows = read_rows(self.original.faulty, 60)
        width = len(rows) // 60
        model = {"name": "pump"}
        at_once = client.score(model=model, values=rows).verdicts
        streamed = [verdict for reply in client.score_stream(
            [{"model": model, "values": rows[:7 * width]}, {"values": rows[7 * width:8 * width]},
             {"values": rows[8 * width:]}]) for verdict in reply.verdicts]
        self.assertEqual(len(at_once), 60)
        self.assertEqual([v.error for v in at_once], [v.error for v in streamed])
        head = f"{self.folder}/head.csv"
        with open(self.original.faulty) as source, open(head, "w") as target:
            target.writelines(source.readlines()[:61])
        online = run("score", f"--server={server.address}", "--model=pump", f"--data={head}", "--format=csv").stdout
        offline = run("score", "--offline", f"--model={self.models}/pump/1", f"--data={head}", "--format=csv").stdout
        self.assertEqual(online, offline)

    def test_a_promoted_calibration_survives_a_kill_and_a_rollback_undoes_it(self):
        server = self.serve()
        first = self.connect(server).score(model={"name": "pump"}, values=read_rows(self.original.normal, 10)).provenance
        run("calibrate", f"--server={server.address}", "--model=pump", f"--data={self.original.normal}",
            "--false-positive-rate=0.2", "--promote")
        server.kill()

        server = self.serve()
        client = self.connect(server)
        rows = read_rows(self.original.normal, 10)
        promoted = client.score(model={"name": "pump"}, values=rows).provenance
        self.assertGreater(promoted.calibration_epoch, first.calibration_epoch)
        self.assertLess(promoted.threshold, first.threshold)
        run("models", "rollback", f"--server={server.address}", "--model=pump")
        first.change = 2  # the promotion and its rollback
        self.assertEqual(client.score(model={"name": "pump"}, values=rows).provenance, first)
        self.assertEqual(server.terminate(), 0, server.log())

        again = self.connect(self.serve()).score(model={"name": "pump"}, values=rows).provenance
        self.assertEqual(again, first)

    def test_a_kill_at_any_moment_of_a_calibration_leaves_the_old_or_the_new_state(self):
        rows = read_rows(self.original.normal, 500)
        probe = rows[:10 * (len(rows) // 500)]
        rates = [0.02 + 0.01 * attempt for attempt in range(KILLS)]

        def calibrate(client, rate, promote):
            header = {"model": {"name": "pump"}, "false_positive_rate": rate, "promote": promote}
            return client.calibrate([{"header": header}, {"rows": {"values": rows}}]).calibration

        client = self.connect(self.serve())
        thresholds = {rate: calibrate(client, rate, promote=False).threshold for rate in rates}
        self.assertEqual(len(set(thresholds.values())), KILLS)

        server, before = self.serve(), None
        for attempt, rate in enumerate(rates):
            client = self.connect(server)
            before = client.score(model={"name": "pump"}, values=probe).provenance
            acknowledged = threading.Event()

            def run_calibration():
                try:
                    calibrate(client, rate, promote=True)
                    acknowledged.set()
                except grpc.RpcError:
                    pass  # killed before it could answer

            thread = threading.Thread(target=run_calibration)
            thread.start()
            time.sleep(0.002 * attempt)  # not a wait for anything: another moment each time
            server.kill()
            thread.join()

            server = self.serve()
            after = self.connect(server).score(model={"name": "pump"}, values=probe).provenance
            with self.subTest(attempt=attempt, acknowledged=acknowledged.is_set()):
                if after.threshold != thresholds[rate]:
                    self.assertFalse(acknowledged.is_set(), "an acknowledged promotion is gone")
                    self.assertEqual(after, before, server.log())
                else:
                    self.assertGreater(after.calibration_epoch, before.calibration_epoch)

    def test_a_newer_version_goes_live_without_a_pause_and_a_broken_one_does_not(self):
        server = self.serve("--poll-interval=0.05")
        client = self.connect(server)
        rows = read_rows(self.original.normal, 10)
        broken = f"{self.models}/pump/2"
        shutil.copytree(f"{self.models}/pump/1", f"{self.folder}/broken")
        with open(f"{self.folder}/broken/weights.bin", "r+b") as weights:
            weights.seek(100)
            weights.write(b"\xff\xff\xff\xff")
        shutil.move(f"{self.folder}/broken", broken)
        with self.assertRaises(grpc.RpcError):
            client.model("LoadModel", name="pump")
            client.score(model={"name": "pump", "version": 2}, values=rows)
        self.assertEqual(client.score(model={"name": "pump"}, values=rows).provenance.version, 1)
        self.assertIn('astray_model_load_failures_total{model="pump"}', server.metrics())

        shutil.copytree(f"{self.models}/pump/1", f"{self.folder}/third")
        shutil.move(f"{self.folder}/third", f"{self.models}/pump/3")
        client.model("LoadModel", name="pump")
        self.assertEqual(client.score(model={"name": "pump"}, values=rows).provenance.version, 3)

    def test_what_is_wrong_is_said_with_the_right_code(self):
        server = self.serve()
        client = self.connect(server)
        rows = read_rows(self.original.normal, 10)
        for fields, code, text in [
            ({"model": {"name": "nosuch"}, "values": rows}, grpc.StatusCode.NOT_FOUND, "nosuch"),
            ({"model": {"name": "pump", "version": 9}, "values": rows}, grpc.StatusCode.NOT_FOUND, "9"),
            ({"model": {"name": "pump"}, "values": rows[:-1]}, grpc.StatusCode.INVALID_ARGUMENT, "values"),
            ({"model": {"name": "pump"}, "values": [*rows[:-1], math.inf]}, grpc.StatusCode.INVALID_ARGUMENT, "inf"),
        ]:
            with self.subTest(text=text), self.assertRaises(grpc.RpcError) as caught:
                client.score(**fields)
            self.assertEqual(caught.exception.code(), code)
            self.assertIn(text, caught.exception.details().lower())
        for arguments, code in [
            (["score", "--server=127.0.0.1:1", "--model=pump", f"--data={self.original.normal}"], 69),
            (["train", f"--data={self.folder}/none.csv", "--name=x"], 65),
            (["train", "--nosuch"], 64),
        ]:
            with self.subTest(arguments=arguments):
                done = run(*arguments, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertEqual(len(done.stderr.strip().splitlines()[:1]), 1)

    def test_a_port_in_use_ends_the_server_with_one_line(self):
        server = self.serve()
        with self.assertRaises(AssertionError) as caught:
            self.enterContext(Server(self.models, ports=(server.port, 0)))
        self.assertIn("exit 1", str(caught.exception))
        self.assertIn(str(server.port), str(caught.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
