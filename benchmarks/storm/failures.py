"""How a step of a simulated boot ends when it does not end well."""


class BootFailed(Exception):  # noqa: N818 - it is what happened to a machine, not a fault of ours
    """A step did not come to its end; the text says which way."""
