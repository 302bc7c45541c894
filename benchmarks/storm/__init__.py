"""A boot storm: many simulated machines that boot at once, protocol by protocol, from one process."""
