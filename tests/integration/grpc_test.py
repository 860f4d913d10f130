#!/usr/bin/python3
"""What any gRPC tool expects of a server: health, watched health, reflection, a drain that is announced."""
import os
import shutil
import tempfile
import unittest

import grpc
import wire
from google.protobuf import descriptor_pb2
from programs import Plant, Server, free_port, http

SERVICES = ["astray.v1.DetectionService", "astray.v1.ModelService"]


class GrpcTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plant = Plant(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def test_health_names_every_service_and_no_other(self):
        with Server(self.plant.models) as server, wire.Client(server.wait_until_ready().address) as client:
            for service in ["", *SERVICES]:
                self.assertEqual(client.check(service), "SERVING", service)
            with self.assertRaises(grpc.RpcError) as caught:
                client.check("astray.v1.NoSuchService")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_a_server_whose_only_model_is_broken_lives_but_does_not_serve(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(self.plant.models, folder, dirs_exist_ok=True)
            os.truncate(f"{folder}/pump/1/weights.bin", 10)
            ports = (free_port(), free_port())
            with Server(folder, ports=ports) as server, wire.Client(server.address) as client:
                self.assertEqual(client.check(), "NOT_SERVING")
                self.assertEqual(http(server.http_port, "/readyz")[0], 503)
                self.assertEqual(http(server.http_port, "/healthz")[0], 200)

    def test_watch_tells_of_the_drain_before_the_server_goes(self):
        with Server(self.plant.models) as server, wire.Client(server.wait_until_ready().address) as client:
            watch = client.watch("astray.v1.DetectionService")
            self.assertEqual(next(watch), "SERVING")
            code = server.terminate()
            self.assertEqual(next(watch), "NOT_SERVING")
            self.assertEqual(code, 0, server.log())

    def test_reflection_lists_the_services_and_describes_their_messages(self):
        with Server(self.plant.models) as server, wire.Client(server.address) as client:
            listed = [entry.name for entry in client.reflect(list_services="").list_services_response.service]
            for service in [*SERVICES, "grpc.health.v1.Health"]:
                self.assertIn(service, listed)
            reply = client.reflect(file_containing_symbol="astray.v1.DetectionService").file_descriptor_response
            files = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in reply.file_descriptor_proto]
            service_file = next(file for file in files if file.name == "astray/v1/service.proto")
            methods = [method.name for service in service_file.service for method in service.method]
            self.assertIn("ScoreStream", methods)


if __name__ == "__main__":
    unittest.main(verbosity=2)
