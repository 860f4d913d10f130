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

    def test_who_watches_an_unknown_service_is_told_so(self):
        with Server(self.plant.models) as server, wire.Client(server.wait_until_ready().address) as client:
            self.assertEqual(next(client.watch("astray.v1.NoSuchService")), "SERVICE_UNKNOWN")

    def test_reflection_lists_the_services_and_describes_their_messages(self):
        with Server(self.plant.models) as server, wire.Client(server.address) as client:
            listed = [entry.name for entry in client.reflect(list_services="").list_services_response.service]
            for service in [*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]:
                self.assertIn(service, listed)
            reply = client.reflect(file_containing_symbol="astray.v1.DetectionService").file_descriptor_response
            files = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in reply.file_descriptor_proto]
            service_file = next(file for file in files if file.name == "astray/v1/service.proto")
            methods = [method.name for service in service_file.service for method in service.method]
            self.assertIn("ScoreStream", methods)

    def test_reflection_answers_every_kind_of_request(self):
        with Server(self.plant.models) as server, wire.Client(server.address) as client:
            reply = client.reflect(host="plant", file_by_filename="grpc/health/v1/health.proto")
            self.assertEqual((reply.valid_host, reply.original_request.file_by_filename),
                             ("plant", "grpc/health/v1/health.proto"))
            file = descriptor_pb2.FileDescriptorProto.FromString(reply.file_descriptor_response.file_descriptor_proto[0])
            self.assertEqual([method.name for method in file.service[0].method], ["Check", "Watch"])
            numbers = client.reflect(all_extension_numbers_of_type="astray.v1.ScoreRequest")
            self.assertEqual(numbers.all_extension_numbers_response.base_type_name, "astray.v1.ScoreRequest")
            extension = {"containing_type": "astray.v1.ScoreRequest", "extension_number": 100}
            for unknown in ({"file_containing_extension": extension}, {"file_containing_symbol": "astray.v1.Nothing"}):
                error = client.reflect(**unknown).error_response
                self.assertEqual(error.error_code, grpc.StatusCode.NOT_FOUND.value[0])
                self.assertTrue(error.error_message)


if __name__ == "__main__":
    unittest.main(verbosity=2)
