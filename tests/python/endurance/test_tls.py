"""https with a private CA, without any CA, and where the other side speaks something else."""

import datetime
import ssl

import pytest
import trustme

from endurance.raw import Raw
from endurance.tls import server_context

WAYS = ["native", "httpx"]


def origin(connection):
    while connection.request() is not None:
        connection.answer(200, b'{"number":5,"state":"closed"}')


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def store(authority, tmp_path):
    """A directory with the authority's certificate in a file, ca.pem."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


def error(came):
    assert came["status"] == "timed_out", came
    return came["said"][0].removeprefix("Poll error for issue #5: ")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_authority_in_a_file(reaching, way, host, authority, store):
    with Raw(origin, server_context(authority)) as server:
        came = reaching(
            way, f"https://{host}:{server.port}", {"SSL_CERT_FILE": str(store / "ca.pem")}
        )
        assert came["status"] == "completed", came


def test_a_private_authority_in_a_directory(reaching, authority, store):
    # OpenSSL wants the files named by a hash there; natively any name will do.
    with Raw(origin, server_context(authority)) as server:
        came = reaching("native", server.url, {"SSL_CERT_DIR": str(store)})
        assert came["status"] == "completed", came


def test_a_directory_in_vain_is_made_up_for_by_a_file(reaching, authority, store):
    (store / "empty").mkdir()
    env = {"SSL_CERT_DIR": str(store / "empty"), "SSL_CERT_FILE": str(store / "ca.pem")}
    with Raw(origin, server_context(authority)) as server:
        for way in WAYS:
            assert reaching(way, server.url, env)["status"] == "completed"


@pytest.mark.parametrize("way", WAYS)
def test_a_stranger_is_not_trusted(reaching, way, authority, store):
    with Raw(origin, server_context(trustme.CA())) as server:
        came = reaching(way, server.url, {"SSL_CERT_FILE": str(store / "ca.pem")})
        assert "ertificate" in error(came)
        assert server.requests == []


@pytest.mark.parametrize("way", WAYS)
def test_the_authorities_of_the_machine_do_not_know_a_private_one(reaching, way, authority):
    with Raw(origin, server_context(authority)) as server:
        assert "ertificate" in error(reaching(way, server.url, {}))
        assert server.requests == []


@pytest.mark.parametrize("way", WAYS)
def test_the_name_must_be_right(reaching, way, authority, store):
    with Raw(origin, server_context(authority, "git.example")) as server:
        came = reaching(way, server.url, {"SSL_CERT_FILE": str(store / "ca.pem")})
        assert "not valid for" in error(came) or "IP address mismatch" in error(came)
        assert server.requests == []


@pytest.mark.parametrize("way", WAYS)
def test_the_time_must_be_right(reaching, way, authority, store):
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    with Raw(origin, server_context(authority, not_after=yesterday)) as server:
        came = reaching(way, server.url, {"SSL_CERT_FILE": str(store / "ca.pem")})
        assert "expired" in error(came)
        assert server.requests == []


@pytest.mark.parametrize("kind", ["no file", "an empty file", "a file of something else"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_without_any_authority(reaching, authority, tmp_path, variable, kind):
    place = tmp_path / "place"
    holder = place
    if variable == "SSL_CERT_DIR":
        if kind != "no file":
            place.mkdir()
        holder = place / "01234567.0"
    if kind != "no file":
        holder.write_text("" if kind == "an empty file" else "no certificate")
    env = {variable: str(place)}
    with Raw(origin) as server:
        # What needs no certificate needs no authority.
        assert reaching("native", server.url, env)["status"] == "completed"
    with Raw(origin, server_context(authority)) as server:
        said = error(reaching("native", server.url, env))
        assert "install ca-certificates or set SSL_CERT_FILE" in said
        assert server.requests == []


def test_without_any_authority_httpx_cannot_even_plain_http(reaching, tmp_path):
    # The difference that the README names.
    with Raw(origin) as server:
        came = reaching("httpx", server.url, {"SSL_CERT_FILE": str(tmp_path / "none")})
        assert "No such file" in error(came)


@pytest.mark.parametrize("way", WAYS)
def test_tls_to_a_plain_port(reaching, way, store):
    def puzzled(connection):
        connection.stream.recv(65536)
        connection.answer(400)

    with Raw(puzzled) as server:
        url = server.url.replace("http", "https")
        said = error(reaching(way, url, {"SSL_CERT_FILE": str(store / "ca.pem")}))
        if way == "native":
            assert said == (
                f"cannot connect to 127.0.0.1:{server.port}: "
                "it does not speak TLS on this port; is it http://?"
            )


@pytest.mark.parametrize("way", WAYS)
def test_plain_to_a_tls_port(reaching, way, authority):
    with Raw(origin, server_context(authority)) as server:
        said = error(reaching(way, server.url.replace("https", "http"), {}))
        if way == "native":
            assert said.startswith(f"127.0.0.1:{server.port} broke off: ")


def test_a_server_with_old_tls_only(reaching, authority, store):
    context = server_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Raw(origin, context) as server:
        came = reaching("native", server.url, {"SSL_CERT_FILE": str(store / "ca.pem")})
        assert came["status"] == "completed", came
