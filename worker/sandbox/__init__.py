"""A stand-in for both Debitura APIs on one port, for demonstrations and tests.

It keeps everything in memory, knows nothing of the rest of this project, and follows the documentation on
docs.debitura.com: a witness that the worker behaves, not a part of it.
"""
