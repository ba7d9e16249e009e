"""The order."""

from __future__ import annotations

from django.db import migrations, models  # type: ignore[import-untyped]


class Migration(migrations.Migration):  # type: ignore[misc]
    """As ``makemigrations`` wrote it."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "out_trade_no",
                    models.CharField(max_length=32, primary_key=True, serialize=False),
                ),
                ("mch_id", models.CharField(max_length=32)),
                ("item", models.CharField(max_length=100)),
                ("total_fee", models.PositiveIntegerField(help_text="fen")),
                ("status", models.CharField(default="OPEN", max_length=16)),
                ("shipments", models.PositiveIntegerField(default=0)),
                ("transaction_id", models.CharField(default="", max_length=64)),
            ],
            options={"db_table": "shop_order"},
        ),
    )
