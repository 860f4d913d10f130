#!/usr/bin/python3
"""scripts/demo on the built tree: it ends with 0, shows what it promises and leaves nothing running or lying about."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from programs import BUILD, PATIENCE_SECONDS, ROOT, http

DEMO = ROOT / "scripts" / "demo"


class DemoTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def demo(self, *arguments):
        done = subprocess.run([DEMO, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env={**os.environ, "ASTRAY_BUILD_DIR": str(BUILD), "TMPDIR": self.folder},
                              timeout=4 * PATIENCE_SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_it_shows_what_it_promises_and_cleans_up(self):
        output = self.demo()
        self.assertIn("The worst anomalies", output)
        caught, faults = map(int, re.search(r"caught (\d+) of (\d+) faults", output).groups())
        self.assertEqual(faults, 4)
        self.assertGreaterEqual(caught, 3)
        self.assertRegex(output, r'astray_scored_rows_total\{.*model="pump".*\} [1-9]')
        self.assertRegex(output, r'astray_calibration_epoch\{.*\} 2\b')
        self.assertIn("left with code 0", output)
        self.assertEqual(os.listdir(self.folder), [])

    def test_keep_leaves_the_server_up_and_says_how_to_stop_it(self):
        output = self.demo("--keep")
        port = int(re.search(r"readiness http://127\.0\.0\.1:(\d+)", output).group(1))
        stop = re.search(r"kill (\d+) && rm -r (\S+)", output)
        try:
            self.assertEqual(http(port, "/readyz")[0], 200)
        finally:
            os.kill(int(stop.group(1)), 15)
        self.assertTrue(pathlib.Path(stop.group(2)).is_dir())

    def test_an_unknown_flag_is_a_usage_error(self):
        done = subprocess.run([DEMO, "--nosuch"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertIn("usage:", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
