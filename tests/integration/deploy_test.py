#!/usr/bin/python3
"""What can be known of an image without a container engine, and that deploy/ is consistent with itself."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml
from programs import ASTRAY, ASTRAYD, ROOT, run

DEPLOY = ROOT / "deploy"


def runtime_packages():
    text = (ROOT / "scripts" / "install-deps").read_text()
    return re.search(r"^runtime=\((.*?)\)", text, re.MULTILINE | re.DOTALL).group(1).split()


def closure(packages):
    """`packages` and all that they depend on, as installed here."""
    known, waiting = set(), list(packages)
    while waiting:
        package = waiting.pop()
        if package in known:
            continue
        known.add(package)
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Depends}, ${Pre-Depends}\n", package], capture_output=True,
                              text=True)
        waiting += re.findall(r"(?:^|[,|]\s*)([a-z0-9][a-z0-9.+-]+)", done.stdout)
    return known


def packages_of(program):
    """The package of every shared library that `program` loads."""
    libraries = re.findall(r"=> (/\S+)", subprocess.run(["ldd", program], check=True, capture_output=True,
                                                       text=True).stdout)
    found = set()
    for library in libraries:
        # dpkg knows a file by the path it was shipped with, before /lib became a link to /usr/lib.
        for path in (library, os.path.realpath(library), os.path.realpath(library).removeprefix("/usr")):
            done = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True)
            if done.returncode == 0:
                found.add(done.stdout.split(":")[0])
                break
        else:
            raise AssertionError(f"{program} loads {library}, which is in no package")
    return found


class ImageTest(unittest.TestCase):
    def test_the_runtime_packages_cover_what_the_programs_load(self):
        if os.environ.get("ASTRAY_SANITIZE"):
            self.skipTest("sanitizers load libraries of their own")
        installed = closure(runtime_packages())
        for program in (ASTRAY, ASTRAYD):
            needed = packages_of(program)
            self.assertIn("libdnnl2", needed)
            self.assertEqual(needed - installed, set(), f"{program.name} needs more than `install-deps runtime` installs")

    def test_every_copied_path_exists_and_reaches_the_builder(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        copied = [source for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
                  for source in line.split()[:-1]]
        self.assertIn("engine", copied)
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertIn(source.split("/")[0], sent)

    def test_the_image_runs_as_a_fixed_user_without_a_shell(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        for wanted in ("USER 65532:65532", 'ENTRYPOINT ["/usr/local/bin/astrayd"]', "HEALTHCHECK"):
            self.assertIn(wanted, dockerfile)
        for flag in re.findall(r'"(--[a-z-]+)=', dockerfile):
            done = [subprocess.run([program, *arguments, "--help"], capture_output=True, text=True).stdout
                    for program, arguments in ((ASTRAYD, []), (ASTRAY, ["models", "list"]))]
            self.assertTrue(any(flag in text for text in done), flag)


class DeployTest(unittest.TestCase):
    def test_compose_mounts_what_exists(self):
        services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        self.assertEqual(set(services), {"astrayd", "prometheus", "grafana"})
        for service in services.values():
            for volume in service["volumes"]:
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((DEPLOY / source).is_dir(), volume)

    def test_grafana_reads_the_data_source_that_the_dashboards_name(self):
        sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
        for dashboard in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
            named = set(re.findall(r'"type": "prometheus",\s*"uid": "([^"]+)"', dashboard.read_text()))
            self.assertEqual(named, {source["uid"] for source in sources}, dashboard.name)

    def test_kubernetes_objects_agree_on_user_ports_and_labels(self):
        objects = {(entry["kind"], entry["metadata"]["name"]): entry
                   for entry in yaml.safe_load_all((DEPLOY / "kubernetes/astray.yaml").read_text())}
        pod = objects["Deployment", "astray"]["spec"]["template"]
        container = pod["spec"]["containers"][0]
        self.assertEqual(pod["spec"]["securityContext"]["runAsUser"], 65532)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.assertEqual(ports, {"grpc": 8001, "http": 8002})
        self.assertEqual(container["readinessProbe"]["grpc"]["port"], ports["grpc"])
        for (kind, _), entry in objects.items():
            if kind == "Service":
                self.assertEqual(entry["spec"]["selector"], pod["metadata"]["labels"])
                self.assertTrue({port["targetPort"] for port in entry["spec"]["ports"]} <= set(ports))
        claim = pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
        self.assertIn(("PersistentVolumeClaim", claim), objects)

    def test_every_sample_recipe_trains(self):
        recipes = sorted((DEPLOY / "recipes").glob("*.textproto"))
        self.assertGreaterEqual(len(recipes), 3)
        with tempfile.TemporaryDirectory() as folder:
            run("simulate", "--plant=pump", "--rows=1500", "--faults=seal_leak", f"--out-dir={folder}")
            for recipe in recipes:
                with self.subTest(recipe=recipe.name):
                    run("train", f"--data={folder}/normal.csv", f"--name={recipe.stem}", f"--recipe={recipe}",
                        f"--model-base-path={folder}/models")
                    self.assertTrue((pathlib.Path(folder) / "models" / recipe.stem / "1" / "manifest.textproto").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
