"""A model with what only Postgres has."""

from django.contrib.postgres.fields import ArrayField, HStoreField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Item(models.Model):
    """Something on sale."""

    name = models.CharField(max_length=80, db_comment="how it is called")
    tags = ArrayField(models.TextField(), default=list)
    attributes = HStoreField(default=dict)
    price = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        indexes = [GinIndex(fields=["tags"], name="shop_item_tags_gin")]
        constraints = [models.CheckConstraint(condition=models.Q(price__gte=0), name="price_not_negative")]
