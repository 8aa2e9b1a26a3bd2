"""The PostgreSQL that comes with the dependencies, for local use: a Django database backend.

The first connection of a process starts the server, unless another process did. Three locks in the data folder
say who is there; the kernel takes them from a process that ends, however it ends:

- `users`: held (shared) by each process that has ever connected;
- `keeper`: held by the keeper, a small process of its own that stops the server when `users` is free;
- `transition`: held for as long as it takes to start or to stop.

Nothing here is imported while `DATABASE_URL` is set.
"""
