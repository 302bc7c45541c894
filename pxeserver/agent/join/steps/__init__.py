"""What the agent can do to a node: one module a step, each holding one class that is a `step.Step`."""
