"""The program that runs on a node in the discovery system: it reports what the machine is and carries out
orders.

It uses the standard library only and runs from an initial RAM file system. Nothing here reaches into the
server.
"""

VERSION = "1"
