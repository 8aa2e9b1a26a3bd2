"""A Django database backend with the PostgreSQL that comes with the dependencies, for local use.

The first connection of a process starts the server if it is not running. Three lock files in the data folder
coordinate the processes. The kernel releases the lock of a process that ends, even of one that is killed:

- ``users``: shared by each process that has connected;
- ``keeper``: held by the keeper, a process that stops the server once ``users`` is free;
- ``transition``: held while the server is started or stopped.

Nothing here is imported if ``DATABASE_URL`` is set.
"""
