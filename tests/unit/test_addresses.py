"""Addresses as NVCs spell them in hardware_vtep."""

import re

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.drivers.hwvtep import BadValue, ip_address, mac_address


@pytest.mark.parametrize(
    "spelling",
    [
        "02:0a:bb:cc:dd:0e",
        "02:0A:BB:CC:DD:0E",
        "2:a:bb:cc:dd:e",
        "02-0a-bb-cc-dd-0e",
        "020a.bbcc.dd0e",
        "020abbccdd0e",
        "020ABB:CCDD0E",
    ],
)
def test_a_mac_address_has_one_form_whichever_way_it_is_spelt(spelling):
    assert mac_address(spelling) == "02:0a:bb:cc:dd:0e"


@pytest.mark.parametrize(
    "text",
    ["", "unknown-dst", "02:0a:bb:cc:dd", "02:0a:bb:cc:dd:0e:0f", "02:0a:bb:cc:dd:0g", "02:0a:bb:cc:dd:100", "1", "-1"],
)
def test_what_is_no_mac_address_is_refused_by_name(text):
    with pytest.raises(BadValue, match=f"MAC has {text!r}, must be a MAC address"):
        mac_address(text)


@given(st.integers(0, (1 << 48) - 1))
def test_the_form_of_a_mac_address_is_its_own_form(number):
    octets = number.to_bytes(6, "big")
    assert mac_address(octets.hex(":")) == mac_address(octets.hex("-")) == octets.hex(":")


@given(st.text())
def test_any_text_is_a_mac_address_in_the_one_form_or_refused(text):
    try:
        assert len(mac_address(text)) == 17
    except BadValue:
        pass


@pytest.mark.parametrize("text", ["10.2.2.1", "0.0.0.1", "223.255.255.255", "240.0.0.0"])
def test_an_ipv4_address_stays_as_it_is(text):
    assert ip_address("tunnel_ips", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.2.2",
        "10.2.2.256",
        "10.2.2.01",
        "10.2.2.1 ",
        "10.2.2.1/24",
        "::1",
        "::ffff:10.2.2.1",
        "host",
        "1",
        "0x0a020201",
    ],
)
def test_what_is_no_ipv4_address_is_refused_by_its_columns_name(text):
    with pytest.raises(BadValue, match=f"dst_ip has {re.escape(repr(text))}, must be an IPv4 address"):
        ip_address("dst_ip", text)


@pytest.mark.parametrize("text", ["0.0.0.0", "224.0.0.5", "239.255.255.255", "255.255.255.255"])
def test_an_ipv4_address_that_no_vtep_has_is_refused(text):
    with pytest.raises(
        BadValue, match=f"dst_ip has {re.escape(repr(text))}, must be an IPv4 address that one VTEP can"
    ):
        ip_address("dst_ip", text)


@given(st.integers(1, (224 << 24) - 1) | st.integers(240 << 24, (1 << 32) - 2))
def test_every_ipv4_address_that_one_vtep_can_have_is_taken(number):
    text = str(netaddr.IPAddress(number, version=4))
    assert ip_address("dst_ip", text) == text
