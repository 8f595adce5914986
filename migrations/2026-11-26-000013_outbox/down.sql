DROP TABLE stripe.outbox;
DROP TABLE stripe.outbox_version;
