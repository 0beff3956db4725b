"""Where chunks of rows run: in this process, in a pool of processes, on Ray."""
