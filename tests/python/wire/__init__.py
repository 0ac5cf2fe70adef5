"""Hand-overs over real sockets, held against a Gitea: what is sent, what comes back, what fails.

Every test gets a `gitea`: the sandbox as 1.25 and as 1.26. `make test-live` runs those marked
`live` against a server of the user's instead, in repositories that it makes and removes.

`test_difference_NN_….py` is about difference NN of the README's list.
"""
