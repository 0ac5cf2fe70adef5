"""Nothing wears it out: exits, forks, many loops, cancellation, memory, hostile servers.

One code in two sizes: small by default, full with ``SOAK=1`` (`make soak`). Whatever is drawn at
random comes from ``SEED``, which a failure shows; setting it repeats the run.
"""
