"""Whom TFTP serves: machines on the served links and behind the networks that the policy names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address

from pxeserver.boot.model import Interface, Policy, Site


class ServedLinks:
    """The site and the policy, prepared for one question a request. Ask `of` for the current one; it is
    cached."""

    def __init__(self) -> None:
        self._site: Site | None = None
        self._policy: Policy | None = None
        self._own: dict[IPv4Address, Interface] = {}
        self._on_link: dict[int, tuple[Interface, list[IPv4Network]]] = {}
        self._relayed: list[IPv4Network] = []

    def of(self, site: Site, policy: Policy) -> ServedLinks:
        """This object, brought up to date."""
        if site is not self._site or policy is not self._policy:
            self._site, self._policy = site, policy
            self._own, self._on_link = {}, {}
            for interface in site.interfaces:
                addresses = [IPv4Interface(n) for n in interface.networks if ":" not in n]
                self._own |= {a.ip: interface for a in addresses}
                self._on_link[interface.index] = (interface, [a.network for a in addresses])
            self._relayed = [IPv4Network(s.network, strict=False) for s in policy.subnets]
        return self

    def interface(self, source: str, arrived_on: int, local: str) -> Interface | None:
        """The served interface a request from `source` belongs to, None where it is not to be answered.

        `arrived_on` is the kernel's index of the link, `local` our address that was asked. A link must be
        served, and the source must be on it or in a network of the policy: with a forged address from
        elsewhere the answer would hit somebody else. The server's own machine is served as well.
        """
        address = ip_address(source)
        if not isinstance(address, IPv4Address):
            return None
        if address in self._own:
            return self._own.get(IPv4Address(local), self._own[address])
        interface, networks = self._on_link.get(arrived_on, (None, []))
        if interface is None or not any(address in n for n in (*networks, *self._relayed)):
            return None
        return interface
