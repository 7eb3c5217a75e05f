"""Where arithmetic runs: devices, cores, threads, and how much memory there is."""
