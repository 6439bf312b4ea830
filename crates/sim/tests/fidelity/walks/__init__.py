"""One function for each operation that the simulator offers."""
