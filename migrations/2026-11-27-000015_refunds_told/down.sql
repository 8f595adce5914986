DROP TABLE stripe.outbox_refund;
