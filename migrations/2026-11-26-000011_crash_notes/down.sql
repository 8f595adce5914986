DROP TABLE stripe.crash_note;
