"""Speed, as ratios of CPU time within one process: `python -m benchmarks`. See README.md beside this file."""
