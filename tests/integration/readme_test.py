#!/usr/bin/python3
"""Runs the README's commands as they stand there, in order, in one shell.

Every ```sh block runs. Only three things differ from a reader's terminal: the folder is a temporary one in which
build/release/bin is the build under test, ports 8001 and 8002 are free ones, and ./scripts/demo and ./scripts/test are
looked for but not run (the first has a test of its own, the second is what runs this).
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from programs import BUILD, PATIENCE_SECONDS, ROOT, free_port

README = (ROOT / "README.md").read_text()
NOT_RUN = {"./scripts/demo", "./scripts/demo --keep", "./scripts/test"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class ReadmeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (folder / "build" / "release").mkdir(parents=True)
        (folder / "build" / "release" / "bin").symlink_to(BUILD / "bin")
        (folder / "deploy").symlink_to(ROOT / "deploy")
        ports = {"8001": str(free_port()), "8002": str(free_port())}
        lines = []
        for line in "".join(blocks("sh")).splitlines():
            if line.split("#")[0].strip() in NOT_RUN:
                continue
            lines.append(re.sub(r"\b800[12]\b", lambda match: ports[match.group()], line))
        script = "\n".join(["set -euxo pipefail", *lines])
        # A session of its own: whatever the commands leave running ends with it.
        shell = subprocess.Popen(["bash", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            cls.stdout, cls.stderr = shell.communicate(timeout=3 * PATIENCE_SECONDS)
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        cls.code = shell.returncode

    def test_every_command_succeeds(self):
        self.assertEqual(self.code, 0, self.stdout + self.stderr)

    def test_the_commands_that_are_not_run_exist(self):
        for command in NOT_RUN:
            self.assertIn(command, README)
            self.assertTrue(os.access(ROOT / command.split()[0], os.X_OK), command)

    def test_the_reply_shown_has_the_fields_of_a_real_one(self):
        shown = json.loads(blocks("json")[0])
        replies = [json.loads(line) for line in self.stdout.splitlines() if line.startswith('{"row"')]
        anomalies = [reply for reply in replies if reply["anomalous"]]
        self.assertTrue(anomalies, self.stdout)
        self.assertEqual(list(shown), list(anomalies[0]))
        self.assertEqual(list(shown["contributions"][0]), list(anomalies[0]["contributions"][0]))

    def test_every_link_leads_somewhere(self):
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
