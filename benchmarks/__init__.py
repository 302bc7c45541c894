"""Side-by-side benchmarks in network namespaces: pxeserver and the programs that people use today."""
