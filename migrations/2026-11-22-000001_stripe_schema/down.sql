DROP TABLE stripe.account_transition;
DROP TABLE stripe.account;
DROP TABLE stripe.booking_claim;
DROP TABLE stripe.checkout_session;
DROP TABLE stripe.invoice;
DROP TABLE stripe.event;
