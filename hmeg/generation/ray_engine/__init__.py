"""``hmeg generate --engine ray``: one run drawn by the machines of a Ray cluster.

    cluster.py   connects to a cluster and finds out how many actors have room there
    blocks.py    cuts what is missing of a run into blocks, the unit of work
    actor.py     what an actor does: weights once, then a block in, labelled and encoded images out
    attempts.py  notices a block that every worker dies over
    drawing.py   the Ray Data pipeline that leads blocks to actors and results, in order, into the run's folder

Only :mod:`cluster` and :mod:`drawing` import Ray, and only when they are used.
"""
