"""The order, a model like any other."""

from __future__ import annotations

from django.db import models  # type: ignore[import-untyped]

#: Named here because ``payments.py`` writes to it too.
TABLE = "shop_order"


class Order(models.Model):  # type: ignore[misc]
    """One order of one customer."""

    out_trade_no = models.CharField(max_length=32, primary_key=True)
    mch_id = models.CharField(max_length=32)
    item = models.CharField(max_length=100)
    total_fee = models.PositiveIntegerField(help_text="fen")
    status = models.CharField(max_length=16, default="OPEN")  # OPEN, PAID, REFUSED
    #: How often the goods were handed out: 0 or 1, or there is a mistake.
    shipments = models.PositiveIntegerField(default=0)
    transaction_id = models.CharField(max_length=64, default="")

    class Meta:
        """Where it is kept."""

        db_table = TABLE

    def __str__(self) -> str:
        return f"{self.out_trade_no} {self.status}"
