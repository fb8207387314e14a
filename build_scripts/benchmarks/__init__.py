"""The benchmark: every workload × runtime × engine, interleaved, checked against float64 before it is timed."""
