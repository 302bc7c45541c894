"""What browsers are shown: the own authority's certificate, or a given one; how it is told."""

import asyncio
import hashlib
import ssl
import time

import pytest
from admin_plane import running

from pxeserver.postinstall.authority import Authority


async def shown_by(plane):
    """The certificate (DER) that a browser gets."""
    host, port = plane.https.removeprefix("https://").split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    found = writer.get_extra_info("ssl_object")
    der, version = found.getpeercert(binary_form=True), found.version()
    writer.close()
    return der, version


async def test_the_fingerprint_is_what_browsers_show(plane):
    told = await plane.local().ok("GET", "/certificate")
    der, version = await shown_by(plane)
    assert told["sha256"] == hashlib.sha256(der).digest().hex(":").upper()
    assert told["own"] is True
    assert told["problem"] == ""
    assert {"localhost", "127.0.0.1"} <= set(told["names"])
    assert version == "TLSv1.3"


async def test_the_authority_may_be_fetched_by_anybody(plane):
    pem = await plane.browser().ok("GET", "/ca.pem")
    assert pem.decode() == plane.stage.authority.pem
    assert b"PRIVATE" not in pem
    await plane.browser(tls=True).ok("GET", "/ca.pem")  # verified with that very certificate


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_refused(plane, version):
    host, port = plane.https.removeprefix("https://").split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=context)


async def test_a_given_certificate_and_its_renewal(tmp_path):
    other = Authority.open(tmp_path / "other", time.time())
    given = tmp_path / "given.pem"
    given.write_bytes(other.listener(["127.0.0.1"], ["pxe.example.org"], time.time()).read_bytes())
    async with running(tmp_path, {"admin.certificate": str(given)}) as plane:
        told = await plane.local().ok("GET", "/certificate")
        assert (told["own"], told["problem"]) == (False, "")
        assert "pxe.example.org" in told["names"]
        assert (await plane.local().call("GET", "/ca.pem"))[0] == 404
        (tmp_path / "other" / "listener.pem").unlink()
        given.write_bytes(other.listener(["127.0.0.1"], ["new.example.org"], time.time()).read_bytes())
        await plane.stage._look()
        told = await plane.local().ok("GET", "/certificate")
        assert "new.example.org" in told["names"]
        assert told["sha256"] == hashlib.sha256((await shown_by(plane))[0]).digest().hex(":").upper()


async def test_one_that_cannot_be_used_is_told_and_the_own_one_shown(tmp_path):
    (tmp_path / "bad.pem").write_text("nonsense")
    async with running(tmp_path, {"admin.certificate": str(tmp_path / "bad.pem")}) as plane:
        told = await plane.local().ok("GET", "/certificate")
        assert told["own"] is True
        assert "bad.pem" in told["problem"]
        await plane.browser(tls=True).ok("GET", "/ca.pem")
