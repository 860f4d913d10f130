"""gRPC as another language speaks it: messages made by protoc from the .proto files, calls without generated stubs."""
import functools
import pathlib
import subprocess
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = pathlib.Path(__file__).resolve().parents[2]
# gRPC's own protocols are in both: a client reads them as tests/integration has them, and ours must agree.
FOLDERS = (ROOT / "tests" / "integration" / "proto", ROOT / "proto")
DEADLINE_SECONDS = 30


def pool_of(files):
    """A pool that knows `files`, serialized FileDescriptorProtos in any order."""
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file)
    return pool


@functools.cache
def _pool():
    sources = sorted({str(path.relative_to(folder)) for folder in FOLDERS for path in folder.rglob("*.proto")})
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["protoc", *(f"-I{folder}" for folder in FOLDERS), f"--descriptor_set_out={file.name}",
                        "--include_imports", *sources], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes()).file
    return pool_of(entry.SerializeToString() for entry in files)


@functools.cache
def message(name):
    """The class of a message by its full name, as "astray.v1.ScoreRequest"."""
    return message_factory.MessageFactory(_pool()).GetPrototype(_pool().FindMessageTypeByName(name))


class Client:
    """Calls methods by name. A context manager."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def _call(self, kind, method, reply):
        return getattr(self.channel, kind)(method, request_serializer=lambda request: request.SerializeToString(),
                                           response_deserializer=message(reply).FromString)

    def score(self, **fields):
        call = self._call("unary_unary", "/astray.v1.DetectionService/Score", "astray.v1.ScoreResponse")
        return call(message("astray.v1.ScoreRequest")(**fields), timeout=DEADLINE_SECONDS)

    def score_stream(self, requests):
        call = self._call("stream_stream", "/astray.v1.DetectionService/ScoreStream", "astray.v1.ScoreResponse")
        return call((message("astray.v1.ScoreStreamRequest")(**fields) for fields in requests), timeout=DEADLINE_SECONDS)

    def calibrate(self, requests):
        call = self._call("stream_unary", "/astray.v1.DetectionService/Calibrate", "astray.v1.CalibrateResponse")
        return call((message("astray.v1.CalibrateRequest")(**fields) for fields in requests), timeout=DEADLINE_SECONDS)

    def model(self, method, request=None, reply=None, **fields):
        """A method of ModelService."""
        call = self._call("unary_unary", f"/astray.v1.ModelService/{method}", f"astray.v1.{reply or method + 'Response'}")
        return call(message(f"astray.v1.{request or method + 'Request'}")(**fields), timeout=DEADLINE_SECONDS)

    def check(self, service=""):
        call = self._call("unary_unary", "/grpc.health.v1.Health/Check", "grpc.health.v1.HealthCheckResponse")
        reply = call(message("grpc.health.v1.HealthCheckRequest")(service=service), timeout=DEADLINE_SECONDS,
                     wait_for_ready=True)  # the server may still be opening its port
        return type(reply).ServingStatus.Name(reply.status)

    def watch(self, service=""):
        """Yields the names of statuses as they change."""
        call = self._call("unary_stream", "/grpc.health.v1.Health/Watch", "grpc.health.v1.HealthCheckResponse")
        for reply in call(message("grpc.health.v1.HealthCheckRequest")(service=service), timeout=DEADLINE_SECONDS):
            yield type(reply).ServingStatus.Name(reply.status)

    def reflect(self, **fields):
        call = self._call("stream_stream", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                          "grpc.reflection.v1alpha.ServerReflectionResponse")
        request = message("grpc.reflection.v1alpha.ServerReflectionRequest")(**fields)
        return next(iter(call(iter([request]), timeout=DEADLINE_SECONDS)))
