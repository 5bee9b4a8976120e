"""Results of papers, run again: `python -m papers NAME --data-dir DIR`. See README.md."""
