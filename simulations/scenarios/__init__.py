"""One story per file: `SIZE` says how large it usually is, `run` tells it and gives the report."""
