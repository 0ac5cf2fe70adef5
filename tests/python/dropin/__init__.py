"""The suite a dashboard keeps for its dispatcher.

It knows nothing of how `timmy.dispatcher` is made, so it says what a replacement must keep.
By default it runs against the installed package. With
`TIMMY_DISPATCHER_ORACLE=/path/to/dispatcher.py` it runs against that single-file module
instead: every case must pass there too.
"""
