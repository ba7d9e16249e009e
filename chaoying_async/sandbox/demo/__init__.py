"""``chaoying demo``: a busy shop against a gateway in another process; the books must agree.

Read it as an example: ``till.py`` takes a payment to an honest end, ``refunding.py`` gives money
back, ``receiver.py`` believes notifications only when they verify, ``shop.py`` runs it all at once.
"""
