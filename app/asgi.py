"""What `uvicorn app.asgi:app` and `litestar --app app.asgi:app database upgrade` load."""

import sys

from app.main import create_app, load_settings
from app.settings import ConfigurationInvalid

try:
    app = create_app(load_settings())
except ConfigurationInvalid as invalid:
    for problem in invalid.problems:
        print(problem, file=sys.stderr)  # noqa: T201 - logs are not set up without a configuration
    raise SystemExit(2) from None
