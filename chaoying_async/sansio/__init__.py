"""Pure: no socket, no clock, no randomness, no environment, no files, no async.

Everything that decides what is signed, sent, believed and repeated is in here, takes what it needs
as arguments, and serves synchronous programs as it is.
"""
