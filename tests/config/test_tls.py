"""TLS to the stores is a matter of their addresses: every client checks whose certificate it is shown.

The embedded servers are built without TLS, so a proxy ends it in front of them.
"""

import asyncio
import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
import redis as redis_client
from channels_redis.pubsub import RedisPubSubChannelLayer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings as configured
from django.db import OperationalError
from django.db.utils import ConnectionHandler
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

import config.settings
from config import broker
from deploy import alone, external
from orders.sockets import tail
from routing import store

SSL_REQUEST = (80877103).to_bytes(4)
"""PostgreSQL's number of a client's wish for TLS."""
REFUSED = "certificate verify failed|CERTIFICATE_VERIFY_FAILED|does not match host name"


def made(name, by=None, *addresses):
    """Make a key and its certificate: an authority's own, or one by an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (by[1].subject, by[0]) if by else (subject, key)
    begins = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if addresses:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses])
        certificate = certificate.add_extension(names, critical=False)
    return key, certificate.sign(signer, hashes.SHA256())


def written(path, key, certificate):
    """Write a certificate, before it its key, as a server reads them."""
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


async def relay(reader, writer):
    """Pass on what comes until one side ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Proxy:
    """Ends TLS in front of a server, which it speaks to in the clear."""

    def __init__(self, server, certificate):
        self.server = server
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        tls = None if server.scheme == "postgresql" else self.context
        starting = asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.listener = asyncio.run_coroutine_threadsafe(starting, self.loop).result(5)
        self.port = self.listener.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        if self.server.scheme == "postgresql":
            assert (await reader.readexactly(8))[4:] == SSL_REQUEST
            writer.write(b"S")
            try:
                await writer.start_tls(self.context)
            except OSError:
                return
        inner, outer = await asyncio.open_connection(self.server.hostname, self.server.port)
        await asyncio.gather(relay(reader, outer), relay(inner, writer), return_exceptions=True)

    def close(self):
        self.loop.call_soon_threadsafe(self.listener.close)
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """Make the files: an authority's, a stranger's, and a server's by each, the last with another address."""
    folder = tmp_path_factory.mktemp("authorities")
    ours, stranger = made("ours"), made("a stranger")
    files = {
        "ours": ours,
        "right": made("server", ours, "127.0.0.1"),
        "by a stranger": made("server", stranger, "127.0.0.1"),
        "of another host": made("server", ours, "127.0.0.9"),
    }
    return {name: written(folder / f"{name}.pem", *pair) for name, pair in files.items()}


@pytest.fixture(params=["right", "by a stranger", "of another host"])
def shown(request):
    """The certificate that the server shows."""
    return request.param


def database_address():
    """The test database, as DATABASE_URL would name it."""
    told = configured.DATABASES["default"]
    return f"postgresql://{told['USER']}:{told['PASSWORD']}@{told['HOST']}:{told['PORT']}/{told['NAME']}"


@pytest.fixture
def proxied(authorities, shown):
    """Return the address of a store through a proxy that shows this certificate."""
    opened = []

    def through(address, scheme, query):
        server = urlsplit(address)
        opened.append(Proxy(server, authorities[shown]))
        user = server.netloc.rpartition("@")[0]
        return f"{scheme}://{user}@127.0.0.1:{opened[-1].port}{server.path}?{query.format(authorities['ours'])}"

    yield through
    for one in opened:
        one.close()


def store_client(address, settings):
    settings.REDIS_URL = address
    return store.client(answers_s=2, connects_s=2).ping()


def tail_client(address, settings):
    settings.REDIS_URL = address

    async def ping():
        async with tail.client() as client:
            return await client.ping()

    return asyncio.run(ping())


def channel_layer(address, settings):
    host = configured.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]

    async def send():
        layer = RedisPubSubChannelLayer(hosts=[{**host, "address": address}])
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "sent"})
        heard = await asyncio.wait_for(layer.receive(channel), 5)
        await layer.flush()
        return heard == {"type": "sent"}

    return asyncio.run(send())


def broker_connection(address, settings):
    broker.install()
    told = broker.configuration(address, None)
    once = {"max_retries": 0}
    with Connection(told["broker_url"], ssl=told["broker_use_ssl"], transport_options=once) as connection:
        connection.default_channel.client.ping()
        with connection.SimpleBuffer("tls") as queue:
            queue.put({"sent": True}, serializer="json")
            return queue.get(timeout=5).payload == {"sent": True}


def first_try(address, settings):
    external.ask_redis(address)
    return True


CLIENTS = [store_client, tail_client, channel_layer, broker_connection, first_try]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_of_redis_checks_the_servers_certificate(client, proxied, shown, settings):
    address = proxied(configured.REDIS_URL, "rediss", "ssl_ca_certs={}")
    if shown == "right":
        assert client(address, settings)
    else:
        with pytest.raises((redis_client.ConnectionError, BrokerError, OSError), match=REFUSED):
            client(address, settings)


@pytest.mark.parametrize("shown", ["right"], indirect=True)
@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_named_authority_those_of_the_system_count(client, proxied, settings):
    address = proxied(configured.REDIS_URL, "rediss", "")
    with pytest.raises((redis_client.ConnectionError, BrokerError, OSError), match=REFUSED):
        client(address, settings)


def django_connection(address, monkeypatch):
    monkeypatch.setitem(config.settings.ENV, "DATABASE_URL", address)
    (connection,) = ConnectionHandler({"default": config.settings.database("beat")}).all()
    connection.ensure_connection()
    connection.close()


def beats_lock(address, monkeypatch):
    connection, reason = alone.try_lock(address)
    if connection is None:
        raise OperationalError(reason)
    connection.close()


def first_login(address, monkeypatch):
    external.ask_postgres(address)


@pytest.mark.django_db
@pytest.mark.parametrize("client", [django_connection, beats_lock, first_login])
def test_every_client_of_postgres_checks_the_servers_certificate(client, proxied, shown, monkeypatch):
    address = proxied(database_address(), "postgresql", "sslmode=verify-full&sslrootcert={}")
    if shown == "right":
        client(address, monkeypatch)
    else:
        with pytest.raises((OperationalError, psycopg.OperationalError), match=REFUSED):
            client(address, monkeypatch)
