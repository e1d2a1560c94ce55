// Nothing: what a process takes in any case.
