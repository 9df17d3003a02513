"""The command ``dockyard``: a client of Docker's API over a Unix socket and nothing else. Imports nothing.

``__main__`` → ``main`` finds the verb in ``verbs`` (the one table of verbs and flags), parses by ``flags``
(Docker's rules), and loads that verb's module alone. What ``ps``, ``run``, ``exec`` and ``logs`` need is listed in
``fast``: none of it may load ``json``, ``re``, ``typing`` or anything else that costs a millisecond.

``errors`` ``output``             how a verb ends, and what it writes
``transport`` ``jsonlite``        HTTP/1.1 over the socket; JSON by the interpreter's own C parts
``launch``                        starts the engine when its socket does not answer
``streams`` ``session``           attached output, input and signals; the terminal is in ``terminal``
``create``                        flags → Docker's create request
``gotemplate`` ``golex``          Go templates, as far as ``--format`` needs them
``units`` ``tables`` ``rows``     durations and sizes, columns, Docker's row fields
"""
