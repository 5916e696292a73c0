"""A client of redis-py for tools and tests, made from an Access, and what it raises in words.

Nothing is ever sent a second time: by default redis-py repeats what it got no answer to, and so counts it twice. The
certificates that an engine's must be signed by are those of the Access alone; redis-py would add the system's.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection

from forkpolicy.errors import StateError
from forkpolicy.redis_urls import host_and_port

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from forkpolicy.state.redis.access import Access

Client = Any  # redis-py's methods have the types of its synchronous and its asynchronous clients in one
Options = dict[str, Any]  # its keyword arguments
# How far a reply may be quoted: some end in a stack of Lua.
_QUOTED_CHARS = 200


def connect(access: Access) -> Client:
    """A client. It connects with its first command, that of a cluster at once. Raises StateError."""
    url, context = access.url, access.tls_context()
    options = _options(access) | {"username": access.user or None, "password": access.password() or None}
    with failures_in_words(access):
        if url.form == "cluster":
            return _cluster(access, options | {"connection_class": _wrapped(context, redis.Connection)})
        if url.form == "sentinel":
            return _sentinel(access, options, context)
        if url.path:
            return redis.Redis(unix_socket_path=url.path, db=url.db, **options)
        host, port = url.hosts[0]
        return _server(host, port, context, options | {"db": url.db})


def connect_to(access: Access, host: str, port: int) -> Client:
    """A client of one server, whatever the URL names. Raises StateError for what its files are."""
    options = _options(access) | {"username": access.user or None, "password": access.password() or None}
    return _server(host, port, access.tls_context(), options)


def _options(access: Access) -> Options:
    """Of every connection. RESP2 has no messages that nobody asked for. With `driver_info` redis-py would report its
    release, and read that from files for each connection: a worker that has given up root may not be able to.
    """
    return {
        "driver_info": None,
        "socket_timeout": access.timeout_s,
        "socket_connect_timeout": access.timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _server(host: str, port: int, context: ssl.SSLContext | None, options: Options) -> redis.Redis:
    pool = redis.ConnectionPool(_wrapped(context, redis.Connection), host=host, port=port, **options)
    return redis.Redis.from_pool(pool)


def _sentinel(access: Access, options: Options, context: ssl.SSLContext | None) -> redis.Redis:
    sentinel = Sentinel([])  # type: ignore[no-untyped-call]
    own = _options(access) | {"password": access.sentinel_password() or None}
    sentinel.sentinels = [_server(host, port, context, own) for host, port in access.url.hosts]
    managed = _wrapped(context, SentinelManagedConnection)
    more = {"connection_class": managed, "db": access.url.db} | options
    client: redis.Redis = sentinel.master_for(access.url.name, **more)  # type: ignore[no-untyped-call]
    return client


def _cluster(access: Access, options: Options) -> RedisCluster:
    first, *others = access.url.hosts
    # It takes a connection class with a URL alone, and how it tries again as a keyword of its own.
    nodes = [ClusterNode(*each) for each in others]  # type: ignore[no-untyped-call]
    return RedisCluster(url=f"redis://{host_and_port(*first)}", startup_nodes=nodes, **options)


def _wrapped(context: ssl.SSLContext | None, base: type[redis.Connection]) -> type[redis.Connection]:
    """A class of connections that uses TLS, if there is a context."""
    if context is None:
        return base
    wrap = context.wrap_socket

    class TlsConnection(base):  # type: ignore[misc, valid-type]
        def _connect(self) -> socket.socket:
            return wrap(super()._connect(), server_hostname=self.host)

        def on_connect_check_health(self, check_health: bool = True) -> None:
            # A server of TLS 1.3 sends tickets behind the handshake, which redis-py takes for a reply that nobody waits
            # for, and gives the connection up. A round trip reads them.
            super().on_connect_check_health(check_health)
            self.send_command("PING")
            self.read_response()

    return TlsConnection


@contextmanager
def failures_in_words(access: Access) -> Iterator[None]:
    """Raise StateError for what redis-py raises."""
    try:
        yield
    except RedisTimeoutError as error:
        raise StateError(f"{access.url} did not answer within {access.timeout_s:g} s") from error
    except MasterNotFoundError as error:
        raise StateError(f"{access.url}: no sentinel knows a master of this name: {error}") from error
    except (RedisError, RedisClusterException, OSError) as error:
        raise StateError(f"{access.url}: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """The system's reason or that of TLS, where there is one below what redis-py says; else what an engine replied."""
    below: BaseException | None = error
    while below:
        if isinstance(below, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {below.verify_message}"
        if isinstance(below, OSError) and below.errno and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    # Behind the reason of an engine stands where in a script it was.
    return str(error).partition(" script: ")[0][:_QUOTED_CHARS].rstrip(".")
