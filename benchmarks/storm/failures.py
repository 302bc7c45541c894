"""How a step of a simulated boot ends when it does not end well."""


class BootFailed(Exception):
    """A step did not come to its end; the text says which way."""
