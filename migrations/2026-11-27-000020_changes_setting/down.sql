DROP TABLE stripe.changes_setting;
