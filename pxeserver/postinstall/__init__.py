"""The stage after boot: booted nodes become one cluster. What each node should be is worked out by pure
functions (spec, layout, goal, plan); the coordinator hands the work to the nodes' agents.
"""
