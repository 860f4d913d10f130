#!/usr/bin/env python3
"""The layering check passes on this tree, fails on trees that break a rule, and the linked programs agree with it."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import layering

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LayeringTest(unittest.TestCase):
    def broken(self, path, include):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / path
            file.parent.mkdir(parents=True)
            file.write_text(f"#pragma once\n#include {include}\n")
            return layering.violations(pathlib.Path(folder))

    def test_this_tree_keeps_the_floors(self):
        self.assertEqual(layering.violations(ROOT), [])

    def test_the_tree_is_really_looked_at(self):
        for folder in [*layering.FLOORS, *layering.PROGRAMS]:
            self.assertTrue(list((ROOT / folder).glob("*.cc")), f"no sources in {folder}")

    def test_violations_are_named_with_file_line_and_reason(self):
        self.assertEqual(
            self.broken("engine/nn/network.h", '"engine/data/dataset.h"'),
            ["engine/nn/network.h:2: includes engine/data/dataset.h: engine/data is on floor 1, engine/nn on floor 1: "
             "only lower floors"])

    def test_what_is_forbidden(self):
        for path, include in [
            ("engine/base/file.cc", '"engine/nn/network.h"'),
            ("engine/detect/detector.cc", '"engine/train/train_job.h"'),
            ("engine/detect/detector.cc", '"server/metrics.h"'),
            ("engine/detect/detector.cc", "<dnnl.hpp>"),
            ("engine/detect/detector.h", "<oneapi/dnnl/dnnl.h>"),
            ("engine/train/train_job.cc", "<grpcpp/grpcpp.h>"),
            ("engine/train/train_job.cc", '"astray/v1/service.grpc.pb.h"'),
            ("engine/base/file.cc", "<prometheus/counter.h>"),
            ("engine/base/file.cc", '"CivetServer.h"'),
            ("server/service.cc", '"engine/train/train_job.h"'),
            ("server/service.cc", '"engine/data/dataset.h"'),
            ("server/service.cc", '"client/client.h"'),
            ("client/client.cc", '"server/metrics.h"'),
            ("client/client.cc", "<dnnl.hpp>"),
            ("engine/utils/strings.cc", "<string>"),
            ("engine/loose.cc", "<string>"),
        ]:
            with self.subTest(path=path, include=include):
                self.assertEqual(len(self.broken(path, include)), 1)

    def test_what_is_allowed(self):
        for path, include in [
            ("engine/nn/onednn.cc", "<dnnl.hpp>"),
            ("engine/nn/onednn.cc", '"engine/base/random.h"'),
            ("engine/train/train_job.cc", '"engine/data/dataset.h"'),
            ("engine/detect/detector.cc", '"astray/v1/calibration.pb.h"'),
            ("server/service.cc", '"astray/v1/service.grpc.pb.h"'),
            ("client/train.cc", '"engine/train/train_job.h"'),
        ]:
            with self.subTest(path=path, include=include):
                self.assertEqual(self.broken(path, include), [])

    def test_astrayd_does_not_link_training_or_readers(self):
        build = os.environ["ASTRAY_BUILD_DIR"]
        inputs = subprocess.run(["ninja", "-C", build, "-t", "inputs", "bin/astrayd"], check=True, capture_output=True,
                                text=True).stdout
        self.assertIn("libastray_detect.a", inputs)
        for library in ("libastray_train.a", "libastray_data.a", "libastray_client.a"):
            self.assertNotIn(library, inputs)


if __name__ == "__main__":
    unittest.main(verbosity=2)
