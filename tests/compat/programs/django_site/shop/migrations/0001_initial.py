"""The model's table."""

import django.contrib.postgres.fields
import django.contrib.postgres.fields.hstore
import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Item", [
            ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ("name", models.CharField(db_comment="how it is called", max_length=80)),
            ("tags", django.contrib.postgres.fields.ArrayField(models.TextField(), default=list)),
            ("attributes", django.contrib.postgres.fields.hstore.HStoreField(default=dict)),
            ("price", models.DecimalField(decimal_places=2, max_digits=12)),
        ]),
        migrations.AddIndex("item", django.contrib.postgres.indexes.GinIndex(fields=["tags"], name="shop_item_tags_gin")),
        migrations.AddConstraint("item", models.CheckConstraint(condition=models.Q(price__gte=0), name="price_not_negative")),
    ]
