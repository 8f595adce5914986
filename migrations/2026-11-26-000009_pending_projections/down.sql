DROP TABLE stripe.pending_projection;
