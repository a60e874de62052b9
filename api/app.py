"""The HTTP application: which routes there are and what stands around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import docs, errors
from api.auth import login
from api.middleware import Envelope
from api.services import Services
from api.v2 import config, ping, resources, root, tokens, users
from core.version import VERSION


def create_app(services: Services) -> FastAPI:
    app = FastAPI(
        title="Forge",
        version=VERSION,
        openapi_url=None,  # served by api.docs, completed with what FastAPI cannot see
        redirect_slashes=False,  # api.errors does it as AWX does: 301, keeping the query
        lifespan=_lifespan,
    )
    app.state.services = services
    errors.install(app)
    for module in (root, login, ping, config, users, tokens, resources, docs):
        module.add_routes(app)
    app.add_middleware(Envelope, node=services.settings.node_name)
    if services.settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=services.settings.trusted_proxies)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    # A thread that runs a handler holds at most one connection, so neither ever waits for the other.
    to_thread.current_default_thread_limiter().total_tokens = services.settings.database_pool_size
    yield
