"""Docker's Engine API over a Unix socket.

::

    server      connections, dispatch, start and end of serving
    routes      which path is answered by whom; what is known and not supported
    call        one request: query, body, answers
    errors      what went wrong → HTTP status and Docker's error document
    versions    the API's versions and the path's prefix
    streams     chunked answers; handing a client's raw socket over (attach, exec)
    containers container_streams stats exec images networks volumes system events dockyard
                one module per resource

A handler gets a :class:`~core.api.call.Call` and returns a response or raises one of core.errors. Routes
marked ``streaming`` are cancelled when their client leaves; all others run to their end, as a half-done
transition helps nobody.
"""
