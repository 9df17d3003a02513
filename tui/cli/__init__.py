"""The command ``dockyard``: a client of Docker's API over a Unix socket and nothing else. Imports nothing.

``__main__`` → ``main`` finds the verb in ``verbs`` (the one table of verbs and flags), parses by ``flags``
(Docker's rules), and loads that verb's module alone. ``ps``, ``run``, ``exec``, ``logs`` and ``lifecycle`` are the fast
path: nothing they load may load ``json``, ``re``, ``typing`` or anything else that costs a millisecond. Modules ask
for types under a ``TYPE_CHECKING`` of their own, since ``typing`` would have to be loaded for its.

``errors`` ``output`` ``help``    how a verb ends, what it writes, and what it says of itself
``transport`` ``jsonlite``        HTTP/1.1 over the socket; JSON by the interpreter's own C parts
``engine`` ``launch``             which engine; starts the engine when its socket does not answer
``streams`` ``session``           attached output, input and signals; the terminal is in ``terminal``
``create`` ``mounts``             flags → Docker's create request
``gotemplate`` ``golex`` ``gofuncs`` ``formatting``   Go templates, as far as ``--format`` needs them
``units`` ``tables`` ``rows``     durations and sizes, columns, Docker's row fields
"""
