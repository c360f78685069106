import sys

from tests.model_server.server import ModelServer

ModelServer().run(int(sys.argv[1]))
