"""The agent as a service on a node: it claims its place at the server and carries out steps there.

Python's standard library and PyNaCl (Debian: python3-nacl), Python 3.11 and later. Nothing here reaches into
the server.
"""
