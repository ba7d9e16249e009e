"""How the gateway's form texts and JSON become values, and come from them.

- ``forms``: form bodies become fields, and fields become form bodies.
- ``jsontext``: JSON texts become values and replies, and compact JSON comes from them.
- ``structure``: texts become the typed fields of models.
"""
