"""What 1 to 100,000 execution environments do to AWS and to a sink, in virtual time; FLEET.md says what came of it.

The policies are the product's own objects (secret cache, retries, flush policy, delivery); only clocks, sockets and threads are
replaced. Nothing sleeps.
"""
