"""The only sockets, threads, signals, clocks and environment reads of the kit."""
