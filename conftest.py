"""One thread in every process of the tests: two workers with two threads each wait for one another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
