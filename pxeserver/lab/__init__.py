"""The lab: namespaces, virtual machines, a plain DHCP server, captures and bad lines. For tests, demos and
people.

It needs root, iproute2, dnsmasq, nftables and QEMU; it knows nothing of the server's insides and may only
start it. Every object is a context manager that leaves nothing behind, and every namespace carries its
owner's process id in its name, so that `sweep()` can clear away what a killed run left.
"""
