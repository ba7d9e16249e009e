"""How values become the gateway's form texts and JSON, and come back.

- ``forms``: form bodies and JSON texts, read and written without losing a byte.
- ``structure``: texts become typed fields.
"""
