"""pxeserver: a network-boot appliance. The rooms and who may import whom are in docs/architecture.md."""

__version__ = "0.1.0"
