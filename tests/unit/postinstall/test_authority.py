"""The server's own authority and the listener's certificate."""

import hashlib
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509

from pxeserver.postinstall.authority import Authority, context

DAY = 86_400.0
NOW = 1_800_000_000.0


def names(path):
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(a) for a in found.get_values_for_type(x509.IPAddress)}, certificate


def test_it_is_made_once_and_its_keys_are_for_the_server_alone(tmp_path):
    first = Authority.open(tmp_path / "agents", NOW)
    again = Authority.open(tmp_path / "agents", NOW + DAY)
    assert again.pin == first.pin
    assert first.pin == hashlib.sha256(ssl.PEM_cert_to_DER_cert(first.pem)).hexdigest()
    path = first.listener({"10.0.0.2"}, {"boot"}, NOW)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "agents").iterdir()}
    assert modes["ca.key"] == modes[path.name] == 0o600
    assert stat.S_IMODE((tmp_path / "agents").stat().st_mode) == 0o700


def test_a_foreign_key_is_not_taken_for_ours(tmp_path):
    Authority.open(tmp_path / "a", NOW)
    Authority.open(tmp_path / "b", NOW)
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(ValueError, match="does not belong"):
        Authority.open(tmp_path / "a", NOW)


def test_the_certificate_is_renewed_for_new_addresses_and_before_its_end(tmp_path):
    authority = Authority.open(tmp_path, NOW)
    path = authority.listener({"10.0.0.2"}, (), NOW)
    before = path.read_bytes()
    assert authority.listener({"10.0.0.2"}, (), NOW + DAY).read_bytes() == before
    authority.listener({"10.0.0.2", "10.0.1.2"}, (), NOW + DAY)
    assert names(path)[0] >= {"10.0.0.2", "10.0.1.2"}
    before = path.read_bytes()
    authority.listener({"10.0.0.2"}, (), NOW + 300 * DAY)
    assert path.read_bytes() != before
    # Made while the clock was ahead: not valid now, so it is made anew.
    before = path.read_bytes()
    authority.listener({"10.0.0.2"}, (), NOW)
    assert path.read_bytes() != before


def test_a_damaged_or_foreign_certificate_is_replaced(tmp_path):
    authority, other = Authority.open(tmp_path / "a", NOW), Authority.open(tmp_path / "b", NOW)
    path = authority.listener({"10.0.0.2"}, (), NOW)
    for wrong in (b"", b"garbage", other.listener({"10.0.0.2"}, (), NOW).read_bytes()):
        path.write_bytes(wrong)
        authority.listener({"10.0.0.2"}, (), NOW)
        names(path)[1].verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("strict", [False, True])
def test_python_verifies_it(tmp_path, strict):
    import time

    authority = Authority.open(tmp_path, time.time())
    server = context(authority.listener({"127.0.0.1"}, (), time.time()))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.pem)
    if strict:
        # What Python 3.13 does by itself.
        client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    left, right = socket.socketpair()
    thread = threading.Thread(target=lambda: server.wrap_socket(left, server_side=True).close())
    thread.start()
    with client.wrap_socket(right, server_hostname="127.0.0.1") as tls:
        assert tls.version() == "TLSv1.3"
    thread.join()
