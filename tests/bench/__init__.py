"""``make bench``: the numbers of README.md, measured against dockerd in the same run.

``sides``    an engine under measurement: how it is called, which processes it consists of, how it ends
``measure``  one function a row; each takes all sides and interleaves them
``networks`` the rows of networks
``registries`` the rows of registries
``stream``   the program that sends and receives in them
``report``   the machine, the versions and the table
"""
