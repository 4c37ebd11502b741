"""A stand-in for both Debitura APIs on one port, for demonstrations and tests.

It keeps everything in memory, imports nothing from the rest of this project, and follows the documentation on
docs.debitura.com, so that tests can check the worker against an independent implementation.
"""
